/// The tokenizer against the ids of the published programs, and its errors.
#include "text/clip_tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>

#include "runtime/error.h"
#include "support/fixtures.h"
#include "support/scratch.h"
#include "text/html_entities.h"
#include "text/unicode.h"

namespace tessera {
namespace clip_tokenizer_test {

using Ids = std::vector<std::int64_t>;

nlohmann::json strings_of(const testing::FixtureCase& fixture) {
  std::ifstream stream(fixture.folder / "strings.json");
  return nlohmann::json::parse(stream);
}

TEST(Parity, ClipTokenizerIds) {
  TESSERA_FOR_EACH_CASE(fixture, "clip-tokenizer") {
    SCOPED_TRACE(fixture.name());
    const auto hub = ClipTokenizer::load(fixture.folder);
    auto original = ClipTokenizer::load_merges(fixture.folder / "merges.txt", {});
    auto plain = original, repaired = original, padding = original;
    plain.set_options({TextCleaning::plain, false, false});
    repaired.set_options({TextCleaning::repaired, false, false});
    padding.set_options({TextCleaning::original, true, false});
    EXPECT_EQ(hub.vocabulary_size(), original.vocabulary_size());
    std::vector<std::int64_t> all;
    std::vector<bool> used;
    const auto length = fixture.tensor("ids77").size(1);
    for (const auto& entry : strings_of(fixture)) {
      const auto text = entry.at("text").get<std::string>();
      SCOPED_TRACE(entry.at("what").get<std::string>());
      const auto ids = entry.at("ids").get<Ids>();
      EXPECT_EQ(original.encode(text), ids);
      EXPECT_EQ(repaired.encode(text), entry.value("ids_hub_ftfy", ids));
      EXPECT_EQ(plain.encode(text), entry.value("ids_plain", ids));
      if (entry.contains("ids_hub_bang_is_pad")) {
        EXPECT_EQ(padding.encode(text), entry.at("ids_hub_bang_is_pad").get<Ids>());
        EXPECT_EQ(hub.encode(text), entry.at("ids_hub_bang_is_pad").get<Ids>());
      }
      const auto padded = original.encode_padded(text, length);
      EXPECT_EQ(padded.full_length, static_cast<std::int64_t>(ids.size()) + 2);
      all.insert(all.end(), padded.ids.begin(), padded.ids.end());
      for (std::int64_t i = 0; i < length; ++i) used.push_back(i < padded.full_length);
    }
    EXPECT_TRUE(fixture.matches("ids77", torch::tensor(all).view({-1, length})));
    auto mask = torch::empty({static_cast<std::int64_t>(used.size())}, torch::kBool);
    for (std::size_t i = 0; i < used.size(); ++i) mask.data_ptr<bool>()[i] = used[i];
    EXPECT_TRUE(fixture.matches("mask77", mask.view({-1, length})));
  }
}

TEST(ClipTokenizer, DecodesWhatItHasEncoded) {
  TESSERA_FOR_EACH_CASE(fixture, "clip-tokenizer") {
    const auto tokenizer = ClipTokenizer::load(fixture.folder);
    const auto there_and_back = [&](const std::string& text) {
      return tokenizer.decode(tokenizer.encode_padded(text, 60).ids);
    };
    EXPECT_EQ(there_and_back("a teddy bear, playing in the pool."), "a teddy bear, playing in the pool.");
    EXPECT_EQ(there_and_back("Caf\u00e9 \u732b"), "caf\u00e9 \u732b");
    EXPECT_EQ(there_and_back(""), "");
    EXPECT_EQ(tokenizer.decode({tokenizer.start_token(), -1, tokenizer.vocabulary_size(), tokenizer.end_token(), 5}),
              "");
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("one")), "one") << "without an end";
  }
}

