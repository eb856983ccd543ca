/// Stands in for libFuzzer where the compiler has none: replays files, then feeds mutations of them.
/// usage: TARGET [-runs=N] [-seed=S] FILE_OR_FOLDER...
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::size_t kMaxInput = std::size_t{1} << 20;

void add_file(const std::filesystem::path& path, std::vector<Bytes>& inputs) {
  std::ifstream stream(path, std::ios::binary);
  Bytes bytes{std::istreambuf_iterator<char>(stream), {}};
  if (bytes.size() <= kMaxInput) inputs.push_back(std::move(bytes));
}

/// Flips, overwrites, cuts, repeats or splices a few places.
Bytes mutate(const std::vector<Bytes>& inputs, std::mt19937_64& random) {
  Bytes bytes = inputs[random() % inputs.size()];
  const auto changes = 1 + random() % 8;
  for (std::uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
    const auto at = static_cast<std::ptrdiff_t>(random() % bytes.size());
    const auto length = static_cast<std::ptrdiff_t>(random() % 16);
    const auto until = std::min(at + length, static_cast<std::ptrdiff_t>(bytes.size()));
    switch (random() % 6) {
      case 0:
        bytes[at] ^= static_cast<std::uint8_t>(1U << random() % 8);
        break;
      case 1:
        bytes[at] = static_cast<std::uint8_t>(random());
        break;
      case 2:
        for (auto j = at; j < until; ++j) bytes[j] = random() % 2 == 0 ? 0xff : 0x00;
        break;
      case 3:
        bytes.erase(bytes.begin() + at, bytes.begin() + until);
        break;
      case 4:
        bytes.resize(static_cast<std::size_t>(at));
        break;
      default: {
        const Bytes part(bytes.begin() + at, bytes.begin() + until);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(random() % (bytes.size() + 1)), part.begin(),
                     part.end());
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Bytes> inputs = {{}};
  std::uint64_t runs = 0;
  std::uint64_t seed = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("-runs=")) {
      runs = std::strtoull(argument.c_str() + 6, nullptr, 10);
    } else if (argument.starts_with("-seed=")) {
      seed = std::strtoull(argument.c_str() + 6, nullptr, 10);
    } else if (std::filesystem::is_directory(argument)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(argument)) {
        if (entry.is_regular_file()) add_file(entry.path(), inputs);
      }
    } else {
      add_file(argument, inputs);
    }
  }
  for (const auto& input : inputs) LLVMFuzzerTestOneInput(input.data(), input.size());
  std::mt19937_64 random(seed);
  for (std::uint64_t run = 0; run < runs; ++run) {
    const auto bytes = mutate(inputs, random);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%zu inputs, %llu mutations: no crash\n", inputs.size(), static_cast<unsigned long long>(runs));
  return 0;
}
