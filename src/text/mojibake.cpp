#include "text/mojibake.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/error.h"
#include "text/mojibake_characters.h"
#include "text/single_byte_encodings.h"
#include "text/unicode.h"

namespace tessera {
namespace {

using namespace mojibake;

constexpr int kMostSteps = 64;  // each step shortens the text but for controls; real text needs one to three

/// A set of characters, written as ranges and single ones.
class CodeSet {
 public:
  CodeSet() = default;
  explicit CodeSet(std::initializer_list<std::span<const CodeRange>> groups, std::u32string_view singles = {}) {
    for (const auto& group : groups) ranges_.insert(ranges_.end(), group.begin(), group.end());
    for (const auto code : singles) ranges_.push_back({code, code});
    std::sort(ranges_.begin(), ranges_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  enum class Kind { listed, others, word, space, any };
  static CodeSet of(Kind kind) {
    CodeSet set;
    set.kind_ = kind;
    return set;
  }
  /// Every character but these.
  static CodeSet but(std::initializer_list<std::span<const CodeRange>> groups) {
    CodeSet set(groups);
    set.kind_ = Kind::others;
    return set;
  }

  bool has(char32_t code) const {
    switch (kind_) {
      case Kind::word:
        return is_letter(code) || is_number(code) || code == '_';
      case Kind::space:
        return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
      case Kind::any:
        return code != '\n';
      case Kind::listed:
        return listed(code);
      case Kind::others:
        return !listed(code);
    }
    return false;
  }

 private:
  bool listed(char32_t code) const {
    // The groups share no characters, so that the last range that begins before a character is the only one to hold it.
    const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), code,
                                        [](char32_t wanted, const CodeRange& range) { return wanted < range.first; });
    return after != ranges_.begin() && code <= std::prev(after)->last;
  }
  Kind kind_ = Kind::listed;
  std::vector<CodeRange> ranges_;
};

/// One unlikely sequence: a set for each character.
struct Sequence {
  std::vector<CodeSet> sets;
  bool at_start = false;  // of the text alone
};

CodeSet one_of(std::u32string_view codes) {
  return CodeSet({}, codes);
}

constexpr CodeRange kSmallLetters[] = {{'a', 'z'}};
constexpr CodeRange kAsciiLetters[] = {{'A', 'Z'}, {'a', 'z'}};

/// The sequences that ftfy 6.3 counts as unlikely (its BADNESS_RE).
std::vector<Sequence> unlikely_sequences() {
  using Groups = std::initializer_list<std::span<const CodeRange>>;
  const auto set = [](Groups groups, std::u32string_view singles = {}) { return CodeSet(groups, singles); };
  const auto letters = set({kLowerAccented, kUpperAccented});
  const auto beside_bad =
      set({kLowerAccented, kUpperAccented, kBox, kStartPunctuation, kEndPunctuation, kCurrency, kNumeric, kLaw});
  const auto bad = set({kBad}), upper = set({kUpperAccented}), space = CodeSet::of(CodeSet::Kind::space);
  const auto arabic_second =
      set({kCommon, kCurrency, kBad, kNumeric, kStartPunctuation}, U"\u0178\u0160\u00AE\u00B0\u00B5\u00BB");
  const auto arabic_first = one_of(U"\u00D8\u00D9");
  const auto cyrillic = one_of(U"\u0412\u0413\u0420\u0421"), greek = one_of(U"\u0392\u0393\u039E\u039F");
  const auto small = set({kSmallLetters}), a_hat = one_of(U"\u00C3\u00C2"), blank = one_of(U" ");

  std::vector<Sequence> all;
  const auto add = [&all](std::vector<CodeSet> sets) { all.push_back({std::move(sets), false}); };
  add({set({kC1})});
  add({set({kLowerAccented, kUpperAccented, kBox, kStartPunctuation, kEndPunctuation, kCurrency, kNumeric, kLaw, kBad}),
       bad});
  add({set({kAsciiLetters}), set({kLowerCommon, kUpperCommon}), bad});
  add({bad, beside_bad});
  add({set({kLowerAccented, kLowerCommon, kBox, kEndPunctuation, kCurrency, kNumeric}), upper});
  add({set({kBox, kEndPunctuation, kCurrency, kNumeric}), set({kLowerAccented})});
  add({set({kLowerAccented, kBox, kEndPunctuation}), set({kCurrency})});
  add({space, upper, set({kCurrency})});
  add({set({kUpperAccented, kBox}), set({kNumeric, kLaw})});
  add({set({kLowerAccented, kUpperAccented, kBox, kCurrency, kEndPunctuation}), set({kStartPunctuation}),
       set({kNumeric})});
  add({set({kLowerAccented, kUpperAccented, kCurrency, kNumeric, kBox, kLaw}), set({kEndPunctuation}),
       set({kStartPunctuation})});
  add({set({kCurrency, kNumeric, kBox}), set({kStartPunctuation})});
  add({small, upper, set({kStartPunctuation, kCurrency})});
  add({set({kBox}), set({kKaomoji})});
  add({set({kLowerAccented, kUpperAccented, kCurrency, kNumeric, kStartPunctuation, kEndPunctuation, kLaw}),
       set({kBox})});
  add({set({kBox}), set({kEndPunctuation})});
  add({letters, set({kStartPunctuation, kEndPunctuation}), CodeSet::of(CodeSet::Kind::word)});
  add({one_of(U"\u0152\u0153"), CodeSet::but({kAsciiLetters})});
  add({upper, one_of(U"\u00B0")});
  // Windows-1252.
  add({one_of(U"\u00C2\u00C3\u00CE\u00D0"),
       set({kStartPunctuation, kEndPunctuation},
           U"\u20AC\u0153\u0160\u0161\u00A2\u00A3\u0178\u017E\u00A0\u00AD\u00AE\u00A9\u00B0\u00B7\u00BB\u2013\u2014"
           U"\u00B4")});
  add({one_of(U"\u00D7"), one_of(U"\u00B2\u00B3")});
  add({arabic_first, arabic_second, arabic_first, arabic_second});
  add({one_of(U"\u00E0"), one_of(U"\u00B2\u00B5\u00B9\u00BC\u00BD\u00BE")});
  // Mac Roman.
  add({one_of(U"\u221A"), one_of(U"\u00B1\u2202\u2020\u2260\u00AE\u2122\u00B4\u2264\u2265\u00A5\u00B5\u00F8")});
  add({one_of(U"\u2248"), one_of(U"\u00B0\u00A2")});
  add({one_of(U"\u201A"), one_of(U"\u00C4"),
       one_of(U"\u00EC\u00EE\u00EF\u00F2\u00F4\u00FA\u00F9\u00FB\u2020\u00B0\u00A2\u03C0")});
  add({one_of(U"\u201A"), one_of(U"\u00E2\u00F3"), one_of(U"\u00E0\u00E4\u00B0\u00EA")});
  // Windows-1251.
  add({one_of(U"\u0432"), one_of(U"\u0402")});
  add({cyrillic, set({kC1, kBad, kStartPunctuation, kEndPunctuation, kCurrency}, U"\u00B0\u00B5"), cyrillic});
  add({one_of(U"\u0413"), one_of(U"\u045E"), one_of(U"\u0412"), one_of(U"\u0402"), one_of(U"\u0412"),
       CodeSet::of(CodeSet::Kind::any), set({kAsciiLetters}, U" ")});
  // 'a' with grave or acute, and the no-break space itself.
  add({one_of(U"\u00C3"), one_of(U"\u00A0\u00A1")});
  add({small, a_hat, blank});
  add({small, space, a_hat, blank});
  all.push_back({{a_hat, blank}, true});
  add({set({kSmallLetters, kEndPunctuation}, U".,?!"), one_of(U"\u00C2"),
       set({kStartPunctuation, kEndPunctuation}, U" ")});
  // Windows-1253 and -1257.
  add({one_of(U"\u03B2"), one_of(U"\u20AC"), one_of(U"\u2122\u00A0\u0386\u00AD\u00AE\u00B0")});
  add({greek, set({kC1, kBad, kStartPunctuation, kEndPunctuation, kCurrency}, U"\u00B0"), greek});
  add({one_of(U"\u0101"), one_of(U"\u20AC")});
  return all;
}

bool stands_at(const std::vector<CodeSet>& sets, const std::u32string& text, std::size_t at) {
  if (sets.size() > text.size() - at) return false;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    if (!sets[i].has(text[at + i])) return false;
  }
  return true;
}

/// All of them, found quickly: a table says which of them can begin with a character.
class UnlikelySequences {
 public:
  UnlikelySequences() : sequences_(unlikely_sequences()) {
    require(sequences_.size() <= 64, "unlikely sequences: {}, expected at most 64", sequences_.size());
    for (char32_t code = 0; code < kTabled; ++code) {
      for (std::size_t i = 0; i < sequences_.size(); ++i) {
        if (sequences_[i].sets.front().has(code)) beginning_[code].set(i);
      }
    }
  }

