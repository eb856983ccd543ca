/// What is registered once is found everywhere: in the command line's flags and help, the HTTP schema, capabilities,
/// requests, records, sweeps, suggestions and what another process is told.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "checkpoint/bundle.h"
#include "cli/field_options.h"
#include "cli/model_flags.h"
#include "cli/verbs.h"
#include "denoiser/networks.h"
#include "diffusion/mask_replace.h"
#include "diffusion/processes.h"
#include "import/importers.h"
#include "metrics/sweep.h"
#include "prior/sampling_suggestion.h"
#include "runtime/atomic_file.h"
#include "sampling/masked.h"
#include "server/pipeline_backend.h"
#include "server/request_fields.h"
#include "server/service.h"
#include "support/scratch.h"
#include "training/prior_trainer.h"

namespace tessera::testing {
namespace registries_test {

using namespace tessera::server;
using nlohmann::json;

/// Fills everything with code 3.
void fill_with_threes(FillState& state) {
  state.tokens.masked_fill_(state.tokens == state.mask_token, 3);
  state.report.evaluations += static_cast<std::int64_t>(state.options.number("zest"));
  state.advance(1, 1);
}

class ThrowAwaySampler : public ::testing::Test {
 protected:
  ThrowAwaySampler() {
    SamplerEntry entry{"threes", "writes threes", fill_with_threes};
    OptionField zest{"zest", "how heartily", 2.0, 0, 10};
    zest.label = "Zest";
    entry.options = {zest};
    samplers().add(entry);
    orders().add({"backwards", "the last row first", OrderEntry::Sees::nothing, [](const OpenCells& open) {
                    std::vector<double> scores;
                    for (const auto cell : open.cells) scores.push_back(static_cast<double>(cell));
                    return scores;
                  }});
  }
  ~ThrowAwaySampler() override {
    samplers().remove("threes");
    orders().remove("backwards");
  }
};

TEST_F(ThrowAwaySampler, IsInFlagsAndHelpAndRoundTripsToAnotherProcess) {
  CLI::App verb("a verb", "generate");
  cli::SamplingFlags flags;
  cli::add_sampling_flags(verb, flags);
  const auto help = verb.help();
  EXPECT_NE(help.find("--zest"), std::string::npos);
  EXPECT_NE(help.find("threes"), std::string::npos);
  verb.parse("--sampler threes --zest 7 --steps 3 -s 5");
  EXPECT_EQ(flags.options.get<double>("zest"), 7.0);
  FillOptions fill;
  fill.seed = flags.seed;
  fill.take(flags.options);
  CLI::App child("a verb", "generate");
  cli::SamplingFlags told;
  cli::add_sampling_flags(child, told);
  auto arguments = cli::sampling_arguments(fill, flags.options);
  std::reverse(arguments.begin(), arguments.end());
  child.parse(arguments);
  FillOptions same;
  same.seed = told.seed;
  same.take(told.options);
  EXPECT_EQ(to_json(same), to_json(fill));
  EXPECT_EQ(to_json(fill)["zest"], 7.0);
  EXPECT_FALSE(to_json(fill).contains("purity"));  // a record holds what was used
}

TEST_F(ThrowAwaySampler, IsInTheHttpSchemaCapabilitiesRequestsAndResults) {
  server::Metrics metrics;
  ModelStore store({parse_model_source(std::string(TESSERA_SOURCE_DIR) + "/models/emoji64")}, {}, 0, metrics);
  PipelineBackend backend(store);
  Service service(backend, metrics, {ServiceLimits{}, {}});
  const auto document = openapi_document(service.routes(), service.limits()).dump();
  EXPECT_NE(document.find("\"zest\""), std::string::npos);
  EXPECT_NE(document.find("\"threes\""), std::string::npos);
  const auto infos = store.infos();
  const auto& names = infos.at(0).samplers;
  EXPECT_NE(std::find(names.begin(), names.end(), "threes"), names.end());
  bool found = false;
  for (const auto& field : request_fields()) found = found || field.name == "zest";
  EXPECT_TRUE(found);
  const auto job = service.submit(
      parse_job_request({{"verb", "generate"}, {"sampler", "threes"}, {"zest", 4}}, {}, service.limits()), "a");
  while (service.worker().run_once(std::chrono::milliseconds(0))) {
  }
  ASSERT_EQ(job->state(), JobState::done) << job->status().error;
  EXPECT_EQ(json::parse(job->record)["zest"], 4.0);
  const auto refused = service.submit(
      parse_job_request({{"verb", "generate"}, {"sampler", "raster"}, {"zest", 4}}, {}, service.limits()), "a");
  while (service.worker().run_once(std::chrono::milliseconds(0))) {
  }
  EXPECT_EQ(refused->state(), JobState::failed);
  EXPECT_NE(refused->status().error.find("zest is 4, but sampler 'raster' does not use it"), std::string::npos)
      << refused->status().error;
}

TEST_F(ThrowAwaySampler, AnOrderIsAChoiceOfTheMaskedSampler) {
  EXPECT_EQ(SamplingOptions().set("order", "backwards").get<std::string>("order"), "backwards");
  const auto schema = SamplingOptions::field("order").schema().dump();
  EXPECT_NE(schema.find("backwards"), std::string::npos);
}

TEST_F(ThrowAwaySampler, IsInSweepsAndSuggestions) {
  FillOptions base;
  base.sampler = "threes";
  base.steps = 1;
  const auto cells = sweep_cells(base, {{"zest", {1.0, 2.0}}});
  ASSERT_EQ(cells.size(), 2U);
  EXPECT_EQ(cells[1].name, "threes-s1-t1-zest-2");
  const auto suggested =
      suggestion_from_config({{"tessera", {{"sampling", {{"sampler", "threes"}, {"zest", 3}}}}}}, "bundle");
  EXPECT_EQ(suggested.get<double>("zest"), 3.0);
}

/// A process and a network that are entered here alone, and a model of both.
class ThrowAwayPrior : public ::testing::Test {
 protected:
  ThrowAwayPrior() : folder_(scratch_folder("throw-away-prior")) {
    processes().add({"fog", "codes become any other, as in fog", false, [](const ProcessInput& input) {
                       return std::shared_ptr<const Process>(
                           std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(input.codes, input.steps)));
                     }});
    const auto& usual = networks().at("conditional-transformer");
    networks().add({"lantern", "the same by another name", "LanternNetwork", usual.facts, usual.load});
    Bundle codec_alone;
    codec_alone.codec = load_bundle(std::string(TESSERA_SOURCE_DIR) + "/models/emoji64").codec;
    save_bundle(folder_, codec_alone);
    TokenData data;
    data.codebook_size = 512;
    data.train = torch::randint(0, 512, {4, 16, 16});
    data.validation = data.train.narrow(0, 0, 2);
    PriorRecipe recipe;
    recipe.process = "fog";
    recipe.layers = 1;
    recipe.heads = 1;
    recipe.width = 8;
    recipe.steps = 2;
    recipe.total_steps = 3;
    const auto task = make_prior_training(recipe, data, folder_, {});
    (void)task->step(0);
    task->write_bundle(1);
    auto bundle = load_bundle(folder_);
    bundle.denoiser->config["_class_name"] = "LanternNetwork";
    save_bundle(folder_, bundle);
  }
  ~ThrowAwayPrior() override {
    processes().remove("fog");
    networks().remove("lantern");
    std::filesystem::remove_all(folder_);
  }

