#include "canvas/stitch.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "canvas/tiles.h"
#include "image/image_io.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// A box in cells' corners: the piece's source and its place, both of whole cells in size.
struct Snapped {
  PixelBox from, to;
};

/// Nearest multiple, at least `least`.
int nearest(int value, int factor, int least) {
  return std::max(least, (value + factor / 2) / factor * factor);
}

std::string called(const LoadedPiece& piece, std::size_t number) {
  return fmt::format("piece {} ({})", number + 1, piece.piece.file.filename().string());
}

Snapped snap(const LoadedPiece& loaded, const std::string& name, int factor, int width, int height,
             std::vector<std::string>& notes) {
  const auto& [file, from, to_x, to_y] = loaded.piece;
  const auto& image = *loaded.image;
  require(from.right() <= image.width && from.bottom() <= image.height, "{}: {} leaves its picture of {}x{} pixels",
          name, to_string(from), image.width, image.height);
  require(image.width >= factor && image.height >= factor, "{}: its picture is {}x{} pixels, expected at least {}x{}",
          name, image.width, image.height, factor, factor);
  require(to_x >= 0 && to_y >= 0 && to_x <= width - from.width && to_y <= height - from.height,
          "{}: {}x{} pixels at {},{} leave the canvas of {}x{}", name, from.width, from.height, to_x, to_y, width,
          height);
  Snapped result{from, {}};
  const auto fit = [factor](int& at, int& length, int limit) {
    length = std::min(nearest(length, factor, factor), limit / factor * factor);
    at = std::min(at, limit - length);
  };
  fit(result.from.x, result.from.width, image.width);
  fit(result.from.y, result.from.height, image.height);
  // The last cell may reach beyond the canvas, where the decode is cropped.
  const int most_x = (width + factor - 1) / factor * factor, most_y = (height + factor - 1) / factor * factor;
  result.from.width = std::min(result.from.width, most_x);
  result.from.height = std::min(result.from.height, most_y);
  result.to = {std::min(nearest(to_x, factor, 0), most_x - result.from.width),
               std::min(nearest(to_y, factor, 0), most_y - result.from.height), result.from.width, result.from.height};
  if (!(result.from == from) || result.to.x != to_x || result.to.y != to_y) {
    notes.push_back(fmt::format("{}: {} to {},{} snapped to cells of {} pixels: {} to {},{}", name, to_string(from),
                                to_x, to_y, factor, to_string(result.from), result.to.x, result.to.y));
  }
  return result;
}

/// The tokens of a box of whole cells at any place of a picture, encoded with up to half a tile around it.
torch::Tensor encode_box(Codec codec, const Image& image, const PixelBox& box) {
  const int factor = static_cast<int>(codec->options().factor());
  const auto around = [&](int at, int length, int limit, std::int64_t own) {
    const int context = static_cast<int>(own / 2) * factor;
    const int before = std::min(at / factor * factor, context);
    const int after = std::min((limit - at - length) / factor * factor, context);
    return std::pair{at - before, before + length + after};
  };
  const auto [x, width] = around(box.x, box.width, image.width, codec->options().grid().w);
  const auto [y, height] = around(box.y, box.height, image.height, codec->options().grid().h);
  const auto codes = encode_tiled(codec, to_tensor(crop(image, x, y, width, height)).unsqueeze(0)).codes()[0];
  return codes.narrow(0, (box.y - y) / factor, box.height / factor).narrow(1, (box.x - x) / factor, box.width / factor);
}

void paste(Image& canvas, const Image& image, const PixelBox& from, const PixelBox& to) {
  const int width = std::min(from.width, canvas.width - to.x), height = std::min(from.height, canvas.height - to.y);
  for (int y = 0; y < height; ++y) {
    std::memcpy(canvas.at(to.x, to.y + y), image.at(from.x, from.y + y), 3 * static_cast<std::size_t>(width));
  }
  // On a canvas with transparency a piece brings its own, or none.
  for (int y = 0; y < height && canvas.has_transparency(); ++y) {
    for (int x = 0; x < width; ++x) {
      auto* out = canvas.rgba_at(to.x + x, to.y + y);
      std::copy_n(image.at(from.x + x, from.y + y), 3, out);
      out[3] = 255;
      if (image.has_transparency()) std::copy_n(image.rgba_at(from.x + x, from.y + y), 4, out);
    }
  }
}

/// The part of a box that lies on a picture.
PixelBox clipped(int left, int top, int right, int bottom, int width, int height) {
  left = std::max(0, left);
  top = std::max(0, top);
  return {left, top, std::min(right, width) - left, std::min(bottom, height) - top};
}

bool read_whole(std::string_view text, int& value) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

std::vector<int> numbers(const nlohmann::json& array, std::size_t count, const std::string& where) {
  require(array.is_array() && array.size() == count, "{}: expected {} whole numbers", where, count);
  std::vector<int> values;
  for (const auto& item : array) {
    require(item.is_number_integer() && item >= 0 && item < (1 << 24), "{}: expected {} whole numbers from 0 to {}",
            where, count, (1 << 24) - 1);
    values.push_back(item.get<int>());
  }
  return values;
}

}  // namespace