  bool one_at(const std::u32string& text, std::size_t at) const {
    const auto tabled = text[at] < kTabled;
    if (tabled && beginning_[text[at]].none()) return false;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      if (tabled && !beginning_[text[at]].test(i)) continue;
      if ((at == 0 || !sequences_[i].at_start) && stands_at(sequences_[i].sets, text, at)) return true;
    }
    return false;
  }

 private:
  static constexpr char32_t kTabled = 0x2600;  // nearly all of their characters are below
  std::vector<Sequence> sequences_;
  std::array<std::bitset<64>, kTabled> beginning_{};
};

/// A sequence of bytes, a set for each.
using ByteSet = std::bitset<256>;
using ByteSequence = std::vector<ByteSet>;

/// In: bytes and ranges by pairs, "\x80\xbf" for 80 to bf.
ByteSet bytes_of(std::string_view ranges) {
  ByteSet set;
  for (std::size_t i = 0; i + 1 < ranges.size(); i += 2) {
    for (int byte = static_cast<unsigned char>(ranges[i]); byte <= static_cast<unsigned char>(ranges[i + 1]); ++byte)
      set.set(static_cast<std::size_t>(byte));
  }
  return set;
}

/// The length of the first of the sequences that stands at a place; 0: none does.
std::size_t match_at(const std::vector<ByteSequence>& sequences, std::string_view bytes, std::size_t at) {
  for (const auto& sequence : sequences) {
    if (sequence.size() > bytes.size() - at) continue;
    std::size_t same = 0;
    while (same < sequence.size() && sequence[same].test(static_cast<unsigned char>(bytes[at + same]))) ++same;
    if (same == sequence.size()) return same;
  }
  return 0;
}

