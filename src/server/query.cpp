#include "server/query.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "runtime/bounded_json.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr std::size_t kLongestQuery = 1024;

}  // namespace

std::string query_text(const Call& call, const std::string& name) {
  const auto found = call.request.query.find(name);
  const auto text = found == call.request.query.end() ? std::string() : found->second;
  if (text.size() > kLongestQuery) refuse(name, "{} bytes, expected at most {}", text.size(), kLongestQuery);
  // What is no UTF-8 is in no job.
  if (json_or_discarded(json(text).dump(-1, ' ', false, json::error_handler_t::replace)) != json(text)) {
    refuse(name, "expected UTF-8");
  }
  return text;
}

std::int64_t query_whole(const Call& call, const std::string& name, std::int64_t otherwise, std::int64_t least,
                         std::int64_t most) {
  const auto text = query_text(call, name);
  if (text.empty()) return otherwise;
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < least || value > most) {
    refuse(name, "'{}', expected a whole number from {} to {}", text.substr(0, 40), least, most);
  }
  return value;
}

bool query_flag(const Call& call, const std::string& name) {
  const auto text = query_text(call, name);
  if (!text.empty() && text != "true" && text != "false")
    refuse(name, "'{}', expected true or false", text.substr(0, 40));
  return text == "true";
}

}  // namespace tessera::server
