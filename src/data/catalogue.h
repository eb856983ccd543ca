/// What a set of files says about its images: which there are, in what order, with which caption and label.
/// Knows names and texts only, not where they come from: a folder, a zip and tar shards all end here.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// One image of a source.
struct CatalogueItem {
  std::size_t file = 0;  // its place in the list of names given to make_catalogue
  std::string name;      // relative, with '/' (never a path of the machine for archives)
  std::string caption;   // empty: none
  std::string label;     // class name; empty: none
  bool label_is_number = false;
  std::string fields = "{}";  // JSON object: what else the metadata say
};

struct Catalogue {
  std::vector<CatalogueItem> items;   // in natural order of their names
  std::vector<std::string> problems;  // one line each: broken metadata lines, missing files, unsafe names
};

struct CatalogueInput {
  std::vector<std::string> names;            // every file; images are told by their extension
  std::map<std::string, std::string> texts;  // contents of metadata.jsonl and of .txt .json .cls files, by name
  bool folders_are_classes = true;           // sub-folders name classes, where no metadata do
};

/// Orders the images by name and joins them with metadata.jsonl (`file_name`, `text`, any other field) and with
/// files of the same stem (.txt caption, .cls label, .json fields: the WebDataset convention).
Catalogue make_catalogue(const CatalogueInput& input);

/// Digit runs compare as numbers: "2.png" before "10.png". A strict total order.
bool natural_less(std::string_view left, std::string_view right);
/// png jpg jpeg webp tif tiff gif, in either case; hidden files are none.
bool is_image_name(std::string_view name);
/// metadata.jsonl, or .txt .json .cls.
bool is_text_name(std::string_view name);
/// Relative, no "..", no drive, no control characters.
bool is_safe_name(std::string_view name);
/// The text with broken UTF-8 replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

}  // namespace tessera
