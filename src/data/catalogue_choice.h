/// What a user chooses of what a source's files say: which field is the caption, which pictures are taken.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

struct CatalogueChoice {
  std::string caption_field =
      {};                        // of the metadata, or the ending of a file beside the picture; empty: the usual names
  std::string split_field = {};  // of the metadata; empty: 'split' where every picture has it, else folders' names
  std::string image_field = {};  // the picture of a sample that holds several; empty: the first of the usual names
  std::vector<std::string> where = {};  // field=value, field!=value: pictures for which all of them hold
  bool whole_captions = false;          // the lines of a text file are one caption; false: one caption a line

  /// Throws Error naming the condition that is none.
  void validate() const;
  /// Nothing is chosen.
  bool is_default() const;
};

/// How often each field occurs, by name.
using FieldCounts = std::map<std::string, std::int64_t>;

void count_fields(const nlohmann::json& record, FieldCounts& counts);
/// "prompt (6), seed (6)", at most twelve; "none" where there are none.
std::string fields_text(const FieldCounts& counts);

/// Whether all conditions hold for a picture's fields. A field that it lacks differs from every value; a list holds for
/// each of its values.
bool holds(const std::vector<std::string>& where, const nlohmann::json& record);
/// The fields that the conditions name.
std::vector<std::string> fields_of(const std::vector<std::string>& where);

/// The captions that a field's value gives: a text, a list of texts, a list of objects with text, caption or raw.
std::vector<std::string> captions_of(const nlohmann::json& value);

}  // namespace tessera
