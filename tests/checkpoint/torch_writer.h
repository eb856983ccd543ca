/// Writes small torch archives by hand, good ones and odd ones, so that the reader's tests need no Python.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/error.h"

namespace tessera::testing {

/// The lowest bytes of an integer, lowest first.
inline std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

/// The pieces one after the other.
inline std::string joined(std::initializer_list<std::string_view> pieces) {
  std::string text;
  for (const auto piece : pieces) text += piece;
  return text;
}

/// The raw bytes of values.
template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// The opcodes of a pickle, in the order of the calls.
class PickleWriter {
 public:
  explicit PickleWriter(int protocol = 2) { op('\x80').op(static_cast<char>(protocol)); }

  PickleWriter& op(char opcode) { return raw(std::string(1, opcode)); }
  PickleWriter& raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  PickleWriter& global(const std::string& module, const std::string& name) {
    return raw("c" + module + "\n" + name + "\n");
  }
  PickleWriter& text(const std::string& value) { return op('X').raw(little_endian(value.size(), 4)).raw(value); }
  /// As LONG1 of eight bytes, which holds every value.
  PickleWriter& integer(std::int64_t value) {
    return raw("\x8a\x08").raw(little_endian(static_cast<std::uint64_t>(value), 8));
  }
  PickleWriter& integers(const std::vector<std::int64_t>& values) {
    mark();
    for (const auto value : values) integer(value);
    return tuple();
  }
  PickleWriter& mark() { return op('('); }
  PickleWriter& tuple() { return op('t'); }
  PickleWriter& dict() { return op('}'); }
  /// The persistent id of a storage.
  PickleWriter& storage(const std::string& type, const std::string& key, std::int64_t count) {
    mark().text("storage").global("torch", type).text(key).text("cuda:0").integer(count).tuple();
    return op('Q');
  }
  /// _rebuild_tensor_v2 over a storage.
  PickleWriter& tensor(const std::string& type, const std::string& key, std::int64_t count, std::int64_t offset,
                       const std::vector<std::int64_t>& sizes, const std::vector<std::int64_t>& strides) {
    global("torch._utils", "_rebuild_tensor_v2").mark().storage(type, key, count).integer(offset);
    integers(sizes).integers(strides).op('\x89').global("collections", "OrderedDict").op(')').op('R');
    return tuple().op('R');
  }
  /// The pickle, with its STOP.
  std::string finish() const { return bytes_ + "."; }

 private:
  std::string bytes_;
};

using ZipFiles = std::vector<std::pair<std::string, std::string>>;  // name, bytes

/// A zip archive of stored members; with zip64, every size and offset is in the 64-bit records.
inline std::string zip_of(const ZipFiles& files, bool zip64 = false) {
  const std::string zeros(16, '\0');
  const auto zero = [&](std::size_t count) { return std::string_view(zeros).substr(0, count); };
  const std::string_view ones = "\xff\xff\xff\xff";
  std::string archive;
  std::string directory;
  for (const auto& [name, bytes] : files) {
    const auto header = archive.size();
    const auto size = little_endian(bytes.size(), 4);
    const auto wide = little_endian(bytes.size(), 8);
    // The data begins at a multiple of 64, as torch.save arranges it.
    const auto padding = (64 - (header + 30 + name.size() + 4) % 64) % 64;
    archive += joined({"PK\x03\x04", zero(14), size, size, little_endian(name.size(), 2), little_endian(padding + 4, 2),
                       name, "FB", little_endian(padding, 2), std::string(padding, 'Z'), bytes});
    std::string extra;
    if (zip64) extra = joined({little_endian(1, 2), little_endian(24, 2), wide, wide, little_endian(header, 8)});
    directory +=
        joined({"PK\x01\x02", zero(16), zip64 ? ones : std::string_view(size), zip64 ? ones : std::string_view(size),
                little_endian(name.size(), 2), little_endian(extra.size(), 2), zero(10),
                zip64 ? std::string(ones) : little_endian(header, 4), name, extra});
  }
  const auto start = archive.size();
  archive += directory;
  if (zip64) {
    const auto end64 = little_endian(archive.size(), 8);
    const auto count = little_endian(files.size(), 8);
    archive += joined({"PK\x06\x06", little_endian(44, 8), zero(12), count, count, little_endian(directory.size(), 8),
                       little_endian(start, 8), "PK\x06\x07", zero(4), end64, little_endian(1, 4)});
  }
  const auto count = zip64 ? std::string("\xff\xff") : little_endian(files.size(), 2);
  const auto size = zip64 ? std::string(ones) : little_endian(directory.size(), 4);
  const auto offset = zip64 ? std::string(ones) : little_endian(start, 4);
  return archive + joined({"PK\x05\x06", zero(4), count, count, size, offset, zero(2)});
}

/// A torch zip archive of a pickle and its storages (key, bytes).
inline std::string torch_zip(const std::string& pickle, const ZipFiles& storages, bool zip64 = false) {
  ZipFiles files = {{"model/data.pkl", pickle}};
  for (const auto& [key, bytes] : storages) files.emplace_back("model/data/" + key, bytes);
  files.emplace_back("model/version", "3\n");
  return zip_of(files, zip64);
}

/// A storage of a torch stream.
struct StreamStorage {
  std::string key;
  std::int64_t count;
  std::string bytes;
};

/// A torch stream: magic number, protocol, system, the object's pickle, the keys, the storages.
inline std::string torch_stream(const std::string& pickle, const std::vector<StreamStorage>& storages) {
  std::string bytes("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  bytes += PickleWriter().integer(1001).finish();
  bytes += PickleWriter().dict().mark().text("little_endian").op('\x88').op('u').finish();
  bytes += pickle;
  PickleWriter keys;
  keys.op(']').mark();
  for (const auto& storage : storages) keys.text(storage.key);
  bytes += keys.op('e').finish();
  for (const auto& storage : storages) {
    bytes += little_endian(static_cast<std::uint64_t>(storage.count), 8) + storage.bytes;
  }
  return bytes;
}

/// A folder that is removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) fail("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Writes a file and returns its path.
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
    return file;
  }

 private:
  std::filesystem::path path_;
};

/// A file's bytes.
inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Passes when the action throws one Error of one line that contains all the words.
inline ::testing::AssertionResult fails_with(const std::function<void()>& action,
                                             const std::vector<std::string>& words) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (message.find('\n') != std::string::npos)
      return ::testing::AssertionFailure() << "more than one line: " << message;
    for (const auto& word : words) {
      if (message.find(word) == std::string::npos) {
        return ::testing::AssertionFailure() << "'" << message << "' does not say '" << word << "'";
      }
    }
    return ::testing::AssertionSuccess();
  } catch (const std::exception& error) {
    return ::testing::AssertionFailure() << "threw something else: " << error.what();
  }
  return ::testing::AssertionFailure() << "threw nothing";
}

}  // namespace tessera::testing
