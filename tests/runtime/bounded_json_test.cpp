#include "runtime/bounded_json.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include "runtime/error.h"

namespace tessera {
namespace bounded_json_test {

using nlohmann::json;

std::string repeated(std::string_view piece, std::size_t count) {
  std::string text;
  text.reserve(piece.size() * count);
  for (std::size_t i = 0; i < count; ++i) text += piece;
  return text;
}

/// What reading a text says; empty: nothing.
std::string fault_of(const std::string& text, const JsonLimits& limits = {}) {
  try {
    (void)read_json(text, "t", limits);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

TEST(BoundedJson, ReadsWhatTheLibraryReads) {
  for (const auto* text :
       {"null", "true", "-3", "4294967296", "1.5e3", "\"\\u00e9\\n\"", "[]", "{}", "[1,[2,{\"a\":[]}],\"x\"]",
        "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":0.25,\"a\":7}", " {\"k\" : [ true , false ] } "}) {
    EXPECT_EQ(read_json(text, "t"), json::parse(text)) << text;
    EXPECT_EQ(read_ordered_json(text, "t"), nlohmann::ordered_json::parse(text)) << text;
  }
}

TEST(BoundedJson, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(fault_of("{\"a\": "), "t: not JSON at byte 7");
  EXPECT_EQ(fault_of("[1,]"), "t: not JSON at byte 4");
  EXPECT_EQ(fault_of("[] []"), "t: not JSON at byte 4");
  EXPECT_NE(fault_of("[\"\xff\"]").find("not JSON at byte"), std::string::npos);
  EXPECT_EQ(fault_of("1e999"), "t: holds a number that is too large");
  EXPECT_TRUE(json_or_discarded("{").is_discarded());
  EXPECT_THROW(read_json_object("[]", "t"), Error);
  try {
    (void)read_json_object("{", "file.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "file.json: not a JSON object (not JSON at byte 2)");
  }
}

TEST(BoundedJson, NestingIsRefusedAtItsBound) {
  const auto nested = [](std::size_t depth) { return repeated("[", depth) + repeated("]", depth); };
  EXPECT_EQ(fault_of(nested(64)), "");
  EXPECT_EQ(fault_of(nested(65)), "t: nested deeper than 64");
  EXPECT_EQ(fault_of(repeated("[", 20'000'000)), "t: nested deeper than 64");
  EXPECT_EQ(fault_of(repeated("{\"a\":", 5'000'000)), "t: nested deeper than 64");
}

TEST(BoundedJson, ManySmallObjectsTakeLinearTime) {
  // nlohmann's reader with a callback took 11 s for a tenth of these.
  const auto begin = cpu_seconds();
  const auto value = read_json("[" + repeated("{},", 500'000) + "{}]", "t");
  EXPECT_EQ(value.size(), 500'001u);
  EXPECT_LT(cpu_seconds() - begin, 5.0);
}

TEST(BoundedJson, ValuesAndTheirMemoryAreBounded) {
  EXPECT_EQ(fault_of("[" + repeated("0,", 3'000'000) + "0]"), "t: holds more than 2000000 values");
  for (const auto* piece : {"[],", "{},", "[0],", "{\"\":0},"})
    EXPECT_NE(fault_of("[" + repeated(piece, 3'000'000) + "0]").find("t: "), std::string::npos) << piece;
  EXPECT_EQ(fault_of("[" + repeated("[],", 1'200'000) + "0]"), "t: describes more than 96 MiB of values");
  JsonLimits limits;
  limits.values = 3;
  EXPECT_EQ(fault_of("[1,2]", limits), "");
  EXPECT_EQ(fault_of("[1,2,3]", limits), "t: holds more than 3 values");
}

TEST(BoundedJson, LongTextsAreNoValuesOfTheirOwn) {
  const auto text = std::string("\"") + std::string(8 << 20, 'a') + "\"";
  JsonLimits limits;
  limits.bytes = 1024;
  EXPECT_EQ(read_json(text, "t", limits).get_ref<const std::string&>().size(), std::size_t{8} << 20);
}

TEST(BoundedJson, OrderedObjectsHaveABoundOfKeys) {
  std::string text = "{";
  for (int i = 0; i < 5000; ++i) text += fmt::format("\"{}\":0,", i);
  text += "\"end\":0}";
  EXPECT_EQ(read_json(text, "t").size(), 5001u);
  EXPECT_TRUE(ordered_json_or_discarded(text).is_discarded());
  const auto small = read_ordered_json("{\"b\":1,\"a\":2}", "t");
  EXPECT_EQ(small.dump(), "{\"b\":1,\"a\":2}");
}

TEST(BoundedJson, SeveralTextsShareABound) {
  std::size_t held = 0;
  JsonLimits limits;
  limits.bytes = 1000;
  limits.held = &held;
  int read = 0;
  while (read < 100 && !json_or_discarded("[[],[],[]]", limits).is_discarded()) ++read;
  EXPECT_GT(read, 1);
  EXPECT_LT(read, 5);
}

/// Texts of strangers must come to the bounded readers: no other call of a parser in src/.
TEST(BoundedJson, NoOtherPartOfTheProgramCallsAParser) {
  namespace fs = std::filesystem;
  const std::regex call(
      R"(\b\w+::(parse|sax_parse|accept|parse_file|from_cbor|from_msgpack|from_ubjson|from_bson|from_bjdata|Load|LoadFile|LoadAll|LoadAllFromFile)\s*\()");
  const std::regex stream(R"(>>\s*(json|config|document|record)\b)");
  const fs::path source = fs::path(TESSERA_SOURCE_DIR) / "src";
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(source)) {
    const auto ending = entry.path().extension();
    const auto stem = entry.path().stem().string();
    if ((ending != ".cpp" && ending != ".h") || stem == "bounded_json" || stem == "bounded_toml" ||
        stem == "bounded_yaml")
      continue;
    ++files;
    std::ifstream file(entry.path());
    int number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      EXPECT_FALSE(std::regex_search(line, call) || std::regex_search(line, stream))
          << entry.path() << ":" << number << ": " << line << "\nexpected read_json, read_toml or read_yaml";
    }
  }
  EXPECT_GT(files, 200);
}

}  // namespace bounded_json_test
}  // namespace tessera
