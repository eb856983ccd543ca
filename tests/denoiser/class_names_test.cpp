/// Names of classes in transformer/config.json: as written, as read, and what a stranger's file may hold instead.
#include "denoiser/class_names.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace tessera {
namespace class_names_test {

using nlohmann::json;
using Names = std::vector<std::string>;

template <typename Work>
std::string error_text(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ClassNames, WhatIsWrittenIsReadInTheOrderOfTheNumbers) {
  Names names;
  for (int label = 0; label < 12; ++label) names.push_back("kind " + std::string(1, static_cast<char>('l' - label)));
  json config = {{"_class_name", "Transformer"}};
  put_class_names(names, config);
  EXPECT_EQ(config["id2label"]["10"], "kind b");
  EXPECT_EQ(class_names_from_config(config, 12, "m"), names);
  EXPECT_EQ(class_names_from_config(config, 0, "m"), Names()) << "a network without classes has no names for them";
  EXPECT_EQ(class_names_from_config(json::object(), 12, "m"), Names());
  json plain = json::object();
  put_class_names({"0", "1", "2"}, plain);
  EXPECT_EQ(plain, json::object()) << "numbers say nothing";
  put_class_names({}, plain);
  EXPECT_EQ(plain, json::object());
}

TEST(ClassNames, WhatDoesNotFitIsNamed) {
  const auto message = [](const json& field, std::int64_t classes) {
    return error_text([&] { (void)class_names_from_config({{"id2label", field}}, classes, "m/transformer"); });
  };
  EXPECT_EQ(message({{"0", "cat"}}, 2),
            "m/transformer: id2label has 1 names, expected a name for each of the 2 classes");
  EXPECT_EQ(message({"cat", "dog"}, 2),
            "m/transformer: id2label has no names, expected a name for each of the 2 classes");
  EXPECT_EQ(message({{"0", "cat"}, {"2", "dog"}}, 2), "m/transformer: id2label has no text for class 1");
  EXPECT_EQ(message({{"0", "cat"}, {"1", 7}}, 2), "m/transformer: id2label has no text for class 1");
  EXPECT_EQ(message({{"0", "cat"}, {"1", "cat"}}, 2), "m/transformer: id2label: two classes are called 'cat'");
  EXPECT_EQ(message({{"0", "cat"}, {"1", ""}}, 2),
            "m/transformer: id2label: the name of class 1 has 0 bytes, expected 1 to 1024");
  EXPECT_EQ(message({{"0", std::string(1025, 'a')}, {"1", "b"}}, 2),
            "m/transformer: id2label: the name of class 0 has 1025 bytes, expected 1 to 1024");
}

TEST(ClassNames, AClassIsFoundByItsNameOrTheChoicesAreListed) {
  EXPECT_EQ(class_named("dog", {"cat", "dog"}, 2), 1);
  EXPECT_EQ(class_named("1", {}, 2), 1);
  EXPECT_EQ(error_text([] {
              (void)class_named("dgo", {"cat", "dog"}, 2);
            }),
            "class is 'dgo', expected one of cat, dog, or a number from 0 to 1");
  EXPECT_EQ(error_text([] { (void)class_named("cat", {}, 2); }), "class is 'cat', expected a number from 0 to 1");
  Names many;
  for (int label = 0; label < 1000; ++label) many.push_back("n" + std::to_string(label));
  const auto text = error_text([&] { (void)class_named("\n", many, 1000); });
  EXPECT_TRUE(text.ends_with("n18, n19 and 980 more, or a number from 0 to 999")) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(ClassNames, ADataSetsLabelsBecomeTheModelsByName) {
  const std::vector<std::int64_t> labels = {0, 1, -1, 0};
  EXPECT_EQ(labels_for_model(labels, {"dog", "emu"}, {"cat", "dog", "emu"}, 3, "d"),
            (std::vector<std::int64_t>{1, 2, -1, 1}));
  EXPECT_EQ(labels_for_model(labels, {"dog", "emu"}, {}, 2, "d"), labels) << "a model without names goes by numbers";
  EXPECT_EQ(labels_for_model(labels, {}, {"cat", "dog"}, 2, "d"), labels);
  EXPECT_EQ(error_text([&] {
              (void)labels_for_model(labels, {"dog", "gnu"}, {"cat", "dog"}, 2, "d");
            }),
            "d: its class 'gnu' is not among the model's, expected one of cat, dog");
  EXPECT_EQ(error_text([&] {
              (void)labels_for_model(labels, {"dog", "gnu"}, {}, 1, "d");
            }),
            "d: class 1, expected less than 1, the model's classes");
}

}  // namespace class_names_test
}  // namespace tessera
