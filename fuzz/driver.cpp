/// Stands in for libFuzzer where the compiler has none: replays files, then feeds mutations of them.
/// usage: TARGET [-runs=N] [-max_total_time=SECONDS] [-seed=S] FILE_OR_FOLDER...
/// The input that ends the program is left in the file `crash-input` of the working folder.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
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

const Bytes* current = nullptr;  // what is being tried

/// Leaves the input behind and lets the signal end the program.
void keep_input(int signal) {
  const int file = ::open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && current != nullptr && ::write(file, current->data(), current->size()) >= 0) ::close(file);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void try_input(const Bytes& bytes) {
  current = &bytes;
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  current = nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Bytes> inputs = {{}};
  std::uint64_t runs = 0;
  std::uint64_t seed = 1;
  std::int64_t seconds = 0;  // 0: no limit
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("-runs=")) {
      runs = std::strtoull(argument.c_str() + 6, nullptr, 10);
    } else if (argument.starts_with("-max_total_time=")) {
      seconds = std::strtoll(argument.c_str() + 16, nullptr, 10);
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
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, keep_input);
  for (const auto& input : inputs) try_input(input);
  if (runs == 0 && seconds > 0) runs = ~std::uint64_t{0};
  const auto begin = std::chrono::steady_clock::now();
  std::mt19937_64 random(seed);
  std::uint64_t run = 0;
  for (; run < runs; ++run) {
    if (seconds > 0 && std::chrono::steady_clock::now() - begin >= std::chrono::seconds(seconds)) break;
    try_input(mutate(inputs, random));
  }
  std::printf("%zu inputs, %llu mutations: no crash\n", inputs.size(), static_cast<unsigned long long>(run));
  return 0;
}
