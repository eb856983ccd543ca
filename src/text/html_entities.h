/// Character references of HTML in plain text. html.spec.whatwg.org, sections 13.5 and 13.2.5.72 to 13.2.5.80.
#pragma once

#include <string>

namespace tessera {

/// Blocks of lines "name CODE [CODE]", hexadecimal code points; a null pointer ends them.
extern const char* const kHtmlEntities[];

/// Replaces character references as a browser does: numeric ones, and named ones by the longest known name, with or
/// without the semicolon where HTML allows that. In, out: valid UTF-8. References to no character are left out.
std::string unescape_html(const std::string& text);

/// Replaces only references that end with a semicolon, also with a name in capitals ("&EACUTE;"); unknown ones stay.
std::string unescape_closed_html(const std::string& text);

}  // namespace tessera