/// Sequences of UTF-8 in which byte a0 became a blank. Of two and three bytes only those that give likely characters:
/// letters before a blank are common, Mongolian and Chinese beside Latin letters are not.
const std::vector<ByteSequence>& blanked_sequences() {
  static const auto sequences = [] {
    const auto blank = bytes_of("  "), more = bytes_of("\x80\xbf"), likely = bytes_of("\x80\x84\x86\x9f\xa1\xbf"),
               of4 = bytes_of("\xf0\xf0");
    return std::vector<ByteSequence>{{bytes_of("\xc2\xc3\xc5\xc5\xce\xce\xd0\xd0\xd9\xd9"), blank},
                                     {bytes_of("\xe2\xe3"), blank, likely},
                                     {bytes_of("\xe0\xe3"), likely, blank},
                                     {of4, blank, more, more},
                                     {of4, more, blank, more},
                                     {of4, more, more, blank}};
  }();
  return sequences;
}

/// Sequences of UTF-8 and CESU-8 in which a byte was lost, or became a question mark.
const std::vector<ByteSequence>& lossy_sequences() {
  static const auto sequences = [] {
    const auto lost = bytes_of("\x1a\x1a"), asked = bytes_of("\x1a\x1a??"), more = bytes_of("\x1a\x1a\x80\xbf"),
               any = bytes_of("\x1a\x1a??\x80\xbf"), of3 = bytes_of("\xe0\xef"), of4 = bytes_of("\xf0\xf4"),
               ed = bytes_of("\xed\xed"), high = bytes_of("\xa0\xaf"), low = bytes_of("\xb0\xbf");
    return std::vector<ByteSequence>{{bytes_of("\xc2\xdf"), lost},
                                     {bytes_of("\xc2\xc3"), bytes_of("??")},
                                     {ed, high, asked, ed, low, any},
                                     {ed, high, any, ed, low, asked},
                                     {of3, asked, more},
                                     {of3, more, asked},
                                     {of4, asked, more, more},
                                     {of4, more, asked, more},
                                     {of4, more, more, asked},
                                     {lost}};
  }();
  return sequences;
}

/// Puts byte a0 back where a blank stands in its place. "\xc3 " alone is a word, 'a' with grave, whose own blank was
/// joined to it; but not before the ends of Portuguese "aquele", "as" and their like.
std::string with_a0(const std::string& bytes) {
  std::string words;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    words.push_back(bytes[at]);
    if (bytes[at] != '\xc3' || at + 1 >= bytes.size() || bytes[at + 1] != ' ') continue;
    const auto rest = std::string_view(bytes).substr(at + 2);
    const bool joined = rest.starts_with(' ') || rest.starts_with("quele") || rest.starts_with("quela") ||
                        rest.starts_with("quilo") || rest.starts_with("s ");
    if (!joined) words.push_back('\xa0');
  }
  std::string out;
  for (std::size_t at = 0; at < words.size();) {
    const auto length = match_at(blanked_sequences(), words, at);
    for (std::size_t i = 0; i < std::max<std::size_t>(length, 1); ++i)
      out.push_back(length > 0 && words[at + i] == ' ' ? '\xa0' : words[at + i]);
    at += std::max<std::size_t>(length, 1);
  }
  return out;
}

std::string without_lossy(const std::string& bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto length = match_at(lossy_sequences(), bytes, at);
    if (length > 0) {
      out += "\xef\xbf\xbd";
      at += length;
    } else {
      out.push_back(bytes[at++]);
    }
  }
  return out;
}

