#include "runtime/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "runtime/append_file.h"
#include "runtime/error.h"
#include "runtime/whole_folder.h"
#include "support/scratch.h"

namespace tessera {
namespace atomic_file_test {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Runs `work` in a child that then ends at once, as if it were killed.
void killed_after(const std::function<void()>& work) {
  const auto child = ::fork();
  if (child == 0) {
    work();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
}

void put(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

TEST(AtomicFile, IsThereWhenItIsCommittedAndNotBefore) {
  const auto folder = testing::scratch_folder("atomic");
  put(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new");
    EXPECT_EQ(read_file(folder / "a"), "old");
    EXPECT_EQ(names_in(folder).size(), 2u);
  }
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"a"}));
  write_file_atomically(folder / "a", "new");
  EXPECT_EQ(read_file(folder / "a"), "new");
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"a"}));
}

TEST(AtomicFile, TwoWritersOfOneProcessDoNotShareAPartialFile) {
  const auto folder = testing::scratch_folder("atomic");
  AtomicFile first(folder / "a"), second(folder / "a");
  first.write("first");
  second.write("second");
  EXPECT_EQ(names_in(folder).size(), 2u);
  second.commit();
  first.commit();
  EXPECT_EQ(read_file(folder / "a"), "first");
}

TEST(AtomicFile, ALinkOfItsNameIsReplacedAndNotFollowed) {
  const auto folder = testing::scratch_folder("atomic");
  put(folder / "other/target", "untouched");
  fs::create_symlink(folder / "other/target", folder / "a");
  write_file_atomically(folder / "a", "new");
  EXPECT_FALSE(fs::is_symlink(folder / "a"));
  EXPECT_EQ(read_file(folder / "other/target"), "untouched");
}

TEST(AtomicFile, WhatKilledWritersLeaveIsSweptAndWhatIsBeingWrittenIsNot) {
  const auto folder = testing::scratch_folder("atomic");
  killed_after([&] {
    auto* file = new AtomicFile(folder / "a");
    file->write("half");
  });
  ASSERT_EQ(names_in(folder).size(), 1u);
  put(folder / "a.partial-x", "a user's own");
  put(folder / "a.partial-99999999", "of an earlier version");
  AtomicFile alive(folder / "b");
  sweep_partial_files(folder, false);
  alive.write("whole");
  alive.commit();
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"a.partial-x", "b"}));
}

TEST(AtomicFile, AProcessSweepsTheFoldersThatItWritesTo) {
  const auto folder = testing::scratch_folder("atomic");
  killed_after([&] { (void)new AtomicFile(folder / "a"); });
  ASSERT_EQ(names_in(folder).size(), 1u);
  write_file_atomically(folder / "b", "");
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"b"}));
}

TEST(AtomicFile, FailuresSayTheirReason) {
  const auto folder = testing::scratch_folder("atomic");
  try {
    AtomicFile file(folder / "none/a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("No such file or directory"), std::string::npos) << error.what();
  }
  fs::create_directories(folder / "taken/x");
  try {
    write_file_atomically(folder / "taken", "");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("taken: cannot be written: "), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("Success"), std::string::npos) << error.what();
  }
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"taken"}));
}

TEST(AppendFile, KeepsWhatCannotBeWrittenForTheNextTime) {
  const auto folder = testing::scratch_folder("append");
  {
    AppendFile full("/dev/full");
    full.append("lost\n");
    full.flush();  // a warning
    full.flush();
  }
  {
    AppendFile file(folder / "lines");
    file.append("1\n");
    file.flush();
    EXPECT_EQ(read_file(folder / "lines"), "1\n");
    file.append("2\n");
  }
  AppendFile again(folder / "lines");
  again.append("3\n");
  again.flush();
  EXPECT_EQ(read_file(folder / "lines"), "1\n2\n3\n");
}

TEST(WholeFolder, IsTheOldOneUntilItIsTheNewOne) {
  const auto folder = testing::scratch_folder("whole");
  const auto model = folder / "model";
  put(model / "a/weights", "old weights");
  put(model / "notes", "kept");
  write_folder_whole(model, [&](const fs::path& staged) {
    EXPECT_NE(staged, model);
    EXPECT_EQ(read_file(staged / "notes"), "kept");
    write_file_atomically(staged / "a/weights", "new weights");
    write_file_atomically(staged / "index", "new");
    EXPECT_EQ(read_file(model / "a/weights"), "old weights");
    EXPECT_FALSE(fs::exists(model / "index"));
  });
  EXPECT_EQ(read_file(model / "a/weights"), "new weights");
  EXPECT_EQ(read_file(model / "notes"), "kept");
  EXPECT_EQ(names_in(model), (std::vector<std::string>{"a", "index", "notes"}));
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"model"}));
}

TEST(WholeFolder, IsMadeWholeWhereThereWasNone) {
  const auto folder = testing::scratch_folder("whole");
  write_folder_whole(folder / "x/model", [&](const fs::path& staged) {
    write_file_atomically(staged / "index", "new");
    EXPECT_FALSE(fs::exists(folder / "x/model"));
  });
  EXPECT_EQ(names_in(folder / "x"), (std::vector<std::string>{"model"}));
  EXPECT_EQ(read_file(folder / "x/model/index"), "new");
}

TEST(WholeFolder, OfABareNameIsMadeInTheWorkingFolder) {
  const auto before = fs::current_path();
  const auto folder = testing::scratch_folder("whole");
  fs::current_path(folder);
  const auto write = [](const fs::path& into) { write_file_atomically(into / "a", "new"); };
  EXPECT_NO_THROW(write_folder_whole("bare", write));
  EXPECT_NO_THROW(write_folder_whole("bare", write));
  fs::current_path(before);
  EXPECT_TRUE(fs::exists(folder / "bare/a"));
}

TEST(WholeFolder, StaysAsItWasWhereTheNewOneFails) {
  const auto folder = testing::scratch_folder("whole");
  put(folder / "model/index", "old");
  try {
    write_folder_whole(folder / "model", [&](const fs::path& staged) {
      write_file_atomically(staged / "index", "new");
      fail("{}: broken", (staged / "part").string());
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), (folder / "model/part").string() + ": broken");
  }
  EXPECT_EQ(read_file(folder / "model/index"), "old");
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"model"}));
}

TEST(WholeFolder, AKilledWriterLeavesTheOldOneAndTheNextSweeps) {
  const auto folder = testing::scratch_folder("whole");
  put(folder / "model/index", "old");
  killed_after([&] {
    write_folder_whole(folder / "model", [&](const fs::path& staged) {
      write_file_atomically(staged / "index", "half");
      ::_exit(0);
    });
  });
  EXPECT_EQ(read_file(folder / "model/index"), "old");
  ASSERT_EQ(names_in(folder).size(), 2u);
  write_folder_whole(folder / "model", [&](const fs::path& staged) { write_file_atomically(staged / "index", "new"); });
  EXPECT_EQ(read_file(folder / "model/index"), "new");
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"model"}));
}

}  // namespace atomic_file_test
}  // namespace tessera
