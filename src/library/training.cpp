/// A training, from a recipe.
#include "library/arguments.h"
#include "library/boundary.h"
#include "runtime/error.h"
#include "training/part_training.h"
#include "training/recipe.h"

namespace tessera::library {
namespace {

template <typename Recipe>
Recipe recipe_from(Arguments& arguments, const char* part) {
  Recipe recipe;
  choose(recipe, arguments.text("recipe"), part, [&] { arguments.write_to(recipe.fields()); });
  return recipe;
}

}  // namespace
}  // namespace tessera::library

extern "C" tessera_status tessera_train(const char* part, const char* data, const char* model, const char* options,
                                        tessera_training_function on_step, void* user) {
  using namespace tessera;  // NOLINT(google-build-using-namespace)
  return library::guarded([&] {
    library::require_given(part, "part");
    library::require_given(data, "data");
    library::require_given(model, "model");
    library::Arguments arguments(options);
    PartTraining training;
    training.data = data;
    training.bundle = model;
    training.device = arguments.text("device", "cpu");
    training.strict = arguments.flag("strict");
    training.choice.where = arguments.texts("where");
    training.choice.split_field = arguments.text("split_field");
    training.choice.caption_field = arguments.text("caption_field");
    auto& loop = training.loop;
    loop.takes_signals = false;
    loop.resume = arguments.flag("resume");
    constexpr auto kMost = std::int64_t{1} << 40;
    loop.validate_every = arguments.whole("validate_every", -1, -1, kMost);
    loop.save_every = arguments.whole("save_every", -1, -1, kMost);
    loop.patience = arguments.whole("patience", 0, 0, kMost);
    if (on_step != nullptr) {
      loop.after_step = [&](std::int64_t step, std::int64_t steps, const Metrics& metrics) {
        auto measured = nlohmann::json::object();
        for (const auto& [name, value] : metrics) measured[name] = value;
        const auto text = measured.dump();
        const tessera_training_step at{step, steps, text.c_str()};
        return on_step(user, &at) == 0;
      };
    }
    const std::string which = part;
    library::prepare_to_compute();
    if (which == "codec") {
      const auto recipe = library::recipe_from<CodecRecipe>(arguments, part);
      arguments.require_all_taken();
      train_codec(training, recipe);
    } else if (which == "prior") {
      const auto recipe = library::recipe_from<PriorRecipe>(arguments, part);
      arguments.require_all_taken();
      train_prior(training, recipe);
    } else {
      throw UsageError(fmt::format("part is '{}', expected codec or prior", which));
    }
  });
}
