#include "server/served_loras.h"

#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "runtime/error.h"
#include "runtime/printable.h"
#include "server/http_message.h"

namespace tessera::server {
namespace {

constexpr std::size_t kMostLoras = 8;
constexpr const char* kNameCharacters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";  // as models are named

ServedLora parse_one(const std::string& text, const std::string& field) {
  const auto colon = text.rfind(':');
  ServedLora lora{text.substr(0, colon), 1};
  if (colon != std::string::npos) {
    const auto* end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + colon + 1, end, lora.weight);
    if (read.ec != std::errc{} || read.ptr != end || !(std::abs(lora.weight) <= kMostLoraWeight))
      refuse(field, "weight '{}', expected a number from {} to {}", printable(text.substr(colon + 1)), -kMostLoraWeight,
             kMostLoraWeight);
  }
  if (lora.name.empty() || lora.name.find_first_not_of(kNameCharacters) != std::string::npos)
    refuse(field, "'{}', expected NAME or NAME:WEIGHT", printable(text));
  return lora;
}

}  // namespace

std::vector<ServedLora> parse_served_loras(const std::string& text, const std::string& field) {
  std::vector<ServedLora> loras;
  for (std::size_t start = 0; !text.empty() && start <= text.size();) {
    const auto comma = std::min(text.find(',', start), text.size());
    loras.push_back(parse_one(text.substr(start, comma - start), field));
    if (loras.size() > kMostLoras) refuse(field, "more than {}, expected at most so many", kMostLoras);
    start = comma + 1;
  }
  return loras;
}

std::string model_key(const std::string& model, const std::string& loras) {
  auto key = model;
  for (const auto& lora : parse_served_loras(loras)) key += fmt::format("+{}:{}", lora.name, lora.weight);
  return key;
}

ModelKey read_model_key(const std::string& key) {
  const auto plus = key.find('+');
  ModelKey read{key.substr(0, plus), {}};
  for (auto start = plus; start != std::string::npos;) {
    const auto next = key.find('+', start + 1);
    read.loras.push_back(
        parse_one(key.substr(start + 1, next == std::string::npos ? next : next - start - 1), "loras"));
    start = next;
  }
  return read;
}

LoraFolder::LoraFolder(const std::filesystem::path& folder) {
  if (folder.empty()) return;
  require(std::filesystem::is_directory(folder), "{}: no such folder of LoRAs", folder.string());
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto& path = entry.path();
    const auto name = path.stem().string();
    if (path.extension() == ".safetensors" && name.find_first_not_of(kNameCharacters) == std::string::npos)
      files_[name] = path;
  }
}

std::vector<std::string> LoraFolder::names() const {
  std::vector<std::string> names;
  for (const auto& [name, path] : files_) names.push_back(name);
  return names;
}

std::vector<LoraChoice> LoraFolder::files_of(const std::vector<ServedLora>& loras) const {
  std::vector<LoraChoice> files;
  for (const auto& lora : loras) {
    const auto found = files_.find(lora.name);
    require(found != files_.end(), "loras: '{}' is not served, expected one of {}", lora.name,
            fmt::join(names(), ", "));
    files.push_back({found->second, lora.weight});
  }
  return files;
}

std::string take_loras(std::string& prompt) {
  constexpr std::string_view kBegin = "<lora:";
  std::string loras;
  for (auto at = prompt.find(kBegin); at != std::string::npos; at = prompt.find(kBegin, at)) {
    const auto end = prompt.find('>', at);
    if (end == std::string::npos) break;
    if (!loras.empty()) loras += ',';
    loras.append(prompt, at + kBegin.size(), end - at - kBegin.size());
    prompt.erase(at, end - at + 1);
  }
  const auto last = prompt.find_last_not_of(" ,");
  if (!loras.empty()) prompt.erase(last == std::string::npos ? 0 : last + 1);
  return loras;
}

}  // namespace tessera::server