TEST(Parity, ClipTokenizerOfAPipeline) {
  TESSERA_FOR_EACH_CASE(fixture, "vq-diffusion-pipeline") {
    SCOPED_TRACE(fixture.name());
    auto tokenizer = ClipTokenizer::load(fixture.folder / "tokenizer");
    EXPECT_EQ(tokenizer.start_token(), fixture.description.at("start_token_id").get<std::int64_t>());
    EXPECT_EQ(tokenizer.end_token(), fixture.description.at("end_token_id").get<std::int64_t>());
    const auto length = fixture.tensor("tok.ids").size(1);
    const auto prompts = fixture.description.at("settings").at("prompts").get<std::vector<std::string>>();
    Ids hub, original, full;
    for (const bool as_original : {false, true}) {
      if (as_original) tokenizer.set_options({});
      for (const auto& prompt : prompts) {
        const auto text = tokenizer.encode_padded(prompt, length);
        auto& ids = as_original ? original : hub;
        ids.insert(ids.end(), text.ids.begin(), text.ids.end());
        if (!as_original) full.push_back(text.full_length);
      }
    }
    EXPECT_TRUE(fixture.matches("tok.ids", torch::tensor(hub).view({-1, length})));
    EXPECT_TRUE(fixture.matches("tok.ids_original", torch::tensor(original).view({-1, length})));
    EXPECT_TRUE(fixture.matches("tok.full_length", torch::tensor(full)));
    const auto used = torch::arange(length) < torch::tensor(full).unsqueeze(1);
    EXPECT_TRUE(fixture.matches("tok.mask_original", used));
  }
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

ClipTokenizer tiny() {
  return {{{"c", "a"}, {"ca", "t</w>"}}, {}};
}

TEST(ClipTokenizer, JoinsThePairOfLowestRankFirst) {
  const auto tokenizer = tiny();
  EXPECT_EQ(tokenizer.vocabulary_size(), 512 + 2 + 2);
  EXPECT_EQ(tokenizer.encode("cat"), (Ids{513}));
  EXPECT_EQ(tokenizer.encode("CA t"), (Ids{'c' - 33, 256 + 'a' - 33, 256 + 't' - 33}));
  EXPECT_EQ(tokenizer.encode_padded("cat", 5).ids, (Ids{514, 513, 515, 0, 0}));
}

TEST(ClipTokenizer, LosesOrKeepsTheEndOfALongText) {
  auto tokenizer = tiny();
  EXPECT_EQ(tokenizer.encode_padded("cat cat cat", 3).ids, (Ids{514, 513, 515}));
  tokenizer.set_options({TextCleaning::plain, true, false});
  EXPECT_EQ(tokenizer.encode_padded("cat cat cat", 3).ids, (Ids{514, 513, 513}));
  EXPECT_EQ(tokenizer.encode_padded("cat cat cat", 3).full_length, 5);
}

TEST(ClipTokenizer, RefusesInvalidUtf8AndVeryLongTexts) {
  const auto tokenizer = tiny();
  EXPECT_EQ(message_of([&] { (void)tokenizer.encode("ab\xff"); }), "prompt: byte 2 (0xff) is no UTF-8");
  EXPECT_EQ(message_of([&] { (void)tokenizer.encode("\xed\xa0\x80"); }), "prompt: byte 0 (0xed) is no UTF-8");
  EXPECT_EQ(message_of([&] { (void)tokenizer.encode("\xc0\xaf"); }), "prompt: byte 0 (0xc0) is no UTF-8");
  EXPECT_EQ(message_of([&] { (void)tokenizer.encode(std::string(20000, 'a')); }),
            "prompt: 20000 bytes, expected at most 16384");
}

TEST(ClipTokenizer, SavesWhatItLoads) {
  const auto folder = testing::scratch_folder("tokenizer");
  tiny().save(folder);
  const auto again = ClipTokenizer::load(folder);
  EXPECT_EQ(again.options().cleaning, TextCleaning::original);
  EXPECT_FALSE(again.options().padding_is_special);
  EXPECT_TRUE(again.options().keep_end);
  EXPECT_EQ(again.encode("the cat!"), tiny().encode("the cat!"));
}

TEST(ClipTokenizer, NamesWhatDoesNotFitInItsFiles) {
  const auto folder = testing::scratch_folder("tokenizer-bad");
  tiny().save(folder);
  {
    std::ofstream merges(folder / "merges.txt");
    merges << "#version: 0.2\nc a\n";
  }
  EXPECT_EQ(message_of([&] { (void)ClipTokenizer::load(folder); }),
            (folder / "vocab.json").string() + ": 516 entries, expected 515 as merges.txt makes");
  {
    std::ofstream merges(folder / "merges.txt");
    merges << "ca t</w>\n";
  }
  EXPECT_NE(message_of([&] { (void)ClipTokenizer::load(folder); }).find("is no symbol yet"), std::string::npos);
  EXPECT_NE(message_of([&] { (void)ClipTokenizer::load_merges(folder / "merges.txt", {}, 600); }).find("expected 600"),
            std::string::npos);
  std::filesystem::remove(folder / "merges.txt");
  EXPECT_EQ(message_of([&] { (void)ClipTokenizer::load(folder); }),
            folder.string() + ": the tokenizer lacks merges.txt (or tokenizer.json, bpe_simple_vocab_16e6.txt.gz)");
}

TEST(Unicode, LowerCaseKnowsTheFinalSigma) {
  EXPECT_EQ(lower_case("ΟΔΟΣ ΣΑΣ. Σ ΑΣ'Β"), "οδος σας. σ ασ'β");
  EXPECT_EQ(lower_case("İSTANBUL"), "i\xCC\x87stanbul");
}

TEST(Unicode, HtmlReferencesAsABrowserReadsThem) {
  EXPECT_EQ(unescape_html("&amp;lt; &notit; &#x41;&#65 &nosuch; &#128; &"),
            "&lt; \xC2\xACit; AA &nosuch; \xE2\x82\xAC &");
  EXPECT_EQ(unescape_closed_html("&amp &amp; &EACUTE; &nosuch;"), "&amp & \xC3\x89 &nosuch;");
}

TEST(TextCleaning, UnknownNamesListTheChoices) {
  EXPECT_EQ(message_of([] { (void)text_cleaning_from("x"); }),
            "text cleaning 'x': expected one of original, plain, repaired");
}

}  // namespace clip_tokenizer_test
}  // namespace tessera