bool holds_blanked(const std::string& bytes) {
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (match_at(blanked_sequences(), bytes, at) > 0) return true;
  }
  return false;
}

/// UTF-8, with surrogate pairs of three bytes each (CESU-8) and Java's c0 80 for U+0000; nothing where it is none.
std::optional<std::u32string> decode_variants(std::string_view bytes) {
  std::u32string text;
  const auto byte = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  for (std::size_t at = 0; at < bytes.size();) {
    const auto first = byte(at);
    if (first == 0xC0 && byte(at + 1) == 0x80) {
      text.push_back(0);
      at += 2;
      continue;
    }
    const bool pair = first == 0xED && byte(at + 1) >= 0xA0 && byte(at + 1) <= 0xAF && continues(at + 2) &&
                      byte(at + 3) == 0xED && byte(at + 4) >= 0xB0 && byte(at + 4) <= 0xBF && continues(at + 5);
    if (pair) {
      text.push_back(0x10000 + ((byte(at + 1) & 0x0FU) << 16) + ((byte(at + 2) & 0x3FU) << 10) +
                     ((byte(at + 4) & 0x0FU) << 6) + (byte(at + 5) & 0x3FU));
      at += 6;
      continue;
    }
    const std::size_t length = first < 0x80   ? 1
                               : first < 0xC2 ? 0
                               : first < 0xE0 ? 2
                               : first < 0xF0 ? 3
                               : first < 0xF5 ? 4
                                              : 0;
    if (length == 0) return std::nullopt;
    char32_t code = length == 1 ? first : first & (0x7FU >> length);
    for (std::size_t i = 1; i < length; ++i) {
      if (!continues(at + i)) return std::nullopt;
      code = (code << 6) | (byte(at + i) & 0x3FU);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return std::nullopt;
    text.push_back(code);
    at += length;
  }
  return text;
}

/// The whole text as bytes of one encoding, read as UTF-8.
std::optional<std::u32string> read_again(const std::u32string& text, const SingleByteEncoding& encoding) {
  auto bytes = encoding.encode(text);
  if (!bytes) return std::nullopt;
  // In Mac Roman an en dash before a blank would match.
  if (std::string_view(encoding.name) != "macroman" && holds_blanked(*bytes)) bytes = with_a0(*bytes);
  if (encoding.lossy) bytes = without_lossy(*bytes);
  return decode_variants(*bytes);
}

/// How many characters from a place on look like UTF-8, one sequence behind another; 0: none.
std::size_t utf8_run(const std::u32string& text, std::size_t at) {
  static const CodeSet of2({kFirstOf2}), of3({kFirstOf3}), of4({kFirstOf4}), more({kContinuation}),
      strict({kStrictContinuation});
  if (at > 0 && strict.has(text[at - 1])) return 0;
  std::size_t end = at;
  while (end < text.size()) {
    const std::size_t length = of2.has(text[end]) ? 2 : of3.has(text[end]) ? 3 : of4.has(text[end]) ? 4 : 0;
    if (length == 0 || length > text.size() - end) break;
    std::size_t same = 1;
    while (same < length && more.has(text[end + same])) ++same;
    if (same < length) break;
    end += length;
  }
  return end - at;
}

/// Mends the parts that look like UTF-8 where the whole cannot be.
std::u32string mend_parts(const std::u32string& text) {
  std::u32string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto length = utf8_run(text, at);
    if (length == 0) {
      out.push_back(text[at++]);
      continue;
    }
    auto part = text.substr(at, length);
    out += length < text.size() && looks_misread(part) ? mend_misread(std::move(part)) : part;
    at += length;
  }
  return out;
}

bool is_c1(char32_t code) {
  return code >= 0x80 && code <= 0x9F;
}

std::u32string mended_once(const std::u32string& text) {
  if (!looks_misread(text)) return text;
  for (const auto& encoding : single_byte_encodings()) {
    if (auto read = read_again(text, encoding)) return *read;
  }
  auto mended = mend_parts(text);
  if (mended != text) return mended;
  for (auto& code : mended) {
    if (is_c1(code)) code = windows_1252(static_cast<unsigned char>(code));
  }
  return mended;
}

}  // namespace

bool looks_misread(const std::u32string& text) {
  static const UnlikelySequences sequences;
  if (std::all_of(text.begin(), text.end(), [](char32_t code) { return code < 0x80; })) return false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (sequences.one_at(text, at)) return true;
  }
  return false;
}

std::u32string mend_misread(std::u32string text) {
  for (int step = 0; step < kMostSteps; ++step) {
    auto next = mended_once(text);
    if (next == text) break;
    text = std::move(next);
  }
  return text;
}

}  // namespace tessera
