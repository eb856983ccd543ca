#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

struct TypeName {
  const char* name;
  torch::ScalarType type;
};

constexpr TypeName kTypes[] = {{"F64", torch::kFloat64},   {"F32", torch::kFloat32}, {"F16", torch::kFloat16},
                               {"BF16", torch::kBFloat16}, {"I64", torch::kInt64},   {"I32", torch::kInt32},
                               {"I16", torch::kInt16},     {"I8", torch::kInt8},     {"U8", torch::kUInt8},
                               {"BOOL", torch::kBool}};

constexpr std::size_t kMaxTensors = 100'000;
constexpr std::size_t kMaxDimensions = 16;
constexpr const char* kMetadata = "__metadata__";

/// Receives the header's events. Levels: 1 the header's object, 2 a tensor's (or the metadata's), 3 a shape or a pair
/// of offsets.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  HeaderReader(const std::string& where, Metadata* metadata) : where_(where), metadata_(metadata) {}

  std::vector<SafetensorsEntry> take() { return std::move(entries_); }

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_float(number_float_t, const string_t& text) override { unexpected("number " + text); }
  bool binary(binary_t&) override { unexpected("binary data"); }
  bool number_integer(number_integer_t value) override { unexpected(fmt::format("number {}", value)); }

  bool number_unsigned(number_unsigned_t value) override {
    if (level_ != 3) unexpected(fmt::format("number {}", value));
    auto& numbers = field_ == "shape" ? shape_ : offsets_;
    require(numbers.size() < kMaxDimensions, "{}: {} has more than {} numbers", here(), field_, kMaxDimensions);
    numbers.push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (level_ == 2 && in_metadata_) {
      if (metadata_) (*metadata_)[field_] = std::move(value);
      return true;
    }
    if (level_ != 2 || field_ != "dtype") unexpected(fmt::format("text '{}'", printable(value)));
    if (value == "F8_E4M3" || value == "F8_E5M2") {
      entries_.back().float8 = value == "F8_E4M3" ? Float8::e4m3 : Float8::e5m2;
      entries_.back().type = torch::kHalf;
      return true;
    }
    for (const auto& entry : kTypes) {
      if (value == entry.name) {
        entries_.back().type = entry.type;
        return true;
      }
    }
    fail("{}: dtype '{}', expected one of F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I64 I32 I16 I8 U8 BOOL", here(),
         printable(value));
  }

  bool start_object(std::size_t) override {
    if (level_ > 1) unexpected("an object");
    ++level_;
    return true;
  }

  bool key(string_t& name) override {
    if (level_ == 1) {
      in_metadata_ = name == kMetadata;
      fields_ = 0;
      shape_.clear();
      offsets_.clear();
      if (in_metadata_) return true;
      require(entries_.size() < kMaxTensors, "{}: more than {} tensors", where_, kMaxTensors);
      entries_.emplace_back().name = std::move(name);
      return true;
    }
    field_ = name;
    if (in_metadata_) return true;
    const unsigned bit = name == "dtype" ? 1 : name == "shape" ? 2 : name == "data_offsets" ? 4 : 0;
    require(bit != 0, "{}: field '{}', expected dtype, shape and data_offsets", here(), printable(name));
    require((fields_ & bit) == 0, "{}: field '{}' occurs twice", here(), name);
    fields_ |= bit;
    return true;
  }

  bool end_object() override {
    if (level_-- == 2 && !in_metadata_) finish_entry();
    return true;
  }

  bool start_array(std::size_t) override {
    if (level_ != 2 || in_metadata_ || field_ == "dtype") unexpected("a list");
    ++level_;
    return true;
  }

  bool end_array() override {
    --level_;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail("{}: its header is no JSON at byte {}", where_, position);
  }

 private:
  std::string here() const {
    if (level_ == 0) return where_ + ": its header";
    if (in_metadata_) return where_ + ": its metadata";
    return fmt::format("{}: tensor '{}'", where_, entries_.empty() ? "" : printable(entries_.back().name));
  }

  [[noreturn]] void unexpected(const std::string& what) const { fail("{}: {} where none belongs", here(), what); }

  /// ensures: as many bytes as the shape needs.
  void finish_entry() {
    auto& entry = entries_.back();
    require(fields_ == 7, "{}: lacks one of dtype, shape and data_offsets", here());
    require(offsets_.size() == 2 && offsets_[0] <= offsets_[1], "{}: data_offsets are no pair of rising numbers",
            here());
    entry.begin = offsets_[0];
    entry.end = offsets_[1];
    std::uint64_t bytes = entry.float8 == Float8::none ? c10::elementSize(entry.type) : 1;
    std::int64_t stride = 1;  // LibTorch computes strides also where another size is 0
    for (const auto size : shape_) {
      const bool fits =
          size <= std::uint64_t{1} << 48 && !__builtin_mul_overflow(bytes, size, &bytes) &&
          !__builtin_mul_overflow(stride, static_cast<std::int64_t>(std::max<std::uint64_t>(size, 1)), &stride);
      require(fits, "{}: its shape overflows", here());
      entry.shape.push_back(static_cast<std::int64_t>(size));
    }
    require(bytes == entry.end - entry.begin, "{}: data_offsets span {} bytes, its shape needs {}", here(),
            entry.end - entry.begin, bytes);
  }

  const std::string& where_;
  Metadata* metadata_;
  std::vector<SafetensorsEntry> entries_;
  int level_ = 0;
  bool in_metadata_ = false;
  unsigned fields_ = 0;  // bit set of those seen
  std::string field_;
  std::vector<std::uint64_t> shape_;
  std::vector<std::uint64_t> offsets_;
};

}  // namespace

