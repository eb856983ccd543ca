/// multipart/form-data (RFC 7578): how forms carry files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tessera::server {

struct FormPart {
  std::string name;
  std::string filename;      // as stated; never used as a path
  std::string content_type;  // empty: text
  std::string content;
};

/// The boundary of a Content-Type of multipart/form-data; empty where it is of another type. Throws HttpError (400)
/// where the boundary is missing or longer than 70 characters.
std::string form_boundary(std::string_view content_type);

/// The parts of a body. Throws HttpError (400) where it is malformed, has more than 64 parts, or a part has no name.
std::vector<FormPart> parse_form(std::string_view body, std::string_view boundary);

}  // namespace tessera::server
