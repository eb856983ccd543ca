// Every recipe that the repository ships.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "training/codec_trainer.h"
#include "training/conditional_trainer.h"
#include "training/prior_trainer.h"
#include "training/recipe.h"

namespace tessera {
namespace recipes_test {

std::vector<std::filesystem::path> shipped_recipes() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(TESSERA_SOURCE_DIR) / "recipes")) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  return files;
}

TEST(Recipes, EveryShippedRecipeIsReadAndValid) {
  const auto files = shipped_recipes();
  ASSERT_GE(files.size(), 6U);
  for (const auto& file : files) {
    SCOPED_TRACE(file);
    CodecRecipe codec;
    read_recipe(file, "codec", codec.fields());
    choose_defaults(codec, 64, 1000);
    EXPECT_NO_THROW(codec.validate());
    PriorRecipe prior;
    ConditionalRecipe conditional;
    auto fields = prior.fields();
    for (const auto& field : conditional.fields()) fields.push_back(field);
    read_recipe(file, "prior", fields);
    EXPECT_NO_THROW(conditional.validate());
    TokenData data;
    data.train = torch::zeros({100, 16, 16}, torch::kInt64);
    choose_defaults(prior, data);
    EXPECT_NO_THROW(prior.validate());
  }
}

TEST(Recipes, AValidationLooksAtGridsSpreadOverTheData) {
  PriorRecipe recipe;
  const auto looked_at = [&](std::int64_t grids, std::int64_t count) {
    recipe.validation_grids = grids;
    const auto rows = recipe.grids_to_measure(count);
    return std::vector<std::int64_t>(rows.data_ptr<std::int64_t>(), rows.data_ptr<std::int64_t>() + rows.numel());
  };
  using Rows = std::vector<std::int64_t>;
  EXPECT_EQ(looked_at(4, 100), (Rows{0, 25, 50, 75}));
  EXPECT_EQ(looked_at(4, 6), (Rows{0, 1, 3, 4}));
  EXPECT_EQ(looked_at(5, 5), (Rows{0, 1, 2, 3, 4}));
  EXPECT_EQ(looked_at(9, 3), (Rows{0, 1, 2}));
  EXPECT_EQ(looked_at(9, 0), Rows{});
  recipe.validation_spread = false;
  EXPECT_EQ(looked_at(4, 100), (Rows{0, 1, 2, 3}));
}

TEST(Recipes, ThePapersHaveThePapersGeometry) {
  for (const char* name : {"ffhq-256", "lsun-churches-256", "lsun-bedroom-256"}) {
    SCOPED_TRACE(name);
    const auto file = std::filesystem::path(TESSERA_SOURCE_DIR) / "recipes" / (std::string(name) + ".toml");
    CodecRecipe codec;
    read_recipe(file, "codec", codec.fields());
    const auto options = codec.codec_options();
    EXPECT_EQ(options.grid(), (Extent{16, 16}));
    EXPECT_EQ(options.codebook_size, 1024);
    EXPECT_FALSE(options.final_activation);
    EXPECT_DOUBLE_EQ(codec.learning_rate, 4.5e-6 * static_cast<double>(codec.batch_size));
    PriorRecipe prior;
    read_recipe(file, "prior", prior.fields());
    TransformerOptions transformer;
    transformer.codebook_size = options.codebook_size;
    transformer.grid = options.grid();
    transformer.layers = prior.layers;
    transformer.heads = prior.heads;
    transformer.width = prior.width;
    EXPECT_NEAR(static_cast<double>(Transformer(transformer, Initialisation::none)->parameter_count()), 76.8e6, 0.1e6);
  }
}

}  // namespace recipes_test
}  // namespace tessera
