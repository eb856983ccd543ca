/// What a call has made.
#pragma once

#include <tessera/grid.hpp>
#include <tessera/image.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace tessera {

/// Images with their tokens and the record of how they came about. Copies share them; they outlive the model.
class Images {
 public:
  Images() = default;
  /// Takes over what a call of the C interface has made.
  explicit Images(tessera_images* images) : images_(images, tessera_images_free) {}

  std::size_t size() const noexcept {
    return images_ ? static_cast<std::size_t>(tessera_images_count(images_.get())) : 0;
  }
  bool empty() const noexcept { return size() == 0; }

  /// Image i, which lives as long as these do; of a temporary a copy. RGB, or RGBA where what was edited has
  /// transparency. Throws UsageError where there is no such image.
  ImageView operator[](std::size_t i) const& { return image(i); }
  Image operator[](std::size_t i) && { return Image(image(i)); }

  /// Its tokens, in the same manner.
  GridView tokens(std::size_t i) const& { return grid(i); }
  Grid tokens(std::size_t i) && { return Grid(grid(i)); }

  /// JSON: the options that were used, "seed", "evaluations", "seconds", "notes". ImageView::write puts it into a PNG.
  std::string record() const { return images_ ? tessera_images_record(images_.get()) : "{}"; }

  class Iterator {
   public:
    Iterator(const Images* images, std::size_t i) : images_(images), i_(i) {}
    ImageView operator*() const { return (*images_)[i_]; }
    Iterator& operator++() {
      ++i_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return i_ != other.i_; }

   private:
    const Images* images_;
    std::size_t i_;
  };
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, size()}; }

 private:
  ImageView image(std::size_t i) const {
    require(i);
    const tessera_image_view view = tessera_images_image(images_.get(), static_cast<std::int64_t>(i));
    if (!view.pixels) throw UsageError("images: the call made tokens alone");
    return ImageView(view);
  }
  GridView grid(std::size_t i) const {
    require(i);
    const tessera_grid_view view = tessera_images_tokens(images_.get(), static_cast<std::int64_t>(i));
    if (!view.tokens) throw UsageError("images: they have no tokens");
    return GridView(view);
  }
  void require(std::size_t i) const {
    if (i >= size())
      throw UsageError("images: no image " + std::to_string(i) + ", there are " + std::to_string(size()));
  }

  std::shared_ptr<const tessera_images> images_;
};

}  // namespace tessera
