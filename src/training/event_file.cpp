#include "training/event_file.h"

#include <array>
#include <chrono>
#include <cstring>

#include "runtime/append_file.h"
#include "runtime/error.h"

namespace tessera {
namespace {

// Protocol buffers' wire format; the field numbers are those of event.proto and summary.proto.
enum WireType : std::uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

template <typename T>
void put_raw(std::string& out, T value) {
  char buffer[sizeof(T)];
  std::memcpy(buffer, &value, sizeof(T));
  out.append(buffer, sizeof(T));
}

void put_key(std::string& out, std::uint32_t field, WireType type) {
  put_varint(out, field << 3 | type);
}

void put_bytes(std::string& out, std::uint32_t field, std::string_view value) {
  put_key(out, field, WireType::bytes);
  put_varint(out, value.size());
  out.append(value);
}

std::uint32_t masked_crc(std::string_view data) {
  const std::uint32_t crc = crc32c(data);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

void write_record(AppendFile& file, std::string_view data) {
  std::string length;
  put_raw(length, static_cast<std::uint64_t>(data.size()));
  std::string record = length;
  put_raw(record, masked_crc(length));
  record.append(data);
  put_raw(record, masked_crc(data));
  file.append(record);
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::uint32_t crc32c(std::string_view data) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0x82f63b78U : 0);
      made[i] = value;
    }
    return made;
  }();
  std::uint32_t crc = 0xffffffffU;
  for (const char byte : data) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder) {
  const auto path = folder / fmt::format("events.out.tfevents.{}.tessera", static_cast<std::int64_t>(now()));
  file_ = std::make_unique<AppendFile>(path);
  std::string event;
  put_key(event, 1, WireType::fixed64);  // wall_time
  put_raw(event, now());
  put_bytes(event, 3, "brain.Event:2");  // file_version
  write_record(*file_, event);
}

EventFile::~EventFile() = default;

void EventFile::flush() {
  file_->flush();
}

void EventFile::write_event(std::int64_t step, std::string_view value) {
  std::string summary, event;
  put_bytes(summary, 1, value);  // Summary.value
  put_key(event, 1, WireType::fixed64);
  put_raw(event, now());
  put_key(event, 2, WireType::varint);  // step
  put_varint(event, static_cast<std::uint64_t>(step));
  put_bytes(event, 5, summary);
  write_record(*file_, event);
}

void EventFile::scalar(std::int64_t step, const std::string& tag, double value) {
  std::string field;
  put_bytes(field, 1, tag);
  put_key(field, 2, WireType::fixed32);  // simple_value
  put_raw(field, static_cast<float>(value));
  write_event(step, field);
}

void EventFile::image(std::int64_t step, const std::string& tag, std::string_view png, int width, int height) {
  std::string picture, field;
  put_key(picture, 1, WireType::varint);
  put_varint(picture, static_cast<std::uint64_t>(height));
  put_key(picture, 2, WireType::varint);
  put_varint(picture, static_cast<std::uint64_t>(width));
  put_key(picture, 3, WireType::varint);  // colorspace: 3 = RGB
  put_varint(picture, 3);
  put_bytes(picture, 4, png);
  put_bytes(field, 1, tag);
  put_bytes(field, 4, picture);
  write_event(step, field);
}

}  // namespace tessera
