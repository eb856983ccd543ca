// Pictures decoded in processes of their own: the same pictures, and a fault there costs one of them.
#include "image/decoding_process.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "runtime/error.h"

#ifdef TESSERA_WITH_VIPS

namespace tessera::testing {
namespace decoding_process_test {

/// Decodes apart for as long as it lives.
struct Apart {
  explicit Apart(int workers = 1, int seconds = 20) {
    ::setenv("TESSERA_TEST_DECODING", "1", 1);
    decode_apart(TESSERA_PROGRAM, workers, seconds);
  }
  ~Apart() { decode_here(); }
};

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Image pattern(int width, int height, bool alpha) {
  Image image(width, height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(7 * i + i / 640);
  if (!alpha) return image;
  image.rgba.resize(4 * image.pixels.size() / 3);
  for (std::size_t i = 0; i < image.rgba.size(); ++i) image.rgba[i] = static_cast<std::uint8_t>(5 * i);
  return image;
}

std::string error_of(std::string_view bytes, const ReadOptions& options = {}) {
  try {
    (void)read_image(bytes_of(bytes), "p.png", options);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

/// Processes that this one has started and that have not ended.
std::vector<pid_t> children() {
  std::vector<pid_t> found;
  DIR* folder = ::opendir("/proc");
  while (const auto* entry = ::readdir(folder)) {
    std::ifstream file(std::string("/proc/") + entry->d_name + "/stat");
    std::string text;
    if (!std::getline(file, text)) continue;
    char state = 0;
    pid_t parent = 0;
    if (std::sscanf(text.c_str() + text.rfind(')') + 1, " %c %d", &state, &parent) == 2 && parent == ::getpid() &&
        state != 'Z')
      found.push_back(std::atoi(entry->d_name));
  }
  ::closedir(folder);
  return found;
}

TEST(DecodingProcess, MakesTheSamePicturesAsThisProcess) {
  for (const bool alpha : {false, true}) {
    for (const auto* format : {"png", "webp", "jpeg"}) {
      const auto file = encode_image(pattern(300, 200, alpha), format);
      ReadOptions options;
      options.keep_alpha = true;
      options.background = {10, 200, 30};
      const auto here = read_image(bytes_of(file), "p", options);
      const Apart apart;
      EXPECT_EQ(read_image(bytes_of(file), "p", options), here) << format;
    }
  }
}

TEST(DecodingProcess, SaysTheSameErrors) {
  const auto file = encode_png(pattern(300, 200, false));
  const auto cut = file.substr(0, file.size() / 2);
  ReadOptions small;
  small.max_pixels = 1000;
  const std::vector<std::string> here = {error_of(cut), error_of("no picture"), error_of(file, small), error_of("")};
  const Apart apart;
  EXPECT_EQ(error_of(cut), here[0]);
  EXPECT_EQ(error_of("no picture"), here[1]);
  EXPECT_EQ(error_of(file, small), here[2]);
  EXPECT_EQ(error_of(""), here[3]);
}

TEST(DecodingProcess, AFaultCostsOnePictureAndTheNextIsDecoded) {
  const auto file = encode_png(pattern(30, 20, false));
  const Apart apart;
  EXPECT_EQ(error_of(file), "");
  const auto before = children();
  EXPECT_EQ(error_of(kFaultMarks[0]), "p.png: cannot be decoded: its decoder was ended by signal 11");
  EXPECT_EQ(error_of(file), "");
  EXPECT_NE(children(), before);
}

TEST(DecodingProcess, AWorkerIsKeptAndTakenBackAtTheEnd) {
  const auto file = encode_png(pattern(30, 20, false));
  {
    const Apart apart(2);
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        for (int k = 0; k < 10; ++k) EXPECT_EQ(error_of(file), "");
      });
    for (auto& thread : threads) thread.join();
    EXPECT_GE(children().size(), 1U);
    EXPECT_LE(children().size(), 2U);
    const auto before = children();
    EXPECT_EQ(error_of(file), "");
    EXPECT_EQ(children(), before);
  }
  EXPECT_TRUE(children().empty());
}

TEST(DecodingProcess, CannotOpenAFile) {
  if (!decoding_is_sandboxed()) GTEST_SKIP() << "built without libseccomp";
  const Apart apart;
  EXPECT_EQ(error_of(kFaultMarks[1]), "a file cannot be opened");
}

TEST(DecodingProcess, OneThatIsKilledIsReplaced) {
  const auto file = encode_png(pattern(30, 20, false));
  const Apart apart;
  EXPECT_EQ(error_of(file), "");
  for (const auto child : children()) ::kill(child, SIGKILL);
  EXPECT_EQ(error_of(file), "p.png: cannot be decoded: its decoder was ended by signal 9");
  EXPECT_EQ(error_of(file), "");
}

TEST(DecodingProcess, OneThatGoesOnForEverIsEnded) {
  const Apart apart(1, 1);
  // Of a processor, or, on a busy machine, of all.
  EXPECT_TRUE(error_of(kFaultMarks[2]).starts_with("p.png: cannot be decoded: it took "));
  EXPECT_EQ(error_of(encode_png(pattern(30, 20, false))), "");
}

TEST(DecodingProcess, OtherProgramsAreNone) {
  decode_apart("/bin/true", 1);
  EXPECT_NE(error_of("x").find("/bin/true: no decoding process"), std::string::npos);
  decode_apart("/nowhere/program", 1);
  EXPECT_NE(error_of("x").find("/nowhere/program: cannot be started"), std::string::npos);
  decode_here();
}

}  // namespace decoding_process_test
}  // namespace tessera::testing

#endif
