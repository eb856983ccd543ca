// Every recipe that the repository ships.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "denoiser/transformer.h"
#include "runtime/error.h"
#include "training/codec_trainer.h"
#include "training/prior_trainer.h"
#include "training/recipe.h"

namespace tessera {
namespace recipes_test {

std::vector<std::filesystem::path> shipped_recipes() {
  std::vector<std::filesystem::path> files;
  const auto folder = std::filesystem::path(TESSERA_SOURCE_DIR) / "recipes";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  return files;
}

TEST(Recipes, EveryShippedRecipeIsReadAndValid) {
  const auto files = shipped_recipes();
  ASSERT_GE(files.size(), 10U);
  for (const auto& file : files) {
    SCOPED_TRACE(file);
    CodecRecipe codec;
    read_recipe(file, "codec", codec.fields());
    choose_defaults(codec, 64, 1000);
    EXPECT_NO_THROW(codec.validate());
    PriorRecipe prior;
    read_recipe(file, "prior", prior.fields());
    TokenData data;
    data.train = torch::zeros({100, 16, 16}, torch::kInt64);
    choose_defaults(prior, data);
    EXPECT_NO_THROW(prior.validate());
  }
}

TEST(Recipes, ThePerceptualTermIsTheSqueezeNetUnlessAnotherIsAskedFor) {
  const auto chosen = [](auto change) {
    CodecRecipe recipe;
    recipe.image_size = 64;
    change(recipe);
    choose_defaults(recipe, 64, 1000);
    recipe.validate();
    return std::pair{recipe.perceptual, recipe.perceptual_weight};
  };
  using Chosen = std::pair<std::string, double>;
  const auto network = chosen([](CodecRecipe&) {});
  EXPECT_EQ(network.first, "squeezenet");
  EXPECT_GT(network.second, 0);
  EXPECT_EQ(chosen([](CodecRecipe& r) {
              r.image_size = 16;
              r.channel_multipliers = {1, 1};
              r.adversarial = false;
            }),
            (Chosen{"edges", 1}));
  EXPECT_EQ(chosen([](CodecRecipe& r) { r.lpips_vgg = r.lpips_heads = "x"; }), (Chosen{"lpips", 1}));
  EXPECT_EQ(chosen([](CodecRecipe& r) {
              r.perceptual = "edges";
              r.perceptual_weight = 0.2;
            }),
            (Chosen{"edges", 0.2}));
  EXPECT_EQ(chosen([](CodecRecipe& r) { r.perceptual = "none"; }), (Chosen{"none", 0}));
  EXPECT_EQ(chosen([](CodecRecipe& r) { r.perceptual_weight = 0; }), (Chosen{"squeezenet", 0}));
  EXPECT_EQ(chosen([](CodecRecipe& r) { r.perceptual = "own.json"; }), (Chosen{"own.json", network.second}));
  const auto fault = [&](auto change) {
    try {
      (void)chosen(change);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const auto holds = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos && text.find('\n') == std::string::npos;
  };
  EXPECT_TRUE(holds(fault([](CodecRecipe& r) { r.perceptual = "vgg"; }), "'vgg': expected one of auto, squeezenet"));
  EXPECT_TRUE(holds(fault([](CodecRecipe& r) { r.perceptual = "lpips"; }), "lpips_vgg and lpips_heads"));
  EXPECT_TRUE(holds(fault([](CodecRecipe& r) {
                      r.lpips_vgg = r.lpips_heads = "x";
                      r.perceptual = "edges";
                    }),
                    "lpips_vgg is not used by perceptual edges"));
  EXPECT_TRUE(holds(fault([](CodecRecipe& r) {
                      r.image_size = 16;
                      r.perceptual = "squeezenet";
                    }),
                    "17 or more"));
  EXPECT_TRUE(holds(fault([](CodecRecipe& r) { r.perceptual_weight = -0.5; }), "perceptual_weight -0.5"));
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
