/// metadata.jsonl and companion texts. The input is cut at zero bytes: the first part is metadata.jsonl, then names and
/// texts by turns.
#include <cstdint>
#include <string>

#include "data/catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] == 0) {
      parts.emplace_back();
    } else {
      parts.back().push_back(static_cast<char>(data[i]));
    }
  }
  tessera::CatalogueInput input;
  input.names = {"a.png", "b/c.png"};
  if (!parts[0].empty()) input.texts["metadata.jsonl"] = parts[0];
  for (std::size_t i = 1; i + 1 < parts.size(); i += 2) {
    input.names.push_back(parts[i]);
    input.texts[parts[i]] = parts[i + 1];
  }
  tessera::make_catalogue(input);
  return 0;
}
