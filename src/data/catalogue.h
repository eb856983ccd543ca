/// What a set of files says about its images: which there are, in what order, with which captions, label and part.
/// Knows names and texts only, not where they come from: a folder, a zip and tar shards all end here. Every file is an
/// image, a companion of one, or left out with its reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data/catalogue_choice.h"
#include "data/file_names.h"
#include "data/split.h"

namespace tessera {

/// One image of a source.
struct CatalogueItem {
  std::size_t file = 0;  // its place in the list of names given to make_catalogue
  std::string name;      // relative, with '/' (never a path of the machine for archives)
  std::string caption;   // empty: none
  std::string label;     // class name; empty: none
  bool label_is_number = false;
  std::string fields = "{}";                    // JSON object: what else the metadata say
  std::vector<std::string> more_captions = {};  // further ones; training draws one of all at each step
  std::optional<Split> split = {};              // where folders or a field say so
};

/// A file that is neither an image nor a companion of one.
struct LeftOut {
  std::string name;
  std::string reason;     // in words
  bool expected = false;  // explains a set (README) or lies in every folder (.DS_Store): no problem
};

struct Catalogue {
  static constexpr std::size_t kKeptProblems = 10'000;

  std::vector<CatalogueItem> items;   // in natural order of their names
  std::vector<std::string> problems;  // one line each: broken metadata lines, missing files, files left out
  std::int64_t more_problems = 0;     // beyond the first kKeptProblems
  std::vector<std::string> notes;     // one line each: what was assumed, such as an encoding
  std::vector<LeftOut> left_out;
  std::int64_t files = 0;       // items, companions and files left out
  std::int64_t companions = 0;  // captions, labels, metadata
  FieldCounts fields;           // that the images' metadata hold, captions and labels among them
};

struct CatalogueInput {
  std::vector<std::string> names;            // every file; images are told by their ending
  std::map<std::string, std::string> texts;  // contents of metadata and of companions, by name
  bool folders_are_classes = true;           // sub-folders name classes, where no metadata do
  bool from_tar = false;                     // several pictures of one key are one sample
  std::vector<std::string> archives;         // where names begin with one: "images.zip/"
  std::set<std::string> sheets;              // pictures that are no samples (is_contact_sheet)
  std::vector<LeftOut> others;               // what the source has seen and cannot give: links, devices
  std::vector<std::string> notes;
  CatalogueChoice choice;
  std::size_t max_value_bytes = std::size_t{256} << 20;  // that the values and lines of all texts may take
};

/// Orders the images by name and joins them with metadata.jsonl or .csv (`file_name`, `text`, any other field) and with
/// files of the same stem (.txt and .caption, .cls, .json). Throws Error where a chosen field is nowhere, and where the
/// texts describe more than they may.
Catalogue make_catalogue(const CatalogueInput& input);

}  // namespace tessera
