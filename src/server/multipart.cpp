#include "server/multipart.h"

#include <algorithm>
#include <cctype>

#include "server/http_message.h"

namespace tessera::server {
namespace {

constexpr std::size_t kMostParts = 64;
constexpr std::size_t kMostHeaderBytes = 4096;

bool same_text(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// The value of `name` among the parameters behind the first semicolon: name=value or name="value".
std::string parameter(std::string_view header, std::string_view name) {
  auto at = header.find(';');
  while (at != std::string_view::npos) {
    auto rest = trimmed(header.substr(at + 1));
    const auto equals = rest.find('=');
    if (equals == std::string_view::npos) return {};
    const auto key = trimmed(rest.substr(0, equals));
    rest = trimmed(rest.substr(equals + 1));
    std::string value;
    std::size_t used = 0;
    if (rest.starts_with('"')) {
      for (used = 1; used < rest.size() && rest[used] != '"'; ++used) {
        if (rest[used] == '\\' && used + 1 < rest.size()) ++used;
        value += rest[used];
      }
    } else {
      used = std::min(rest.find(';'), rest.size());
      value = trimmed(rest.substr(0, used));
    }
    if (same_text(key, name)) return value;
    const auto next = rest.find(';', used);
    at = next == std::string_view::npos ? next : static_cast<std::size_t>(rest.data() - header.data()) + next;
  }
  return {};
}

FormPart parse_part(std::string_view text) {
  const auto end = text.find("\r\n\r\n");
  if (end == std::string_view::npos || end > kMostHeaderBytes) {
    throw HttpError(400, "form: a part without headers, expected Content-Disposition with a name");
  }
  FormPart part;
  part.content = text.substr(end + 4);
  auto headers = text.substr(0, end);
  while (!headers.empty()) {
    const auto line_end = std::min(headers.find("\r\n"), headers.size());
    const auto line = headers.substr(0, line_end);
    headers.remove_prefix(std::min(line_end + 2, headers.size()));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const auto value = trimmed(line.substr(colon + 1));
    if (same_text(trimmed(line.substr(0, colon)), "content-disposition")) {
      part.name = parameter(value, "name");
      part.filename = parameter(value, "filename");
    } else if (same_text(trimmed(line.substr(0, colon)), "content-type")) {
      part.content_type = value;
    }
  }
  if (part.name.empty()) throw HttpError(400, "form: a part without a name");
  return part;
}

}  // namespace

std::string form_boundary(std::string_view content_type) {
  const auto type = trimmed(content_type.substr(0, content_type.find(';')));
  if (!same_text(type, "multipart/form-data")) return {};
  auto boundary = parameter(content_type, "boundary");
  if (boundary.empty() || boundary.size() > 70) {
    throw HttpError(400, "form: expected a boundary of 1 to 70 characters in Content-Type");
  }
  return boundary;
}

std::vector<FormPart> parse_form(std::string_view body, std::string_view boundary) {
  const auto line = "--" + std::string(boundary), next = "\r\n" + line;
  const auto malformed = [] { return HttpError(400, "form: the body does not follow its boundary"); };
  if (!body.starts_with(line)) throw malformed();
  body.remove_prefix(line.size());
  std::vector<FormPart> parts;
  while (!body.starts_with("--")) {
    if (!body.starts_with("\r\n")) throw malformed();
    body.remove_prefix(2);
    // An empty part begins with the boundary's own line break.
    const auto end = body.find(next);
    if (end == std::string_view::npos) throw malformed();
    if (parts.size() == kMostParts) {
      throw HttpError(400, fmt::format("form: more than {} parts", kMostParts));
    }
    parts.push_back(parse_part(body.substr(0, end)));
    body.remove_prefix(end + next.size());
  }
  return parts;
}

}  // namespace tessera::server
