/// Stands in for libFuzzer where the compiler has none: replays files, then feeds mutations of them. With code compiled
/// with GCC's -fsanitize-coverage=trace-pc, inputs that reach something new are kept and mutated further.
/// usage: tessera_fuzz TARGET [-runs=N] [-max_total_time=SECONDS] [-seed=S] [-keep=FOLDER] FILE_OR_FOLDER...
/// An input that ends the program, or takes more than 20 s of a processor or 2 GiB more than at the beginning, is left
/// in the file `crash-input` of the working folder.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using Target = int (*)(const std::uint8_t* data, std::size_t size);
struct NamedTarget {
  const char* name;
  Target run;
};
extern const NamedTarget kTargets[];  // ends with a name that is null

namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::size_t kMaxInput = std::size_t{1} << 20;
constexpr unsigned kMostSeconds = 20;  // of a processor: what else the machine does counts for nothing
constexpr std::size_t kMostKept = 20'000;

// Which pairs of places the present input has gone through one after the other.
constexpr std::size_t kPlaces = std::size_t{1} << 16;
std::array<std::uint8_t, kPlaces> reached, ever;
std::uintptr_t last_place = 0;

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
    switch (random() % 7) {
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
        if (random() % 4 == 0) bytes.resize(static_cast<std::size_t>(at));
        break;
      case 5: {
        const auto& other = inputs[random() % inputs.size()];
        if (other.empty()) break;
        const auto from = static_cast<std::ptrdiff_t>(random() % other.size());
        const auto count = std::min<std::ptrdiff_t>(1 + static_cast<std::ptrdiff_t>(random() % 64),
                                                    static_cast<std::ptrdiff_t>(other.size()) - from);
        bytes.insert(bytes.begin() + at, other.begin() + from, other.begin() + from + count);
        break;
      }
      default: {
        const Bytes part(bytes.begin() + at, bytes.begin() + until);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(random() % (bytes.size() + 1)), part.begin(),
                     part.end());
      }
    }
  }
  if (bytes.size() > kMaxInput) bytes.resize(kMaxInput);
  return bytes;
}

const Bytes* current = nullptr;  // what is being tried

/// Leaves the input behind and lets the signal end the program.
void keep_input(int signal) {
  const int file = ::open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && current != nullptr && ::write(file, current->data(), current->size()) >= 0) ::close(file);
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

/// SIGPROF after so many seconds, SIGALRM after thirty times as long, should it wait for ever; 0: never.
void bound_seconds(unsigned seconds) {
  ::alarm(30 * seconds);
  itimerval timer{};
  timer.it_value.tv_sec = seconds;
  ::setitimer(ITIMER_PROF, &timer, nullptr);
}

/// Out: whether something was reached that never was before.
bool try_input(Target target, const Bytes& bytes) {
  current = &bytes;
  reached.fill(0);
  last_place = 0;
  bound_seconds(kMostSeconds);
  target(bytes.data(), bytes.size());
  bound_seconds(0);
  current = nullptr;
  // No early end: many places a time are compared at once.
  std::uint8_t fresh = 0;
  for (std::size_t i = 0; i < kPlaces; ++i) {
    fresh |= static_cast<std::uint8_t>(reached[i] & ~ever[i]);
    ever[i] |= reached[i];
  }
  return fresh != 0;
}

/// A hash of the bytes, as a name.
std::string name_of(const Bytes& bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const auto byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

[[maybe_unused]] void bound_memory() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t pages = 0;
  file >> pages;
  const rlim_t most = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) + (std::uint64_t{2} << 30);
  const rlimit both{most, most};
  ::setrlimit(RLIMIT_AS, &both);
}

}  // namespace

/// Called by code compiled with -fsanitize-coverage=trace-pc at each basic block.
extern "C" void __sanitizer_cov_trace_pc() {
  const auto place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  auto& count = reached[((place >> 1) ^ last_place) % kPlaces];
  // 1, 2, 3, 4-7, 8-15 ... times are told apart.
  count = static_cast<std::uint8_t>(count == 0 ? 1 : count < 128 && (last_place & 7) == 0 ? count << 1 | 1 : count);
  last_place = place >> 2;
}

int main(int argc, char** argv) {
  const NamedTarget* target = kTargets;
  while (target->name != nullptr && (argc < 2 || std::string_view(argv[1]) != target->name)) ++target;
  if (target->name == nullptr) {
    std::fprintf(stderr,
                 "usage: tessera_fuzz TARGET [-runs=N] [-max_total_time=SECONDS] [-seed=S] [-keep=FOLDER] FILES\n");
    for (target = kTargets; target->name != nullptr; ++target) std::fprintf(stderr, "  %s\n", target->name);
    return 2;
  }
  std::vector<Bytes> inputs = {{}};
  std::uint64_t runs = 0;
  std::uint64_t seed = 1;
  std::int64_t seconds = 0;  // 0: no limit
  std::filesystem::path keep;
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("-runs=")) {
      runs = std::strtoull(argument.c_str() + 6, nullptr, 10);
    } else if (argument.starts_with("-max_total_time=")) {
      seconds = std::strtoll(argument.c_str() + 16, nullptr, 10);
    } else if (argument.starts_with("-seed=")) {
      seed = std::strtoull(argument.c_str() + 6, nullptr, 10);
    } else if (argument.starts_with("-keep=")) {
      keep = argument.substr(6);
      std::filesystem::create_directories(keep);
    } else if (std::filesystem::is_directory(argument)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(argument)) {
        if (entry.is_regular_file()) add_file(entry.path(), inputs);
      }
    } else {
      add_file(argument, inputs);
    }
  }
#if !defined(TESSERA_FUZZ_SANITIZED)
  bound_memory();  // the address sanitizer needs its terabytes
#endif
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGPROF, SIGALRM})
    std::signal(signal, keep_input);
  const auto begin = std::chrono::steady_clock::now();
  const auto given = inputs.size();
  for (std::size_t i = 0; i < given; ++i) try_input(target->run, inputs[i]);
  if (runs == 0 && seconds > 0) runs = ~std::uint64_t{0};
  std::mt19937_64 random(seed);
  std::uint64_t run = 0;
  for (; run < runs; ++run) {
    if (seconds > 0 && std::chrono::steady_clock::now() - begin >= std::chrono::seconds(seconds)) break;
    auto input = mutate(inputs, random);
    if (!try_input(target->run, input) || inputs.size() >= kMostKept) continue;
    if (!keep.empty()) {
      std::ofstream(keep / name_of(input), std::ios::binary)
          .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
    }
    inputs.push_back(std::move(input));
  }
  std::size_t places = 0;
  for (const auto place : ever) places += place != 0;
  std::printf("%s: %zu inputs, %llu mutations, %zu kept, %zu places reached: no crash\n", target->name, given,
              static_cast<unsigned long long>(run), inputs.size() - given, places);
  return 0;
}
