/// Who may ask: keys, origins of pages, names of this host.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/http_message.h"
#include "server/quota.h"

namespace tessera::server {

/// A key's name among clients is the beginning of its digest, so long.
inline constexpr std::size_t kKeyNameLength = 16;

struct AccessRules {
  std::vector<std::string> key_digests;    // SHA-256 of each key, hexadecimal; empty: no key is asked for
  std::map<std::string, KeyQuota> quotas;  // of keys, by client_of's name for them
  std::vector<std::string> origins;        // pages of other origins that may read answers, "https://example.org"
  bool loopback = true;                    // listening on this machine alone: Host must name it
  std::vector<std::string> hosts;          // further names that Host may have, in lower case; where there are any, Host
                                           // must have one of them or name this machine, wherever one listens
};

/// The keys of a file, one a line, 16 to 512 printable characters; lines that begin with # are left out. Throws Error.
std::vector<std::string> read_key_digests(const std::filesystem::path& file);

/// The same with what stands behind the keys, into rules: "KEY name=alice jobs=4 requests=60 pixels=10000000", of which
/// all but the key may be missing (jobs at one time, requests a minute, pixels of results an hour). Throws Error.
void read_keys(const std::filesystem::path& file, AccessRules& rules);

/// "https://example.org" or "http://localhost:5173". Throws UsageError.
void check_origin(const std::string& origin);

/// true for the addresses 127.0.0.0/8 and ::1 and the name localhost, as --listen and Host have them; a name that only
/// begins like such an address is none.
bool is_loopback(std::string_view address);

/// Whose turn a request is: its key, else its address (on the loopback, where all have one address, X-Tessera-Client
/// tells clients apart). Throws HttpError: 401 without a good key, 403 for another host's name or a page of a strange
/// origin. needs_key: false for what everybody may see.
std::string client_of(const HttpRequest& request, const AccessRules& rules, bool needs_key);

/// The listed origin that equals the request's, as it is listed; empty: none. Nothing of the request is ever echoed.
std::string allowed_origin(const HttpRequest& request, const AccessRules& rules);

/// Equal, in a time that depends on the lengths alone.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace tessera::server
