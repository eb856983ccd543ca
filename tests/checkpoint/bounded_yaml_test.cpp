#include "checkpoint/bounded_yaml.h"

#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "runtime/error.h"

namespace tessera {
namespace bounded_yaml_test {

using nlohmann::json;

std::string fault_of(const std::string& text) {
  try {
    (void)read_yaml(text, "c.yaml");
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

std::string repeated(std::string_view piece, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += piece;
  return text;
}

TEST(BoundedYaml, ScalarsBecomeWhatTheyReadAs) {
  const auto value =
      read_yaml("a: 1\nb: 0.5\nc: true\nd: text\ne: '1'\nf: \"true\"\ng:\nh: [1, two]\n1: x\n", "c.yaml");
  EXPECT_EQ(value, (json{{"a", 1},
                         {"b", 0.5},
                         {"c", true},
                         {"d", "text"},
                         {"e", "1"},
                         {"f", "true"},
                         {"g", nullptr},
                         {"h", {1, "two"}},
                         {"1", "x"}}));
}

TEST(BoundedYaml, AliasesStandForWhatTheyName) {
  EXPECT_EQ(read_yaml("a: &x {k: [1, 2]}\nb: *x\n", "c.yaml"), (json{{"a", {{"k", {1, 2}}}}, {"b", {{"k", {1, 2}}}}}));
  EXPECT_EQ(read_yaml("? [1, 2]\n: left out\nb: 3\n", "c.yaml"), (json{{"b", 3}}));
}

TEST(BoundedYaml, NestingIsRefusedInEveryStyle) {
  for (const auto& text : {repeated("[", 200'000), repeated("{a: ", 60'000), repeated("- ", 100'000),
                           repeated("? ", 100'000), repeated("[", 40) + repeated("]", 40)}) {
    EXPECT_NE(fault_of(text).find("c.yaml: "), std::string::npos) << text.substr(0, 8);
  }
  EXPECT_NE(fault_of(repeated("[", 40) + repeated("]", 40)).find("nested"), std::string::npos);
}

TEST(BoundedYaml, AliasesCountAsMuchAsTheyStandFor) {
  // Ten values, ten of those, and so on: a billion.
  std::string text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n";
  for (int i = 1; i < 9; ++i) {
    text += std::string("a") + std::to_string(i) + std::string(": &a") + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) text += (k ? ",*a" : "*a") + std::to_string(i - 1);
    text += "]\n";
  }
  EXPECT_NE(fault_of(text).find("too large"), std::string::npos);
  // One long text, named thousands of times.
  const auto begin = std::clock();
  EXPECT_NE(
      fault_of("a: &a " + std::string(100'000, 'x') + "\nb: [" + repeated("*a,", 9000) + "1]\n").find("too large"),
      std::string::npos);
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 5.0);
  EXPECT_NE(fault_of("a: &a [*a]\n").find("c.yaml"), std::string::npos);
}

}  // namespace bounded_yaml_test
}  // namespace tessera