Piece parse_piece(std::string_view text) {
  const auto wrong = [text] {
    return UsageError(fmt::format("piece '{}': expected FILE@x,y,w,h->X,Y in whole pixels", text));
  };
  const auto arrow = text.rfind("->");
  if (arrow == std::string_view::npos) throw wrong();
  const auto at = text.rfind('@', arrow);
  const auto comma = text.find(',', arrow);
  if (at == std::string_view::npos || at == 0 || comma == std::string_view::npos) throw wrong();
  Piece piece;
  piece.file = std::string(text.substr(0, at));
  piece.from = parse_pixel_box(text.substr(at + 1, arrow - at - 1), fmt::format("piece '{}': box", text));
  if (!read_whole(text.substr(arrow + 2, comma - arrow - 2), piece.to_x) ||
      !read_whole(text.substr(comma + 1), piece.to_y)) {
    throw wrong();
  }
  return piece;
}

Layout read_layout(const std::filesystem::path& path) {
  const auto text = read_file(path, std::uint64_t{1} << 20);
  const auto name = path.string();
  const auto json = read_json_object(text, name);
  for (const auto& [key, value] : json.items()) {
    require(key == "width" || key == "height" || key == "onto" || key == "pieces",
            "{}: unknown field '{}', expected width, height, onto, pieces", name, key);
  }
  Layout layout;
  const auto file = [&](const nlohmann::json& value, const std::string& where) {
    require(value.is_string() && !value.get<std::string>().empty(), "{}: expected a file name", where);
    return path.parent_path() / value.get<std::string>();
  };
  for (const auto& [key, target] : {std::pair{"width", &layout.width}, std::pair{"height", &layout.height}}) {
    if (json.contains(key))
      *target = numbers(nlohmann::json::array({json[key]}), 1, fmt::format("{}: {}", name, key))[0];
  }
  if (json.contains("onto")) layout.onto = file(json["onto"], name + ": onto");
  require(json.contains("pieces") && json["pieces"].is_array() && !json["pieces"].empty(),
          "{}: pieces: expected a list of at least one", name);
  for (std::size_t i = 0; i < json["pieces"].size(); ++i) {
    const auto& entry = json["pieces"][i];
    const auto where = fmt::format("{}: pieces[{}]", name, i);
    require(entry.is_object() && entry.size() == 3 && entry.contains("image") && entry.contains("from") &&
                entry.contains("to"),
            "{}: expected image, from and to", where);
    const auto from = numbers(entry["from"], 4, where + ".from"), to = numbers(entry["to"], 2, where + ".to");
    require(from[2] > 0 && from[3] > 0, "{}.from: expected a width and height of at least 1", where);
    layout.pieces.push_back(
        {file(entry["image"], where + ".image"), {from[0], from[1], from[2], from[3]}, to[0], to[1]});
  }
  return layout;
}

EditPlan plan_stitch(Codec codec, const Picture& canvas, int width, int height, const std::vector<LoadedPiece>& pieces,
                     const StitchOptions& options) {
  options.region.validate();
  if (options.seam < 0 || options.seam > 4096) {
    throw UsageError(fmt::format("seam is {}, expected 0 to 4096 pixels", options.seam));
  }
  require(!pieces.empty(), "stitch: no pieces");
  const int factor = static_cast<int>(codec->options().factor());
  EditPlan plan;
  if (canvas) {
    width = canvas->width;
    height = canvas->height;
    require_edit_size(width, height);
    plan.codebook_size = codec->options().codebook_size;
    plan.codes = encode_picture(codec, *canvas);
    plan.area = {0, 0, width, height};
  } else {
    plan = plan_generate(codec, width, height);
  }
  Image base = canvas ? *canvas : *plan.base;
  PixelMask covered(width, height), seams(width, height);
  std::vector<std::pair<PixelBox, torch::Tensor>> pasted;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto [from, to] = snap(pieces[i], called(pieces[i], i), factor, width, height, plan.notes);
    pasted.emplace_back(to, encode_box(codec, *pieces[i].image, from));
    paste(base, *pieces[i].image, from, to);
    covered.add(clipped(to.x, to.y, to.right(), to.bottom(), width, height), "piece");
    const int s = options.seam;
    seams.add(clipped(to.x - s, to.y - s, to.right() + s, to.bottom() + s, width, height), "seam");
  }
  if (options.seam > 0) plan.codes.masked_fill_(seams.cells(factor), plan.codebook_size);
  for (const auto& [to, codes] : pasted) {
    plan.codes.narrow(0, to.y / factor, codes.size(0)).narrow(1, to.x / factor, codes.size(1)).copy_(codes);
  }
  plan.base = std::make_shared<Image>(std::move(base));
  const int feather = options.region.feather < 0 ? factor : options.region.feather;
  if (feather > 0) {
    // What the model fills: all that no piece covers, or on a picture the seams alone.
    auto kept = covered;
    if (canvas) kept.add(seams.inverted());
    plan.alpha = kept.inverted().feathered(feather);
  }
  return plan;
}

}  // namespace tessera
