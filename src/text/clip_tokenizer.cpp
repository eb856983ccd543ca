#include "text/clip_tokenizer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <sstream>
#include <unordered_map>

#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/foreign_bytes.h"
#include "runtime/printable.h"
#include "text/gunzip.h"
#include "text/unicode.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kMaxPromptBytes = 16384;
constexpr std::uint64_t kMaxVocabularyBytes = 64 << 20;
constexpr std::int64_t kBytes = 256;
constexpr const char* kStart = "<|startoftext|>";
constexpr const char* kEnd = "<|endoftext|>";

/// The bytes in the order of their ids: the printable ones of Latin-1 first.
const std::array<int, kBytes>& byte_ids() {
  static const auto ids = [] {
    std::array<int, kBytes> table{};
    int next = 0;
    const auto printable = [](int byte) { return (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173); };
    for (const bool first : {true, false}) {
      for (int byte = 0; byte < kBytes; ++byte) {
        if (printable(byte) == first) table[static_cast<std::size_t>(byte)] = next++;
      }
    }
    return table;
  }();
  return ids;
}

/// The printable character that stands for each id of a byte: itself, or one from U+0100 on.
std::string byte_symbol(int id) {
  std::string symbol;
  int code = 0;
  const auto& ids = byte_ids();
  const auto byte = static_cast<int>(std::find(ids.begin(), ids.end(), id) - ids.begin());
  constexpr int kPrintable = 94 + 94;  // 33 to 126, and 161 to 255 without 173
  code = id < kPrintable ? byte : 256 + id - kPrintable;
  append_utf8(symbol, static_cast<char32_t>(code));
  return symbol;
}

std::uint64_t pair_key(std::int64_t first, std::int64_t second) {
  return static_cast<std::uint64_t>(first) << 32 | static_cast<std::uint64_t>(second);
}

using MergeList = std::vector<std::pair<std::string, std::string>>;

/// The file's text, unpacked where it is gzipped.
std::string read_vocabulary(const fs::path& file) {
  auto text = read_file(file, kMaxVocabularyBytes);
  const auto other = foreign_bytes(std::string_view(text).substr(0, 512));
  require(other.empty(), "{}: {}", file.string(), other);
  return text.starts_with("\x1f\x8b") ? gunzip(text, kMaxVocabularyBytes, file.string()) : text;
}

/// The pairs of a tokenizer.json: "a b" or ["a", "b"].
MergeList merges_of(const json& tokenizer, const std::string& where) {
  const auto model = tokenizer.find("model");
  require(model != tokenizer.end() && model->is_object() && model->contains("merges") && (*model)["merges"].is_array(),
          "{}: no model.merges, expected a byte-pair tokenizer", where);
  MergeList merges;
  for (const auto& entry : (*model)["merges"]) {
    std::string first, second;
    if (entry.is_string()) {
      const auto& text = entry.get_ref<const std::string&>();
      const auto blank = text.find(' ');
      if (blank != std::string::npos) first = text.substr(0, blank), second = text.substr(blank + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      first = entry[0].get<std::string>(), second = entry[1].get<std::string>();
    }
    require(!first.empty() && !second.empty() && second.find(' ') == std::string::npos,
            "{}: merge {} is no pair of symbols", where, merges.size());
    merges.emplace_back(std::move(first), std::move(second));
  }
  return merges;
}

/// In: merges.txt, tokenizer.json, or CLIP's own bpe_simple_vocab_16e6.txt, gzipped or not.
MergeList read_merges(const fs::path& file) {
  const auto content = read_vocabulary(file);
  if (content.starts_with('{')) {
    return merges_of(read_json_object(content, file.string()), file.string());
  }
  std::istringstream lines(content);
  MergeList merges;
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || (number == 1 && line.find("#version") != std::string::npos)) continue;
    const auto blank = line.find(' ');
    require(blank != std::string::npos && blank > 0 && blank + 1 < line.size() &&
                line.find(' ', blank + 1) == std::string::npos,
            "{}: line {} is no pair of symbols", file.string(), number);
    merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  // CLIP's own file goes on far beyond its vocabulary.
  constexpr std::size_t kClipMerges = 49408 - 2 * kBytes - 2, kClipLines = 200'000;
  if (merges.size() > kClipLines) merges.resize(kClipMerges);
  return merges;
}

json read_object(const fs::path& file) {
  return read_json_object(read_file(file, kMaxVocabularyBytes), file.string());
}

