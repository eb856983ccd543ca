/// The one file that speaks to libvips.
#include <set>

#include "image/animation.h"
#include "image/decoding_process.h"
#include "image/image_io.h"
#include "runtime/error.h"
#include "runtime/foreign_bytes.h"
#include "runtime/log.h"

namespace tessera {
namespace {

/// The formats that every build with libvips reads; the others ask for their loader.
bool is_plain_picture_ending(std::string_view ending) {
  static const std::set<std::string, std::less<>> endings = {"png", "apng", "jpg", "jpeg", "jpe", "jfif",
                                                             "jif", "webp", "tif", "tiff", "gif"};
  return endings.contains(ending);
}

}  // namespace
}  // namespace tessera

#ifdef TESSERA_WITH_VIPS
#include <vips/vips.h>
// after it, whose types it uses
#include <vips/vector.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>

namespace tessera {
namespace {

struct Unref {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using Handle = std::unique_ptr<VipsImage, Unref>;

/// libvips keeps buffers per thread; a thread of ours gives them back when it ends.
struct ThreadEnd {
  ~ThreadEnd() { vips_thread_shutdown(); }
};

void ignore_message(const gchar*, GLogLevelFlags, const gchar* message, gpointer) {
  log().debug("libvips: {}", message);
}

void start_vips() {
  static std::once_flag once;
  std::call_once(once, [] {
    require(vips_init("tessera") == 0, "libvips: cannot be started");
    // Images are decoded side by side on our own threads, each of them seen once.
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    // orc 0.4.33 compiles its loops on several threads at once and corrupts memory when pictures are resized side by
    // side.
    vips_vector_set_enabled(FALSE);
    vips_block_untrusted_set(TRUE);
    g_log_set_handler("VIPS", static_cast<GLogLevelFlags>(G_LOG_LEVEL_MASK), ignore_message, nullptr);
  });
  static thread_local ThreadEnd end_of_thread;
  (void)end_of_thread;
}

/// The first line of libvips' error buffer, which is emptied.
std::string vips_message() {
  char* buffer = vips_error_buffer_copy();
  std::string message(buffer);
  g_free(buffer);
  vips_error_clear();
  message = message.substr(0, message.find('\n'));
  return message.empty() ? "unknown reason" : message;
}

/// Runs one libvips operation that makes an image; takes the place of its input.
template <typename Operation>
void apply(Handle& image, std::string_view name, Operation operation) {
  VipsImage* out = nullptr;
  if (operation(image.get(), &out) != 0) {
    if (out) g_object_unref(out);
    fail("{}: cannot be decoded: {}", name, vips_message());
  }
  image.reset(out);
}

/// HEIC and AVIF: whether this libvips has the loader and lets it see files of strangers.
bool has_heif_loader() {
  start_vips();
  static const bool usable = [] {
    const GType type = vips_type_find("VipsOperation", "heifload_buffer");
    if (type == 0) return false;
    const auto* operation = static_cast<VipsOperationClass*>(g_type_class_ref(type));
    return (operation->flags & VIPS_OPERATION_BLOCKED) == 0;
  }();
  return usable;
}

/// libpng unpacks each packed text when it meets it, up to 8 MiB: hundreds of small ones would take seconds.
void require_few_packed_texts(std::span<const std::uint8_t> bytes, std::string_view name) {
  constexpr int kMost = 64;
  int packed = 0;
  for (std::size_t at = 8; bytes.size() - at >= 12;) {
    const std::size_t length = std::size_t{bytes[at]} << 24 | std::size_t{bytes[at + 1]} << 16 |
                               std::size_t{bytes[at + 2]} << 8 | std::size_t{bytes[at + 3]};
    const std::string_view type(reinterpret_cast<const char*>(bytes.data()) + at + 4, 4);
    packed += type == "zTXt" || type == "iTXt";
    require(packed <= kMost, "{}: more than {} packed texts in a PNG", name, kMost);
    if (length > bytes.size() - at - 12) return;  // cut off: the loader says so
    at += 12 + length;
  }
}

/// libwebp looks for each frame from the first one on: 100,000 of 24 bytes take 15 seconds.
void require_few_frames(std::span<const std::uint8_t> bytes, std::string_view name) {
  constexpr int kMost = 10'000;
  int frames = 0;
  for (std::size_t at = 12; at <= bytes.size() && bytes.size() - at >= 8;) {
    const std::size_t length = std::size_t{bytes[at + 7]} << 24 | std::size_t{bytes[at + 6]} << 16 |
                               std::size_t{bytes[at + 5]} << 8 | std::size_t{bytes[at + 4]};
    frames += std::string_view(reinterpret_cast<const char*>(bytes.data()) + at, 4) == "ANMF";
    require(frames <= kMost, "{}: more than {} frames in a WebP", name, kMost);
    at += 8 + length + length % 2;
  }
}

/// Opens with the loader of the format that the first bytes name; no pixel is decoded yet.
Handle open_by_signature(std::span<const std::uint8_t> bytes, std::string_view name) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 16));
  void* data = const_cast<std::uint8_t*>(bytes.data());
  const std::size_t size = bytes.size();
  VipsImage* out = nullptr;
  int status = -1;
  using namespace std::string_view_literals;
  if (head.starts_with("\x89PNG\r\n\x1a\n"sv)) {
    require_few_packed_texts(bytes, name);
    status = vips_pngload_buffer(data, size, &out, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
  } else if (head.starts_with("\xff\xd8\xff"sv)) {
    status = vips_jpegload_buffer(data, size, &out, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
  } else if (head.size() >= 12 && head.starts_with("RIFF"sv) && head.substr(8, 4) == "WEBP"sv) {
    require_few_frames(bytes, name);
    status = vips_webpload_buffer(data, size, &out, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
  } else if (head.starts_with("II*\0"sv) || head.starts_with("MM\0*"sv) || head.starts_with("II+\0"sv) ||
             head.starts_with("MM\0+"sv)) {
    status = vips_tiffload_buffer(data, size, &out, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
  } else if (head.starts_with("GIF87a"sv) || head.starts_with("GIF89a"sv)) {
    status = vips_gifload_buffer(data, size, &out, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
  } else if (head.size() >= 12 && head.substr(4, 4) == "ftyp"sv) {
    require(has_heif_loader(), "{}: HEIC, AVIF or a film, none of which this build reads", name);
    status = vips_heifload_buffer(data, size, &out, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
  } else {
    const auto other = foreign_bytes({reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(size, 512)});
    require(other.empty(), "{}: not an image but {}", name, other);
    fail("{}: not an image; expected PNG, JPEG, WebP, TIFF or GIF", name);
  }
  Handle image(out);
  require(status == 0, "{}: cannot be decoded: {}", name, vips_message());
  return image;
}

/// Any colour space, any depth, to 8-bit sRGB with or without alpha.
void convert_to_srgb(Handle& image, std::string_view name) {
  if (vips_image_get_format(image.get()) == VIPS_FORMAT_USHORT) {
    // The high byte, alpha as well, so that one path follows.
    const bool grey = vips_image_get_bands(image.get()) < 3;
    apply(image, name,
          [](VipsImage* in, VipsImage** out) { return vips_cast(in, out, VIPS_FORMAT_UCHAR, "shift", TRUE, nullptr); });
    if (vips_image_guess_interpretation(image.get()) != VIPS_INTERPRETATION_CMYK) {
      apply(image, name, [grey](VipsImage* in, VipsImage** out) {
        return vips_copy(in, out, "interpretation", grey ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB, nullptr);
      });
    }
  }
  const bool has_profile = vips_image_get_typeof(image.get(), VIPS_META_ICC_NAME) != 0;
  if (has_profile && vips_image_get_bands(image.get()) >= 3) {
    VipsImage* managed = nullptr;
    if (vips_icc_transform(image.get(), &managed, "srgb", "embedded", TRUE, "depth", 8, nullptr) == 0) {
      image.reset(managed);
    } else {
      vips_error_clear();  // an unusable profile: the numbers are taken as they are
    }
  }
  apply(image, name,
        [](VipsImage* in, VipsImage** out) { return vips_colourspace(in, out, VIPS_INTERPRETATION_sRGB, nullptr); });
}

void composite_on(Handle& image, Colour background, std::string_view name) {
  const double colour[3] = {double(background.red), double(background.green), double(background.blue)};
  VipsArrayDouble* array = vips_array_double_new(colour, 3);
  const std::unique_ptr<VipsArrayDouble, void (*)(VipsArrayDouble*)> owner(
      array, [](VipsArrayDouble* a) { vips_area_unref(VIPS_AREA(a)); });
  apply(image, name,
        [array](VipsImage* in, VipsImage** out) { return vips_flatten(in, out, "background", array, nullptr); });
}

/// What pictures that are decoded at one time may take together, and any one of them: four small files can say that
/// they are gigabytes.
class DecodingPlace {
 public:
  static constexpr std::uint64_t kMostBytes = std::uint64_t{768} << 20;

  /// Waits until there is room. In: bytes, at most kMostBytes.
  explicit DecodingPlace(std::uint64_t bytes) : bytes_(bytes) {
    std::unique_lock lock(mutex());
    left().wait(lock, [&] { return taken() + bytes_ <= kMostBytes; });
    taken() += bytes_;
  }
  ~DecodingPlace() {
    {
      const std::lock_guard lock(mutex());
      taken() -= bytes_;
    }
    left().notify_all();
  }
  DecodingPlace(const DecodingPlace&) = delete;
  DecodingPlace& operator=(const DecodingPlace&) = delete;

 private:
  static std::mutex& mutex() {
    static auto* one = new std::mutex;
    return *one;
  }
  static std::condition_variable& left() {
    static auto* one = new std::condition_variable;
    return *one;
  }
  static std::uint64_t& taken() {
    static std::uint64_t bytes = 0;
    return bytes;
  }

  const std::uint64_t bytes_;
};

/// How often a loader holds the whole picture, ours included: what comes in passes is gathered by the loader first.
std::uint64_t copies_of(VipsImage* image, std::string_view head) {
  const bool passes =
      vips_image_get_typeof(image, "interlaced") != 0 || vips_image_get_typeof(image, "jpeg-multiscan") != 0;
  if (head.starts_with("\x89PNG")) return passes ? 2 : 1;
  if (head.starts_with("\xff\xd8")) return passes ? 3 : 1;  // coefficients of two bytes
  return 2;
}

/// The pixels [H, W, bands] of 8 bits, computed a strip at a time straight into their place.
std::vector<std::uint8_t> pixels_of(VipsImage* image, std::string_view name) {
  constexpr int kStrip = 64;  // rows
  const int width = vips_image_get_width(image), height = vips_image_get_height(image);
  const auto row = static_cast<std::size_t>(width) * static_cast<std::size_t>(vips_image_get_bands(image));
  std::vector<std::uint8_t> pixels(row * static_cast<std::size_t>(height));
  const std::unique_ptr<VipsRegion, void (*)(VipsRegion*)> region(vips_region_new(image),
                                                                  [](VipsRegion* r) { g_object_unref(r); });
  for (int top = 0; top < height; top += kStrip) {
    const VipsRect strip{0, top, width, std::min(kStrip, height - top)};
    require(vips_region_prepare(region.get(), &strip) == 0, "{}: cannot be decoded: {}", name, vips_message());
    for (int y = top; y < top + strip.height; ++y)
      std::memcpy(pixels.data() + row * static_cast<std::size_t>(y), VIPS_REGION_ADDR(region.get(), 0, y), row);
  }
  return pixels;
}

Image copy_pixels(const Handle& image, std::string_view name) {
  require(vips_image_get_bands(image.get()) == 3 && vips_image_get_format(image.get()) == VIPS_FORMAT_UCHAR,
          "{}: {} bands after conversion, expected 3 of 8 bits", name, vips_image_get_bands(image.get()));
  Image result;
  result.width = vips_image_get_width(image.get());
  result.height = vips_image_get_height(image.get());
  result.pixels = pixels_of(image.get(), name);
  return result;
}

/// The bands of a decoded picture with alpha, 8 bits each; nothing where all of it is opaque.
std::vector<std::uint8_t> copy_rgba(Handle image, std::string_view name) {
  apply(image, name, [](VipsImage* in, VipsImage** out) { return vips_cast(in, out, VIPS_FORMAT_UCHAR, nullptr); });
  if (vips_image_get_bands(image.get()) != 4) return {};
  auto pixels = pixels_of(image.get(), name);
  for (std::size_t i = 3; i < pixels.size(); i += 4) {
    if (pixels[i] != 255) return pixels;
  }
  return {};
}

Handle wrap_rgba(const Image& image) {
  Handle handle(vips_image_new_from_memory(image.rgba.data(), image.rgba.size(), image.width, image.height, 4,
                                           VIPS_FORMAT_UCHAR));
  require(handle != nullptr, "image: {}", vips_message());
  handle->Type = VIPS_INTERPRETATION_sRGB;
  return handle;
}

Handle wrap(const Image& image) {
  require(image.width > 0 && image.height > 0, "image: {}x{}, expected at least 1x1", image.width, image.height);
  Handle handle(vips_image_new_from_memory(image.pixels.data(), image.pixels.size(), image.width, image.height, 3,
                                           VIPS_FORMAT_UCHAR));
  require(handle != nullptr, "image: {}", vips_message());
  handle->Type = VIPS_INTERPRETATION_sRGB;
  return handle;
}

/// Decoded upright as 8-bit sRGB, with alpha where the file has it; sizes are checked first. place: taken before pixels
/// are decoded, for as long as they are needed.
Handle decode(std::span<const std::uint8_t> bytes, std::string_view name, const ReadOptions& options,
              std::optional<DecodingPlace>& place) {
  require(bytes.size() <= options.max_file_bytes, "{}: {} bytes, expected at most {}", name, bytes.size(),
          options.max_file_bytes);
  start_vips();
  Handle image = open_by_signature(bytes, name);
  const std::int64_t width = vips_image_get_width(image.get());
  const std::int64_t height = vips_image_get_height(image.get());
  require(width > 0 && height > 0 && width <= options.max_pixels / height,
          "{}: {}x{} pixels, expected at most {} in all", name, width, height, options.max_pixels);
  const int bands = vips_image_get_bands(image.get());
  require(bands >= 1 && bands <= 5, "{}: {} bands, expected 1 to 5", name, bands);
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 16));
  const auto pixels = static_cast<std::uint64_t>(width) * static_cast<std::uint64_t>(height);
  const auto needed = pixels * (VIPS_IMAGE_SIZEOF_PEL(image.get()) * copies_of(image.get(), head) + 3 +
                                (options.keep_alpha && vips_image_hasalpha(image.get()) ? 4 : 0));
  require(needed <= DecodingPlace::kMostBytes, "{}: {}x{} pixels of {} bytes need {} MiB, expected at most {}", name,
          width, height, VIPS_IMAGE_SIZEOF_PEL(image.get()), needed >> 20, DecodingPlace::kMostBytes >> 20);
  place.emplace(needed);
  // Decoded once here, because turning an image upright visits its pixels in another order.
  Handle decoded(vips_image_copy_memory(image.get()));
  require(decoded != nullptr, "{}: cannot be decoded: {}", name, vips_message());
  image = std::move(decoded);
  apply(image, name, [](VipsImage* in, VipsImage** out) { return vips_autorot(in, out, nullptr); });
  convert_to_srgb(image, name);
  return image;
}

}  // namespace

bool image_files_supported() {
  return true;
}

bool reads_picture_ending(std::string_view ending) {
  return is_plain_picture_ending(ending) ||
         ((ending == "heic" || ending == "heif" || ending == "hif" || ending == "avif") && has_heif_loader());
}

Image read_image(std::span<const std::uint8_t> bytes, std::string_view name, const ReadOptions& options) {
  if (decodes_apart()) return read_image_apart(bytes, name, options);
  std::optional<DecodingPlace> place;
  Handle image = decode(bytes, name, options, place);
  std::vector<std::uint8_t> rgba;
  if (vips_image_hasalpha(image.get())) {
    if (options.keep_alpha) {
      g_object_ref(image.get());
      rgba = copy_rgba(Handle(image.get()), name);
    }
    composite_on(image, options.background, name);
  }
  Image result = copy_pixels(image, name);
  result.rgba = std::move(rgba);
  return result;
}

std::pair<int, int> read_image_size(std::span<const std::uint8_t> bytes, std::string_view name) {
  start_vips();
  const Handle image = open_by_signature(bytes, name);
  return {vips_image_get_width(image.get()), vips_image_get_height(image.get())};
}

Image resize_exact(const Image& image, int width, int height) {
  require(width > 0 && height > 0, "resize: {}x{}, expected at least 1x1", width, height);
  if (image.width == width && image.height == height) return image;
  start_vips();
  Handle handle = wrap(image);
  const double horizontal = static_cast<double>(width) / image.width;
  const double vertical = static_cast<double>(height) / image.height;
  apply(handle, "resize", [&](VipsImage* in, VipsImage** out) {
    return vips_resize(in, out, horizontal, "vscale", vertical, "kernel", VIPS_KERNEL_LANCZOS3, nullptr);
  });
  Image result = copy_pixels(handle, "resize");
  if (image.has_transparency()) {
    Handle rgba = wrap_rgba(image);
    // Colours count by how opaque they are.
    apply(rgba, "resize", [](VipsImage* in, VipsImage** out) { return vips_premultiply(in, out, nullptr); });
    apply(rgba, "resize", [&](VipsImage* in, VipsImage** out) {
      return vips_resize(in, out, horizontal, "vscale", vertical, "kernel", VIPS_KERNEL_LANCZOS3, nullptr);
    });
    apply(rgba, "resize", [](VipsImage* in, VipsImage** out) { return vips_unpremultiply(in, out, nullptr); });
    result.rgba = copy_rgba(std::move(rgba), "resize");
  }
  require(result.width == width && result.height == height, "resize: {}x{}, expected {}x{}", result.width,
          result.height, width, height);
  return result;
}

std::string encode_png(const Image& image, const PngText& text) {
  start_vips();
  const Handle handle = image.has_transparency() ? wrap_rgba(image) : wrap(image);
  void* buffer = nullptr;
  std::size_t size = 0;
  const int status = vips_pngsave_buffer(handle.get(), &buffer, &size, "compression", 6, "filter",
                                         VIPS_FOREIGN_PNG_FILTER_ALL, "strip", TRUE, nullptr);
  const std::unique_ptr<void, void (*)(void*)> owner(buffer, g_free);
  require(status == 0, "PNG: cannot be encoded: {}", vips_message());
  return with_png_text({static_cast<const char*>(buffer), size}, text);
}

std::string encode_image(const Image& image, std::string_view format, const PngText& text) {
  if (format == "png") return encode_png(image, text);
  require(format == "webp" || format == "jpeg", "picture format '{}': expected one of png, webp, jpeg", format);
  start_vips();
  const Handle handle = image.has_transparency() && format == "webp" ? wrap_rgba(image) : wrap(image);
  void* buffer = nullptr;
  std::size_t size = 0;
  const int status = format == "webp"
                         ? vips_webpsave_buffer(handle.get(), &buffer, &size, "lossless", TRUE, "strip", TRUE, nullptr)
                         : vips_jpegsave_buffer(handle.get(), &buffer, &size, "Q", 92, "strip", TRUE, nullptr);
  const std::unique_ptr<void, void (*)(void*)> owner(buffer, g_free);
  require(status == 0, "{}: cannot be encoded: {}", format, vips_message());
  return {static_cast<const char*>(buffer), size};
}

std::string encode_webp_animation(const std::vector<Image>& frames, int milliseconds) {
  constexpr int kMaxSide = 16383;  // of the format
  require(!frames.empty() && milliseconds > 0, "animation: {} frames of {} ms, expected at least one of each",
          frames.size(), milliseconds);
  const int width = frames.front().width, height = frames.front().height;
  require(width <= kMaxSide && height <= kMaxSide, "animation: {}x{} pixels, expected at most {} a side", width, height,
          kMaxSide);
  start_vips();
  // libvips takes an animation as one tall picture of pages.
  std::vector<std::uint8_t> pages;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    require(frames[i].width == width && frames[i].height == height, "animation: frame {} is {}x{}, expected {}x{}", i,
            frames[i].width, frames[i].height, width, height);
    pages.insert(pages.end(), frames[i].pixels.begin(), frames[i].pixels.end());
  }
  const int count = static_cast<int>(frames.size());
  require(std::int64_t{count} * height < std::int64_t{1} << 30, "animation: {} frames are too many", count);
  const Handle joined(
      vips_image_new_from_memory(pages.data(), pages.size(), width, count * height, 3, VIPS_FORMAT_UCHAR));
  require(joined != nullptr, "animation: {}", vips_message());
  joined->Type = VIPS_INTERPRETATION_sRGB;
  vips_image_set_int(joined.get(), VIPS_META_PAGE_HEIGHT, height);
  std::vector<int> delays(frames.size(), milliseconds);
  vips_image_set_array_int(joined.get(), "delay", delays.data(), count);
  vips_image_set_int(joined.get(), "loop", 0);
  void* buffer = nullptr;
  std::size_t size = 0;
  const int status = vips_webpsave_buffer(joined.get(), &buffer, &size, "Q", 90, nullptr);
  const std::unique_ptr<void, void (*)(void*)> owner(buffer, g_free);
  require(status == 0, "animation: cannot be encoded: {}", vips_message());
  return {static_cast<const char*>(buffer), size};
}

}  // namespace tessera

#else
#include "image/stored_png.h"

namespace tessera {
namespace {
[[noreturn]] void fail_without_vips() {
  fail(
      "image files: this build has no libvips to read or resize them; open a .tessera-pack, or build with "
      "TESSERA_WITH_VIPS=ON");
}
}  // namespace

bool image_files_supported() {
  return false;
}
bool reads_picture_ending(std::string_view ending) {
  return is_plain_picture_ending(ending);
}
Image read_image(std::span<const std::uint8_t>, std::string_view, const ReadOptions&) {
  fail_without_vips();
}
std::pair<int, int> read_image_size(std::span<const std::uint8_t>, std::string_view) {
  fail_without_vips();
}
Image resize_exact(const Image& image, int width, int height) {
  if (image.width == width && image.height == height) return image;
  fail_without_vips();
}
std::string encode_png(const Image& image, const PngText& text) {
  return encode_stored_png(image, text);
}
std::string encode_image(const Image& image, std::string_view format, const PngText& text) {
  if (format == "png") return encode_stored_png(image, text);
  fail_without_vips();
}
std::string encode_webp_animation(const std::vector<Image>&, int) {
  fail_without_vips();
}

}  // namespace tessera

#endif
