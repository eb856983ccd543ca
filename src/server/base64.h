/// Base64 (RFC 4648) and data URIs (RFC 2397): how JSON carries pictures.
#pragma once

#include <string>
#include <string_view>

namespace tessera::server {

std::string to_base64(std::string_view bytes);

/// The bytes of base64 text with or without padding; white space is skipped. Throws Error at anything else; `what`
/// begins the message.
std::string from_base64(std::string_view text, std::string_view what);

/// "data:image/png;base64,..." -> its bytes; text that is no data URI is taken as bare base64. Throws Error; `what`
/// begins the message.
std::string from_data_uri(std::string_view text, std::string_view what);

/// In: a media type ("image/png") and bytes.
std::string to_data_uri(std::string_view media_type, std::string_view bytes);

}  // namespace tessera::server
