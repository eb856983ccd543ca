/// Names of files as they come from folders and archives: bytes, never read through a locale. What kind of file a name
/// stands for, in which order names go, and when two spellings are one file.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

/// Digit runs compare as numbers: "2.png" before "10.png". A strict total order.
bool natural_less(std::string_view left, std::string_view right);

std::string_view base_name(std::string_view name);
std::string_view folder_of(std::string_view name);  // with its '/', or empty
/// What follows the last dot of the file's name, in lower case; empty: no dot, or only the first character is one.
std::string ending_of(std::string_view name);
std::string_view without_ending(std::string_view name);

/// The one spelling by which names are compared: '/' for '\', no "./" and "//", "a/../" taken back, the ending in lower
/// case, Unicode normal form C where the bytes are UTF-8.
std::string canonical_name(std::string_view name);

/// A picture of a format that this build reads, by its ending in either case; hidden files are none.
bool is_image_name(std::string_view name);
/// metadata.jsonl or metadata.csv.
bool is_metadata_name(std::string_view name);
/// Metadata, or .txt .caption .json .cls.
bool is_text_name(std::string_view name);
/// A file or folder that begins with a dot, and what macOS, Windows and file servers leave behind.
bool is_hidden_name(std::string_view name);
/// README, LICENSE and the like, .md, .gitattributes: what explains a set and is not part of it.
bool is_document_name(std::string_view name);
/// Relative, no "..", no drive letter.
bool is_safe_name(std::string_view name);

/// The text with broken UTF-8 replaced by U+FFFD.
std::string valid_utf8(std::string_view text);
bool is_valid_utf8(std::string_view text);

}  // namespace tessera