  std::filesystem::path folder_;
};

TEST_F(ThrowAwayPrior, IsInTheFlagsOfTrainingAndInWhatItWrites) {
  CLI::App verb("a verb", "prior");
  PriorRecipe recipe;
  const auto apply = cli::add_field_options(verb, recipe.fields());
  EXPECT_NE(verb.help().find("fog"), std::string::npos);
  verb.parse("--process fog");
  apply();
  EXPECT_EQ(recipe.process, "fog");
  const auto bundle = load_bundle(folder_);
  EXPECT_EQ((*bundle.scheduler)["tessera"]["process"], "fog");
  EXPECT_NE(bundle.readme.find("\"process\": \"fog\""), std::string::npos) << "the card's record";
}

TEST_F(ThrowAwayPrior, IsLoadedSampledAndServed) {
  auto pipeline = Pipeline::load(folder_);
  EXPECT_EQ(pipeline.process(), "fog");
  EXPECT_EQ(pipeline.prior_network().total_steps, 3);
  FillOptions options;
  options.steps = 2;
  EXPECT_EQ(pipeline.generate(1, options).grid.count(), 1);
  const auto info = read_model_info(parse_model_source("it=" + folder_.string()));
  EXPECT_EQ(info.process, "fog");
  EXPECT_FALSE(info.has_mask);
  EXPECT_FALSE(info.samplers.empty());
  server::Metrics metrics;
  ModelStore store({parse_model_source("it=" + folder_.string())}, {}, 0, metrics);
  PipelineBackend backend(store);
  Service service(backend, metrics, {ServiceLimits{}, {}});
  HttpRequest request;
  request.method = "GET";
  request.path = "/api/v1/capabilities";
  EXPECT_NE(service.handle(request).body.find("fog"), std::string::npos);
}

TEST_F(ThrowAwayPrior, IsAmongTheChoicesWhereAnotherIsRefused) {
  const auto refusal = [&](const char* part, const std::string& pointer) -> std::string {
    const auto file = folder_ / part / "config.json";
    auto config = json::parse(read_file(file));
    config[json::json_pointer(pointer)] = "nothing";
    std::ofstream(file) << config.dump();
    try {
      (void)Pipeline::load(folder_);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(refusal("scheduler", "/tessera/process").find("fog"), std::string::npos);
  EXPECT_NE(refusal("transformer", "/_class_name").find("LanternNetwork"), std::string::npos);
}

TEST(ThrowAwayImporter, IsInTheHelpOfImportAndReadsItsFiles) {
  ImporterEntry entry;
  entry.name = "lantern-files";
  entry.help = "files that glow";
  entry.recognises = [](ImportSource& source) {
    return source.path().extension() == ".glow" ? ImporterEntry::Match::by_structure : ImporterEntry::Match::none;
  };
  entry.run = [](ImportSource&) -> ImportedCheckpoint { fail("it glows"); };
  importers().add(entry);
  CLI::App app("a program", "tessera");
  cli::add_import(app);
  EXPECT_NE(app.get_subcommand("import")->help().find("files that glow"), std::string::npos);
  const auto folder = scratch_folder("glow");
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "a.glow") << "glow";
  try {
    (void)import_checkpoint(folder / "a.glow", {});
    ADD_FAILURE() << "read by nobody";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("it glows"), std::string::npos) << error.what();
  }
  importers().remove("lantern-files");
}

TEST(SamplingFields, EveryOptionThatWasGivenIsUsedOrRefusedByName) {
  for (const auto& sampler : samplers().entries()) {
    for (const auto& field : SamplingOptions::fields()) {
      if (field.name == "sampler" || field.is_text()) continue;
      SamplingOptions options;
      options.set(field.name, field.is_whole() ? OptionValue(std::int64_t{7}) : OptionValue(0.75));
      // Nothing is said of the guidance schedule: it is constant, which has no options.
      const bool of_a_schedule = field.name.starts_with("guidance_") && field.name != "guidance_schedule";
      const bool used = SamplingOptions::is_used(field, sampler) && !field.is_condition() && !of_a_schedule;
      try {
        options.require_used(sampler, "none", true);
        EXPECT_TRUE(used) << sampler.name << " " << field.name;
      } catch (const UsageError& error) {
        EXPECT_FALSE(used) << error.what();
        EXPECT_EQ(std::string(error.what()).find(field.name), 0U) << error.what();
      }
    }
  }
}

/// The sources outside `home` in which a name stands as a text of its own.
std::vector<std::string> sources_that_say(const std::string& name, const std::string& home) {
  std::vector<std::string> found;
  const std::filesystem::path src = std::string(TESSERA_SOURCE_DIR) + "/src";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(src)) {
    const auto file = std::filesystem::relative(entry.path(), src).string();
    const auto ending = entry.path().extension();
    if ((ending != ".cpp" && ending != ".h" && ending != ".js") || file.starts_with(home)) continue;
    std::ifstream text(entry.path());
    std::stringstream whole;
    whole << text.rdbuf();
    if (whole.str().find("\"" + name + "\"") != std::string::npos) found.push_back(file);
  }
  return found;
}

