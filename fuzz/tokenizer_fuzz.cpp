/// Vocabularies of strangers: the input is cut at zero bytes into merges.txt, vocab.json, tokenizer.json and a prompt.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "runtime/error.h"
#include "text/clip_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto folder =
      std::filesystem::temp_directory_path() / ("tessera-tokenizer-fuzz-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const char* names[] = {"merges.txt", "vocab.json", "tokenizer.json"};
  for (const auto* name : names) {
    const auto end = std::min(rest.find('\0'), rest.size());
    std::filesystem::remove(folder / name);
    if (end > 0) std::ofstream(folder / name, std::ios::binary) << rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  try {
    const auto tokenizer = tessera::ClipTokenizer::load(folder);
    for (const auto id : tokenizer.encode(std::string(rest))) {
      if (id < 0 || id >= tokenizer.vocabulary_size()) __builtin_trap();
    }
  } catch (const tessera::Error&) {
  }
  return 0;
}
