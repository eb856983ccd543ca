#include "runtime/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "support/scratch.h"

namespace tessera {
namespace mapped_file_test {

constexpr std::size_t kPage = 4096;

class MappedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::scratch_folder("mapped");
    std::ofstream(folder_ / "file", std::ios::binary) << std::string(8 * kPage, 'x');
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(MappedFileTest, WhatIsGivenBackIsReadFromTheFileAgain) {
  const auto file = MappedFile::open(folder_ / "file");
  // Written to, so that it can be seen which pages went: these bytes were the process's own.
  for (std::size_t page = 0; page < 8; ++page) file->data()[page * kPage + 7] = 'y';
  // From the middle of page 1 to the middle of page 4: pages 2 and 3 are whole.
  EXPECT_TRUE(MappedFile::give_back(file->data() + kPage + 100, 3 * kPage));
  std::string seen;
  for (std::size_t page = 0; page < 8; ++page) seen += file->data()[page * kPage + 7];
  EXPECT_EQ(seen, "yyxxyyyy");
}

TEST_F(MappedFileTest, OtherMemoryIsLeftAlone) {
  std::vector<char> own(16 * kPage, 'a');
  EXPECT_FALSE(MappedFile::give_back(own.data(), own.size()));
  auto file = MappedFile::open(folder_ / "file");
  EXPECT_FALSE(MappedFile::give_back(file->data(), file->size() + 1));  // beyond its end
  EXPECT_FALSE(MappedFile::give_back(own.data(), own.size()));
  EXPECT_TRUE(MappedFile::give_back(file->data() + 5, 10));  // no whole page: nothing to do
  const auto* gone = file->data();
  file.reset();
  EXPECT_FALSE(MappedFile::give_back(gone, 8 * kPage));
  EXPECT_EQ(std::string(own.begin(), own.end()), std::string(own.size(), 'a'));
}

TEST_F(MappedFileTest, OneThatIsCutShortEndsTheProgramWithALine) {
  int lines[2] = {};
  ASSERT_EQ(::pipe(lines), 0);
  const auto child = ::fork();
  if (child == 0) {
    ::dup2(lines[1], STDERR_FILENO);
    MappedFile::name_files_cut_short();
    const auto file = MappedFile::open(folder_ / "file");
    if (::truncate((folder_ / "file").c_str(), 10) != 0) ::_exit(7);
    volatile char sum = 0;
    for (std::size_t i = 0; i < file->size(); ++i) sum = static_cast<char>(sum + file->data()[i]);
    ::_exit(8);
  }
  ::close(lines[1]);
  std::string text;
  char buffer[512];
  for (ssize_t got = 0; (got = ::read(lines[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  ::close(lines[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(text, fmt::format("tessera: {}: was cut short while it was in use\n", (folder_ / "file").string()));
}

}  // namespace mapped_file_test
}  // namespace tessera
