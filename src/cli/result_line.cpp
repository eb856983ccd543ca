#include "cli/result_line.h"

#include <fmt/format.h>

namespace tessera::cli {

void print_result(bool as_json, const nlohmann::json& object, const std::string& plain) {
  fmt::print("{}\n", as_json ? object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) : plain);
}

}  // namespace tessera::cli