/// Fails where a source outside `home` says one of the names, but those that may.
void expect_named_at_home_alone(const std::vector<std::string>& names, const std::string& home,
                                const std::map<std::string, std::vector<std::string>>& otherwise) {
  for (const auto& name : names) {
    const auto allowed = otherwise.count(name) ? otherwise.at(name) : std::vector<std::string>{};
    for (const auto& file : sources_that_say(name, home)) {
      EXPECT_TRUE(std::any_of(allowed.begin(), allowed.end(), [&](const auto& each) { return file.starts_with(each); }))
          << file << " says \"" << name << "\"";
    }
  }
}

TEST(Registries, NoSourceNamesAProcessOrNetworkButItsOwn) {
  expect_named_at_home_alone(processes().names(), "diffusion/",
                             // What a foreign project's file holds; how time steps are drawn.
                             {{"mask-and-replace", {"import/vq_diffusion.cpp"}},
                              {"absorbing", {"import/unleashing_prior.cpp"}},
                              {"uniform", {"training/prior_recipe.h", "import/image_bart.cpp"}}});
  std::vector<std::string> classes;
  for (const auto& entry : networks().entries()) classes.push_back(entry.class_name);
  expect_named_at_home_alone(
      classes, "denoiser/",
      {{"Transformer2DModel", {"import/vq_diffusion.cpp"}}, {"UVit2DModel", {"import/amused.cpp"}}});
}

TEST(Registries, NoSourceNamesASamplerOrderOrScheduleButItsOwn) {
  // Words that mean something else as well, and where they do.
  const std::map<std::string, std::vector<std::string>> otherwise = {
      {"autoregressive", {"denoiser/", "import/", "prior/prior.h"}},  // a kind of prior
      {"mlm", {"diffusion/absorbing."}},                              // a loss
      {"random",
       {"cli/train_pictures.cpp", "import/", "diffusion/absorbing.", "library/", "server/", "training/"}},  // masks
      {"confidence", {"metrics/confidence.cpp"}},  // of intervals
      {"halton", {"import/halton_maskgit.cpp"}},   // what the original samples with
  };
  std::vector<std::string> names;
  for (const auto& list :
       {samplers().names(), orders().names(), unmasking_schedules().names(), guidance_schedules().names()})
    names.insert(names.end(), list.begin(), list.end());
  expect_named_at_home_alone(names, "sampling/", otherwise);
}

}  // namespace registries_test
}  // namespace tessera::testing
