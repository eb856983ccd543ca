#include "server/access.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>

#include "checkpoint/sha256.h"
#include "runtime/atomic_file.h"
#include "runtime/printable.h"
#include "server/base64.h"
#include "server/http_head.h"

namespace tessera::server {
namespace {

std::string digest_of(std::string_view key) {
  Sha256 hash;
  hash.update(key);
  return hash.finish();
}

/// What a key's client is called.
std::string client_name(const std::string& digest) {
  return digest.substr(0, kKeyNameLength);
}

/// The key of "Bearer KEY", or the password of "Basic base64(user:KEY)"; empty: none.
std::string key_of(const std::string& authorization) {
  const std::string_view text = authorization;
  const auto after = [&](std::string_view scheme) -> std::string_view {
    if (text.size() <= scheme.size()) return {};
    const bool same = std::equal(scheme.begin(), scheme.end(), text.begin(),
                                 [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
    return same ? text.substr(scheme.size()) : std::string_view();
  };
  if (const auto key = after("bearer "); !key.empty()) return std::string(key);
  if (const auto pair = after("basic "); !pair.empty()) {
    try {
      const auto plain = from_base64(pair, "authorization");
      const auto colon = plain.find(':');
      return colon == std::string::npos ? std::string() : plain.substr(colon + 1);
    } catch (const Error&) {
      return {};
    }
  }
  return {};
}

}  // namespace

namespace {

/// "name=alice", "jobs=4" ... into the quota. false: it is none of these.
bool take_quota(std::string_view word, KeyQuota& quota) {
  const auto equals = word.find('=');
  if (equals == std::string_view::npos) return false;
  const auto name = word.substr(0, equals), value = word.substr(equals + 1);
  if (name == "name") {
    quota.name = value.substr(0, 64);
    return !value.empty();
  }
  auto* target = name == "jobs"       ? &quota.jobs
                 : name == "requests" ? &quota.requests_a_minute
                 : name == "pixels"   ? &quota.pixels_an_hour
                                      : nullptr;
  if (!target) return false;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), *target);
  return parsed.ec == std::errc() && parsed.ptr == value.data() + value.size() && *target >= 1;
}

}  // namespace

void read_keys(const std::filesystem::path& file, AccessRules& rules) {
  const auto text = read_file(file, 1 << 20);
  std::vector<std::string> digests;
  std::map<std::string, KeyQuota> quotas;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    const auto key = line.substr(0, line.find(' '));
    line.remove_prefix(key.size());
    const bool printable = std::all_of(key.begin(), key.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
    require(printable && key.size() >= 16 && key.size() <= 512,
            "{}: a key of {} characters, expected 16 to 512 printable ones", file.string(), key.size());
    digests.push_back(digest_of(key));
    KeyQuota quota;
    while (!line.empty()) {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const auto word = line.substr(0, line.find(' '));
      line.remove_prefix(word.size());
      require(word.empty() || take_quota(word, quota),
              "{}: '{}' behind key {}, expected name=NAME, jobs=N, requests=N or pixels=N", file.string(),
              tessera::printable(word), digests.size());
    }
    if (quota != KeyQuota{}) quotas[client_name(digests.back())] = quota;
  }
  require(!digests.empty(), "{}: holds no key", file.string());
  rules.key_digests = std::move(digests);
  rules.quotas = std::move(quotas);
}

std::vector<std::string> read_key_digests(const std::filesystem::path& file) {
  AccessRules rules;
  read_keys(file, rules);
  return rules.key_digests;
}

void check_origin(const std::string& origin) {
  const auto rest = origin.starts_with("https://")  ? origin.substr(8)
                    : origin.starts_with("http://") ? origin.substr(7)
                                                    : std::string();
  const bool plain =
      !rest.empty() && rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-:[]") == std::string::npos;
  if (!plain) {
    throw UsageError(
        fmt::format("--allow-origin {}: expected http://HOST or https://HOST, with :PORT where it has one", origin));
  }
}

bool is_loopback(std::string_view address) {
  const std::string text(address);
  if (text == "localhost") return true;
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6{};
  if (::inet_pton(AF_INET6, text.c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  }
  return difference == 0;
}

std::string allowed_origin(const HttpRequest& request, const AccessRules& rules) {
  const auto origin = request.header("origin");
  const auto found = std::find(rules.origins.begin(), rules.origins.end(), origin);
  return origin.empty() || found == rules.origins.end() ? std::string() : *found;
}

std::string client_of(const HttpRequest& request, const AccessRules& rules, bool needs_key) {
  const auto host = request.header("host");
  // A page elsewhere whose name is made to point here must not be taken for our own.
  if ((rules.loopback || !rules.hosts.empty()) && !host.empty()) {
    const auto name = host_of(host);
    if (!is_loopback(name) && std::find(rules.hosts.begin(), rules.hosts.end(), name) == rules.hosts.end())
      throw HttpError(403, "host: not a name of this machine; use localhost or 127.0.0.1, or see --allow-host");
  }
  const auto origin = request.header("origin");
  const bool own = origin == "http://" + host || origin == "https://" + host;
  if (!origin.empty() && !own && allowed_origin(request, rules).empty()) {
    throw HttpError(403, "origin: pages of another origin may not ask; --allow-origin lists those that may");
  }
  if (rules.key_digests.empty()) {
    const auto name = request.header("x-tessera-client").substr(0, 64);
    return is_loopback(request.address) && !name.empty() ? request.address + "/" + name : request.address;
  }
  const auto digest = digest_of(key_of(request.header("authorization")));
  std::string client;
  for (const auto& known : rules.key_digests) {
    if (equal_in_constant_time(known, digest)) client = client_name(known);
  }
  if (client.empty() && needs_key) throw HttpError(401, "authorization: expected Bearer and a key of this server");
  return client.empty() ? request.address : client;
}

}  // namespace tessera::server