/// The ids that a folder states: vocab.json, or what tokenizer.json holds; null: it states none.
json vocabulary_in(const fs::path& folder, const fs::path& merges_file) {
  if (fs::exists(folder / "vocab.json")) return read_object(folder / "vocab.json");
  if (merges_file.filename() != "tokenizer.json") return nullptr;
  const auto whole = read_object(merges_file);
  auto vocabulary = whole.at("model").value("vocab", json::object());
  require(vocabulary.is_object(), "{}: model.vocab is no object", merges_file.string());
  for (const auto& added : whole.value("added_tokens", json::array())) {
    if (added.is_object() && added.contains("content") && added["content"].is_string() && added.contains("id"))
      vocabulary[added["content"].get<std::string>()] = added["id"];
  }
  return vocabulary;
}

/// A special token's text: a string, or an object with `content`.
std::string token_text(const json& config, const char* name, const char* fallback) {
  const auto found = config.find(name);
  if (found == config.end() || found->is_null()) return fallback;
  if (found->is_string()) return found->get<std::string>();
  return found->is_object() && found->contains("content") && (*found)["content"].is_string()
             ? (*found)["content"].get<std::string>()
             : fallback;
}

/// The pattern's contractions, without their apostrophe.
constexpr std::array<std::u32string_view, 7> kContractions = {U"s", U"t", U"re", U"ve", U"m", U"ll", U"d"};

/// Letters as a case-insensitive pattern compares them; the long s matches s.
char32_t folded(char32_t code) {
  return code == 0x17F ? U's' : code;
}

bool matches_at(const std::u32string& text, std::size_t at, std::u32string_view wanted) {
  if (text.size() - at < wanted.size()) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (folded(text[at + i]) != wanted[i]) return false;
  }
  return true;
}

}  // namespace

struct ClipTokenizer::Merges {
  struct Merge {
    std::int64_t rank, id;
  };
  std::vector<std::string> symbols;                 // by id
  std::unordered_map<std::uint64_t, Merge> merges;  // by the ids of the pair
  std::vector<std::pair<std::string, std::string>> pairs;
};

ClipTokenizer::ClipTokenizer(const std::vector<std::pair<std::string, std::string>>& pairs,
                             const ClipTokenizerOptions& options)
    : options_(options) {
  auto table = std::make_shared<Merges>();
  table->pairs = pairs;
  std::unordered_map<std::string, std::int64_t> ids;
  const auto add = [&](const std::string& symbol) {
    const auto id = static_cast<std::int64_t>(table->symbols.size());
    ids.emplace(symbol, id);
    table->symbols.push_back(symbol);
    return id;
  };
  for (int id = 0; id < kBytes; ++id) add(byte_symbol(id));
  for (int id = 0; id < kBytes; ++id) add(byte_symbol(id) + "</w>");
  std::int64_t rank = 0;
  for (const auto& [first, second] : pairs) {
    const auto left = ids.find(first), right = ids.find(second);
    require(left != ids.end() && right != ids.end(),
            "tokenizer: merge {} joins '{}' and '{}', of which {} is no symbol yet", rank, first, second,
            left == ids.end() ? "the first" : "the second");
    const auto key = pair_key(left->second, right->second);
    const auto id = add(first + second);
    table->merges.emplace(key, Merges::Merge{rank++, id});
  }
  add(kStart);
  add(kEnd);
  merges_ = std::move(table);
}

ClipTokenizer ClipTokenizer::load_merges(const fs::path& file, const ClipTokenizerOptions& options,
                                         std::int64_t vocabulary) {
  auto pairs = read_merges(file);
  if (vocabulary > 0) {
    const auto wanted = vocabulary - 2 * kBytes - 2;
    require(wanted >= 0 && wanted <= static_cast<std::int64_t>(pairs.size()),
            "{}: {} merges make a vocabulary of {}, expected {} as the text encoder has", file.string(), pairs.size(),
            static_cast<std::int64_t>(pairs.size()) + 2 * kBytes + 2, vocabulary);
    pairs.resize(static_cast<std::size_t>(wanted));
  }
  return {pairs, options};
}

