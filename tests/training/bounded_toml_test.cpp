#include "training/bounded_toml.h"

#include <gtest/gtest.h>

#include <string>

#include "runtime/error.h"

namespace tessera {
namespace bounded_toml_test {

std::string repeated(std::string_view piece, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += piece;
  return text;
}

std::string fault_of(const std::string& text) {
  try {
    (void)read_toml(text, "r.toml");
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(BoundedToml, RecipesAreReadAsEver) {
  const auto table =
      read_toml("[codec]\nname = \"a.b.c # d\"\nlist = [1, 2]\nrate = 1.5e-3 # 1.2.3.4\nt = {x.y = 1}\n", "r.toml");
  EXPECT_EQ(table["codec"]["name"].value<std::string>(), "a.b.c # d");
  EXPECT_EQ(table["codec"]["t"]["x"]["y"].value<int>(), 1);
  EXPECT_EQ(fault_of("path = '" + repeated("../", 500) + "'\n"), "");
  EXPECT_EQ(fault_of("text = \"\"\"\n" + repeated("a.b ", 500) + "\n\"\"\"\n"), "");
  EXPECT_EQ(fault_of("a = 1\nb = \n").substr(0, 9), "r.toml:2:");
}

TEST(BoundedToml, KeysAndTablesNestToABound) {
  EXPECT_EQ(fault_of(repeated("a.", 31) + "a = 1\n"), "");
  for (const auto& text : {repeated("a.", 400'000) + "a = 1\n", "[" + repeated("a.", 400'000) + "a]\n",
                           "x = {" + repeated("a.", 400'000) + "a = 1}\n",
                           "\n\n" + repeated("'a'.", 200'000) + "a = 1\n", repeated("a . ", 200'000) + "a = 1\n"}) {
    EXPECT_NE(fault_of(text).find("a key of more than 32 parts"), std::string::npos) << text.substr(0, 10);
  }
  EXPECT_NE(fault_of("x = " + repeated("[", 500'000)).find("nested deeper than 64"), std::string::npos);
  EXPECT_NE(fault_of("x = " + repeated("{a=", 200'000)).find("nested deeper than 64"), std::string::npos);
}

TEST(BoundedToml, AnErrorIsOneLineOfBoundedLength) {
  const auto fault = fault_of(std::string("a") + std::string(500'000, 'b') + "\n");
  EXPECT_FALSE(fault.empty());
  EXPECT_LT(fault.size(), 400u);
  EXPECT_EQ(fault.find('\n'), std::string::npos);
}

}  // namespace bounded_toml_test
}  // namespace tessera