float float8_value(unsigned char bits, Float8 format) {
  const int mantissa_bits = format == Float8::e4m3 ? 3 : 2, bias = format == Float8::e4m3 ? 7 : 15;
  const int exponent_bits = 7 - mantissa_bits, top = (1 << exponent_bits) - 1;
  const int exponent = (bits & 0x7F) >> mantissa_bits, mantissa = bits & ((1 << mantissa_bits) - 1);
  const float sign = (bits & 0x80) != 0 ? -1.F : 1.F;
  const bool nan = format == Float8::e4m3 ? (bits & 0x7F) == 0x7F : exponent == top && mantissa != 0;
  if (nan) return std::numeric_limits<float>::quiet_NaN();
  if (format == Float8::e5m2 && exponent == top) return sign * std::numeric_limits<float>::infinity();
  const auto fraction = static_cast<float>(mantissa) / static_cast<float>(1 << mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
  return sign * std::ldexp(1 + fraction, exponent - bias);
}

std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view header, std::uint64_t data_bytes,
                                                       const std::string& where, Metadata* metadata) {
  require(header.starts_with('{'), "{}: its header is no JSON object", where);
  HeaderReader reader(where, metadata);
  read_json_events(header, reader);
  auto entries = reader.take();
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < entries.size(); ++i) {
    require(entries[i - 1].name != entries[i].name, "{}: tensor '{}' occurs twice", where, printable(entries[i].name));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  std::uint64_t covered = 0;
  for (const auto& entry : entries) {
    require(entry.begin == covered, "{}: tensor '{}' begins at byte {} of the data, expected {}: a gap or an overlap",
            where, printable(entry.name), entry.begin, covered);
    covered = entry.end;
    require(covered <= data_bytes, "{}: tensor '{}' ends at byte {} of the data, which has {}", where,
            printable(entry.name), covered, data_bytes);
  }
  require(covered == data_bytes, "{}: {} bytes of data, its tensors cover {}", where, data_bytes, covered);
  return entries;
}

const char* safetensors_type_name(torch::ScalarType type, const std::string& where) {
  for (const auto& entry : kTypes) {
    if (type == entry.type) return entry.name;
  }
  fail("{}: tensors of type {} cannot be stored", where, c10::toString(type));
}

}  // namespace tessera
