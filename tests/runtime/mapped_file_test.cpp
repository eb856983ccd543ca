#include "runtime/mapped_file.h"

#include <gtest/gtest.h>

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

}  // namespace mapped_file_test
}  // namespace tessera
