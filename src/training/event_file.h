/// TensorBoard event files: TFRecord framing (length, masked CRC-32C, data, masked CRC-32C) around Event messages
/// (tensorflow/core/util/event.proto), so that `tensorboard --logdir` shows a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace tessera {

class AppendFile;

/// CRC-32C (Castagnoli), as in RFC 3720.
std::uint32_t crc32c(std::string_view bytes);

class EventFile {
 public:
  /// Opens <folder>/events.out.tfevents.<seconds>.tessera and writes the version record.
  explicit EventFile(const std::filesystem::path& folder);
  ~EventFile();
  void scalar(std::int64_t step, const std::string& tag, double value);
  /// In: a PNG's bytes and the picture's size in pixels.
  void image(std::int64_t step, const std::string& tag, std::string_view png, int width, int height);
  /// Writes the records since the last time; those that cannot be written are written with the next.
  void flush();

 private:
  void write_event(std::int64_t step, std::string_view field);

  std::unique_ptr<AppendFile> file_;
};

}  // namespace tessera