fs::path ClipTokenizer::merges_in(const fs::path& folder) {
  for (const char* name :
       {"merges.txt", "tokenizer.json", "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  return {};
}

ClipTokenizer ClipTokenizer::load(const fs::path& folder) {
  const auto merges_file = merges_in(folder);
  require(!merges_file.empty(), "{}: the tokenizer lacks merges.txt (or tokenizer.json, bpe_simple_vocab_16e6.txt.gz)",
          folder.string());
  require(merges_file.filename() != "merges.txt" || fs::exists(folder / "vocab.json"),
          "{}: the tokenizer lacks vocab.json", folder.string());
  ClipTokenizerOptions options{TextCleaning::plain, true, false};
  if (fs::exists(folder / "tokenizer_config.json")) {
    const auto config = read_object(folder / "tokenizer_config.json");
    std::string padding = "!";
    if (fs::exists(folder / "special_tokens_map.json"))
      padding = token_text(read_object(folder / "special_tokens_map.json"), "pad_token", "!");
    padding = token_text(config, "pad_token", padding.c_str());
    options.padding_is_special = padding == "!";
    options.pads_with_end = padding == kEnd;
    if (const auto own = config.find("tessera"); own != config.end() && own->is_object()) {
      options.cleaning = text_cleaning_from(own->value("cleaning", "original"));
      options.padding_is_special = own->value("padding_is_special", false);
      options.keep_end = own->value("keep_end", true);
    }
  }
  ClipTokenizer tokenizer(read_merges(merges_file), options);
  const auto vocabulary = vocabulary_in(folder, merges_file);
  if (vocabulary.is_null()) return tokenizer;
  require(static_cast<std::int64_t>(vocabulary.size()) == tokenizer.vocabulary_size(),
          "{}: {} entries, expected {} as merges.txt makes", (folder / "vocab.json").string(), vocabulary.size(),
          tokenizer.vocabulary_size());
  const auto& symbols = tokenizer.merges_->symbols;
  for (std::size_t id = 0; id < symbols.size(); ++id) {
    const auto found = vocabulary.find(symbols[id]);
    require(found != vocabulary.end(), "{}: lacks '{}', expected it at id {} as merges.txt makes",
            (folder / "vocab.json").string(), symbols[id], id);
    require(*found == static_cast<std::int64_t>(id), "{}: '{}' has id {}, expected {} as merges.txt makes",
            (folder / "vocab.json").string(), symbols[id], found->dump(), id);
  }
  return tokenizer;
}

void ClipTokenizer::save(const fs::path& folder) const {
  fs::create_directories(folder);
  std::string merges = "#version: 0.2\n";
  for (const auto& [first, second] : merges_->pairs) merges.append(first).append(" ").append(second).append("\n");
  auto vocabulary = json::object();
  for (std::size_t id = 0; id < merges_->symbols.size(); ++id) vocabulary[merges_->symbols[id]] = id;
  const auto padding = options_.pads_with_end ? kEnd : "!";
  const json config = {{"tokenizer_class", "CLIPTokenizer"},
                       {"model_max_length", 77},
                       {"bos_token", kStart},
                       {"eos_token", kEnd},
                       {"unk_token", kEnd},
                       {"pad_token", padding},
                       {"tessera",
                        {{"format", 1},
                         {"cleaning", name_of(options_.cleaning)},
                         {"padding_is_special", options_.padding_is_special},
                         {"keep_end", options_.keep_end}}}};
  write_file_atomically(folder / "merges.txt", merges);
  write_file_atomically(folder / "vocab.json", vocabulary.dump() + "\n");
  write_file_atomically(folder / "tokenizer_config.json", config.dump(2) + "\n");
  write_file_atomically(
      folder / "special_tokens_map.json",
      json({{"bos_token", kStart}, {"eos_token", kEnd}, {"unk_token", kEnd}, {"pad_token", padding}}).dump(2) + "\n");
}

std::int64_t ClipTokenizer::vocabulary_size() const {
  return static_cast<std::int64_t>(merges_->symbols.size());
}

const std::vector<std::string>& ClipTokenizer::symbols() const {
  return merges_->symbols;
}

std::vector<std::int64_t> ClipTokenizer::encode(const std::string& text) const {
  require(text.size() <= kMaxPromptBytes, "prompt: {} bytes, expected at most {}", text.size(), kMaxPromptBytes);
  (void)decode_utf8(text, "prompt");
  std::vector<std::int64_t> ids;
  if (!options_.padding_is_special) {
    encode_piece(text, ids);
    return ids;
  }
  for (std::size_t at = 0; at <= text.size();) {
    const auto mark = std::min(text.find('!', at), text.size());
    encode_piece(text.substr(at, mark - at), ids);
    if (mark < text.size()) ids.push_back(kPadding);
    at = mark + 1;
  }
  return ids;
}

std::string ClipTokenizer::decode(const std::vector<std::int64_t>& ids) const {
  static const auto bytes = [] {
    std::unordered_map<char32_t, char> table;
    for (int byte = 0; byte < kBytes; ++byte)
      table[decode_utf8(byte_symbol(byte_ids()[static_cast<std::size_t>(byte)]), "byte").front()] =
          static_cast<char>(byte);
    return table;
  }();
  const std::string word_end = "</w>";
  std::string text;
  for (const auto id : ids) {
    if (id == end_token()) break;
    if (id < 0 || id == start_token() || id >= vocabulary_size()) continue;
    auto symbol = merges_->symbols[static_cast<std::size_t>(id)];
    const bool ends = symbol.ends_with(word_end);
    // What closes follows its word.
    if (text.ends_with(' ') && std::string_view(",.;:!?)").find(symbol.front()) != std::string_view::npos)
      text.pop_back();
    if (ends) symbol.resize(symbol.size() - word_end.size());
    for (const auto character : decode_utf8(symbol, "symbol")) text += bytes.at(character);
    if (ends) text += ' ';
  }
  if (text.ends_with(' ')) text.pop_back();
  try {
    (void)decode_utf8(text, "caption");
  } catch (const Error&) {  // bytes that no merge put together
    for (auto& byte : text) byte = static_cast<unsigned char>(byte) < 0x80 ? byte : '?';
  }
  return printable(text, text.size());
}

TokenizedText ClipTokenizer::encode_padded(const std::string& text, std::int64_t length) const {
  require(length >= 2, "tokenizer: length {}, expected at least 2", length);
  TokenizedText result;
  result.ids = encode(text);
  result.ids.insert(result.ids.begin(), start_token());
  result.ids.push_back(end_token());
  result.full_length = static_cast<std::int64_t>(result.ids.size());
  const bool cut = result.full_length > length;
  result.ids.resize(static_cast<std::size_t>(length), options_.pads_with_end ? end_token() : kPadding);
  if (cut && options_.keep_end) result.ids.back() = end_token();
  return result;
}

/// The pattern of the original program: special tokens, contractions, letters, single numbers, everything else.
void ClipTokenizer::encode_piece(const std::string& piece, std::vector<std::int64_t>& ids) const {
  static const std::u32string start(kStart, kStart + std::char_traits<char>::length(kStart));
  static const std::u32string end(kEnd, kEnd + std::char_traits<char>::length(kEnd));
  const auto text = decode_utf8(clean_text(piece, options_.cleaning), "prompt");
  const auto is_other = [](char32_t code) { return !is_white_space(code) && !is_letter(code) && !is_number(code); };
  for (std::size_t at = 0; at < text.size();) {
    if (is_white_space(text[at])) {
      ++at;
      continue;
    }
    std::size_t length = 0;
    if (matches_at(text, at, start)) {
      length = start.size();
    } else if (matches_at(text, at, end)) {
      length = end.size();
    } else if (text[at] == '\'') {
      for (const auto& contraction : kContractions) {
        if (length == 0 && matches_at(text, at + 1, contraction)) length = 1 + contraction.size();
      }
    }
    if (length == 0 && is_letter(text[at])) {
      while (at + length < text.size() && is_letter(text[at + length])) ++length;
    } else if (length == 0 && is_number(text[at])) {
      length = 1;
    } else if (length == 0) {
      while (at + length < text.size() && is_other(text[at + length])) ++length;
    }
    encode_word(encode_utf8(std::u32string_view(text).substr(at, length)), ids);
    at += length;
  }
}

void ClipTokenizer::encode_word(const std::string& word, std::vector<std::int64_t>& ids) const {
  if (word == kStart || word == kEnd) {
    ids.push_back(word == kStart ? start_token() : end_token());
    return;
  }
  std::vector<std::int64_t> symbols;
  for (const unsigned char byte : word) symbols.push_back(byte_ids()[byte]);
  symbols.back() += kBytes;  // the last one ends the word
  while (symbols.size() > 1) {
    const Merges::Merge* best = nullptr;
    std::uint64_t best_pair = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto key = pair_key(symbols[i], symbols[i + 1]);
      const auto found = merges_->merges.find(key);
      if (found == merges_->merges.end() || (best && best->rank <= found->second.rank)) continue;
      best = &found->second;
      best_pair = key;
    }
    if (!best) break;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < symbols.size(); ++kept) {
      const bool joins = i + 1 < symbols.size() && pair_key(symbols[i], symbols[i + 1]) == best_pair;
      symbols[kept] = joins ? best->id : symbols[i];
      i += joins ? 2 : 1;
    }
    symbols.resize(kept);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace tessera
