/// Targets of requests taken apart. RFC 3986, and the form of queries that pages send (WHATWG URL,
/// application/x-www-form-urlencoded).
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace tessera::server {

/// %41 -> A; what is no such escape stays as it is. plus: '+' is a space.
std::string percent_decoded(std::string_view text, bool plus);

/// "a=1&b=x+y" as names and values, decoded; of a name given twice the first.
std::map<std::string, std::string> query_of(std::string_view text);

}  // namespace tessera::server
