/// JSON of strangers, and jobs in it.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "server/job_request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const auto value = read_json(text, "input");
    (void)json_or_discarded(value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
    const auto request = server::parse_job_request(value, {}, {});
    (void)request.join_key();
  } catch (const Error&) {
  }
  return 0;
}
