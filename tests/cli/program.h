/// The built program, run as a user runs it, and small things to run it on.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "image/image_io.h"
#include "support/scratch.h"

namespace tessera::testing {

struct Outcome {
  int status = -1;     // exit status; -1: ended by a signal
  std::string output;  // standard output and error together
};

/// Runs a shell command.
inline Outcome run_command(const std::string& command) {
  Outcome outcome;
  FILE* pipe = ::popen(fmt::format("({}) 2>&1", command).c_str(), "r");
  if (!pipe) return outcome;
  char buffer[4096];
  for (std::size_t count = 0; (count = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;)
    outcome.output.append(buffer, count);
  const int status = ::pclose(pipe);
  // A shell reports a command that a signal ended as 128 + the signal.
  if (WIFEXITED(status) && WEXITSTATUS(status) < 128) outcome.status = WEXITSTATUS(status);
  return outcome;
}

/// Runs the program with these arguments (for a shell).
inline Outcome run(const std::string& arguments) {
  return run_command(fmt::format("'{}' {}", TESSERA_PROGRAM, arguments));
}

inline std::string quoted(const std::filesystem::path& path) {
  return fmt::format("'{}'", path.string());
}

/// One line of failure: the last line starts with "tessera: ", and only the log's own lines ("[...") precede it.
inline ::testing::AssertionResult fails_in_one_line(const Outcome& outcome, int status, const std::string& says) {
  const auto failure = [&](const char* what) {
    return ::testing::AssertionFailure() << what << ": status " << outcome.status << ", output:\n" << outcome.output;
  };
  if (outcome.status != status) return failure("another exit status");
  const auto at = outcome.output.rfind("tessera: ");
  if (at == std::string::npos || (at > 0 && outcome.output[at - 1] != '\n')) return failure("no line 'tessera: ...'");
  if (outcome.output.find('\n', at) != outcome.output.size() - 1) return failure("more than one line");
  if (outcome.output.find(says, at) == std::string::npos)
    return failure(fmt::format("does not say '{}'", says).c_str());
  if (outcome.output.find("internal error") != std::string::npos) return failure("an internal error");
  return ::testing::AssertionSuccess();
}

/// `count` pictures of 16x16, each another pattern.
inline void make_pictures(const std::filesystem::path& folder, int count) {
  std::filesystem::create_directories(folder);
  for (int i = 0; i < count; ++i) {
    Image image(16, 16);
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 16; ++x) {
        auto* pixel = image.at(x, y);
        pixel[0] = static_cast<std::uint8_t>(16 * x + 7 * i);
        pixel[1] = static_cast<std::uint8_t>(16 * y + 31 * i);
        pixel[2] = static_cast<std::uint8_t>((x / 4 + y / 4 + i) % 2 * 200);
      }
    }
    write_png(folder / fmt::format("{:03}.png", i), image);
  }
}

/// The program's cache in all of these tests: never the user's.
inline const bool kOwnCache = ::setenv("XDG_CACHE_HOME", scratch_folder("cache").c_str(), 1) == 0;

/// A folder of one test, removed at the end.
class ProgramTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
    std::string name = (std::filesystem::temp_directory_path() / "tessera-cli-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    std::error_code code;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, code);
  }
  std::string at(const std::string& name) const { return quoted(folder_ / name); }

  void make_pictures(const std::string& name, int count) const { testing::make_pictures(folder_ / name, count); }

  std::filesystem::path folder_;
};

using Flags = std::map<std::string, std::string>;

inline std::string flags_text(Flags flags, const Flags& changed) {
  for (const auto& [name, value] : changed) flags[name] = value;
  std::string text;
  for (const auto& [name, value] : flags) text += fmt::format("--{}={} ", name, value);
  return text;
}

/// Flags of a codec that trains in a second, some of them changed.
inline std::string tiny_codec(const Flags& changed = {}) {
  return flags_text({{"image-size", "16"},
                     {"channel-multipliers", "1,1,1"},
                     {"attention-resolutions", "4"},
                     {"embedding-width", "8"},
                     {"codebook-size", "16"},
                     {"batch-size", "4"},
                     {"adversarial", "false"},
                     {"threads", "1"}},
                    changed);
}

/// The same of a prior.
inline std::string tiny_prior(const Flags& changed = {}) {
  return flags_text({{"layers", "2"},
                     {"heads", "2"},
                     {"width", "32"},
                     {"batch-size", "4"},
                     {"validation-terms", "2"},
                     {"threads", "1"}},
                    changed);
}

}  // namespace tessera::testing
