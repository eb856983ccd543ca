/// CLIP's byte-pair tokenizer: a text as ids of a vocabulary of byte sequences. Radford et al., "Learning Transferable
/// Visual Models From Natural Language Supervision", arXiv:2103.00020, section 2.4; Sennrich et al., arXiv:1508.07909.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/text_cleaning.h"

namespace tessera {

struct ClipTokenizerOptions {
  TextCleaning cleaning = TextCleaning::original;
  // The hub's tokenizer cuts its padding text, '!', out of prompts as a token of its own (id 0); the original does not.
  bool padding_is_special = false;
  // Where a text is too long for the model, its last id becomes the end token (original) or the end is lost (hub).
  bool keep_end = true;
  // Positions after the end hold the end token again, as of CLIP ViT-L/14; else kPadding.
  bool pads_with_end = false;
};

/// Ids of one text at the model's length.
struct TokenizedText {
  std::vector<std::int64_t> ids;  // [length]
  std::int64_t full_length = 0;   // ids with start and end before cutting; above ids.size() where the text was cut
};

class ClipTokenizer {
 public:
  /// From the pairs of a merges file: ids are the 256 bytes, the same ending a word, the merges, start and end.
  ClipTokenizer(const std::vector<std::pair<std::string, std::string>>& merges, const ClipTokenizerOptions& options);

  /// The file of a folder that holds the merges: merges.txt, tokenizer.json, or CLIP's own vocabulary, gzipped or not;
  /// empty: none.
  static std::filesystem::path merges_in(const std::filesystem::path& folder);
  /// Reads a hub folder: merges.txt and vocab.json, which must be the same vocabulary; tokenizer_config.json names the
  /// padding token. Throws Error naming the file and what does not fit.
  static ClipTokenizer load(const std::filesystem::path& folder);
  /// Reads merges.txt alone and keeps as many merges as a vocabulary of `vocabulary` ids has (0: all). As the original
  /// cuts its word list.
  static ClipTokenizer load_merges(const std::filesystem::path& file, const ClipTokenizerOptions& options,
                                   std::int64_t vocabulary = 0);

  /// Writes vocab.json, merges.txt, special_tokens_map.json and tokenizer_config.json.
  void save(const std::filesystem::path& folder) const;

  std::int64_t vocabulary_size() const;
  std::int64_t start_token() const { return vocabulary_size() - 2; }
  std::int64_t end_token() const { return vocabulary_size() - 1; }
  /// The printable form of every id, as in vocab.json.
  const std::vector<std::string>& symbols() const;
  static constexpr std::int64_t kPadding = 0;  // '!', also in the original
  const ClipTokenizerOptions& options() const { return options_; }
  void set_options(const ClipTokenizerOptions& options) { options_ = options; }

  /// The ids of a text, without start and end. Throws Error on invalid UTF-8 (naming the byte) or more than 16384
  /// bytes.
  std::vector<std::int64_t> encode(const std::string& text) const;
  /// The text of ids up to the first end token; words are parted by blanks, since ids do not say what parted them, but
  /// for what closes (commas, full stops). Starts and ids outside the vocabulary (MASK) are left out; control
  /// characters are shown as text, and where the bytes are no UTF-8 those beyond ASCII become question marks.
  std::string decode(const std::vector<std::int64_t>& ids) const;
  /// Start, ids and end, cut or padded to `length`.
  TokenizedText encode_padded(const std::string& text, std::int64_t length) const;

 private:
  struct Merges;
  void encode_piece(const std::string& text, std::vector<std::int64_t>& ids) const;
  void encode_word(const std::string& word, std::vector<std::int64_t>& ids) const;

  std::shared_ptr<const Merges> merges_;
  ClipTokenizerOptions options_;
};

}  // namespace tessera
