/// aMUSEd's folders as users have them: half precision, imported, single files, with parts missing; and fills with
/// them.
#include <gtest/gtest.h>

#include "checkpoint/bundle.h"
#include "denoiser/uvit.h"
#include "import/importers.h"
#include "pipeline/pipeline.h"
#include "pipeline/sampling_choice.h"
#include "runtime/error.h"
#include "support/fixtures.h"
#include "support/scratch.h"

namespace tessera {
namespace amused_folder_test {

namespace fs = std::filesystem;

fs::path copy_of(const testing::FixtureCase& fixture) {
  const auto copy = testing::scratch_folder("amused");
  fs::copy(fixture.folder, copy, fs::copy_options::recursive);
  return copy;
}

torch::Tensor first_logits(Pipeline& pipeline, const std::string& prompt) {
  const torch::NoGradGuard no_grad;
  PromptOptions options;
  options.prompt = prompt;
  const auto cells = pipeline.prior_network().grid.cells();
  const auto evaluator = pipeline.prior().begin({pipeline.condition_for(options)});
  return evaluator->logits(
      {torch::full({1, cells}, pipeline.prior().codebook_size(), torch::kInt64), torch::arange(cells)});
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(AmusedFolder, HalfPrecisionFilesAreReadAsTheyAre) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    const auto copy = copy_of(fixture);
    for (const auto& [part, stem] :
         {std::pair{"transformer", "diffusion_pytorch_model"}, std::pair{"vqvae", "diffusion_pytorch_model"},
          std::pair{"text_encoder", "model"}}) {
      const auto file = copy / part / (std::string(stem) + ".safetensors");
      auto tensors = load_safetensors(file);
      TensorMap rounded;
      for (const auto& [name, tensor] : tensors)
        rounded[name] = (tensor.is_floating_point() ? tensor.to(torch::kFloat16) : tensor).clone();
      tensors.clear();
      save_safetensors(copy / part / (std::string(stem) + ".fp16.safetensors"), rounded);
      for (auto& [name, tensor] : rounded) {
        if (tensor.is_floating_point()) tensor = tensor.to(torch::kFloat32);
      }
      save_safetensors(file, rounded);  // the same numbers in full precision
    }
    auto full = Pipeline::load(copy);
    const auto expected = first_logits(full, "a red bus");
    for (const auto& entry : fs::recursive_directory_iterator(copy)) {
      const auto name = entry.path().filename().string();
      if (name == "model.safetensors" || name == "diffusion_pytorch_model.safetensors") fs::remove(entry.path());
    }
    auto half = Pipeline::load(copy);
    EXPECT_TRUE(first_logits(half, "a red bus").equal(expected));
    fs::remove_all(copy);
  }
}

TEST(AmusedFolder, AnImportedBundleMakesWhatTheFolderMakes) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    const auto imported = import_checkpoint(fixture.folder);
    EXPECT_EQ(imported.importer, "hub-amused");
    const auto folder = testing::scratch_folder("imported");
    save_bundle(folder, make_bundle(imported.codec, imported.denoiser, imported.text));
    auto direct = Pipeline::load(fixture.folder), native = Pipeline::load(folder);
    for (auto* pipeline : {&direct, &native}) {
      EXPECT_EQ(pipeline->condition(), "text");
      EXPECT_EQ(pipeline->guidance_scale({}), 10);
      EXPECT_EQ(decided_by_model({}, *pipeline).sampler, "amused");
      EXPECT_EQ(decided_by_model({}, *pipeline).steps, 12);
    }
    SamplingChoice choice;
    choice.options.set("prompt", "a red bus").set("steps", 4);
    choice.seed = 3;
    const auto a = direct.generate(3, resolve(choice, direct)), b = native.generate(3, resolve(choice, native));
    EXPECT_TRUE(a.grid.codes().equal(b.grid.codes()));
    EXPECT_TRUE(a.images.equal(b.images));
    // Image 1 alone is as it was among others.
    choice.first_image = 1;
    EXPECT_TRUE(native.generate(1, resolve(choice, native)).grid.codes()[0].equal(a.grid.codes()[1]));
    fs::remove_all(folder);
  }
}

TEST(AmusedFolder, TheTransformersFileAloneIsImported) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-512-transformer") {
    const auto whole = import_checkpoint(fixture.folder / "transformer");
    const auto file = import_checkpoint(fixture.folder / "transformer" / "diffusion_pytorch_model.safetensors");
    ASSERT_TRUE(file.denoiser.has_value());
    EXPECT_EQ(file.importer, "hub-amused");
    EXPECT_EQ(file.denoiser->config, whole.denoiser->config);
    EXPECT_EQ(file.denoiser->tensors.size(), whole.denoiser->tensors.size());
  }
}

TEST(AmusedFolder, WhatAFolderLacksIsNamedInOneLine) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    for (const char* part : {"vqvae", "text_encoder", "tokenizer", "scheduler"}) {
      const auto copy = copy_of(fixture);
      fs::remove_all(copy / part);
      for (const auto& error :
           {error_of([&] { (void)import_checkpoint(copy); }), error_of([&] { (void)Pipeline::load(copy); })}) {
        EXPECT_NE(error.find(part), std::string::npos) << error;
        EXPECT_EQ(error.find('\n'), std::string::npos) << error;
      }
      fs::remove_all(copy);
    }
    const auto copy = copy_of(fixture);
    auto tensors = load_safetensors(copy / "transformer" / "diffusion_pytorch_model.safetensors");
    tensors.erase("mlm_layer.conv1.weight");
    save_safetensors(copy / "transformer" / "diffusion_pytorch_model.safetensors", tensors);
    EXPECT_NE(error_of([&] { (void)Pipeline::load(copy); }).find("missing: mlm_layer.conv1.weight"), std::string::npos);
    fs::remove_all(copy);
  }
}

TEST(AmusedFolder, KnownCellsStayAndPartsAreFilledByEverySchedule) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    auto pipeline = Pipeline::load(fixture.folder);
    const auto extent = pipeline.prior_network().grid;
    const auto codes = pipeline.prior().codebook_size();
    auto start = torch::arange(2 * extent.cells()).remainder(codes).view({2, extent.h, extent.w});
    start[0].slice(0, 0, extent.h / 2).fill_(codes);
    start[1].slice(1, 0, 1).fill_(codes);
    for (const char* schedule : {"by-task", "cosine", "linear"}) {
      SamplingChoice choice;
      choice.options.set("prompt", "a red bus")
          .set("sampler", "amused")
          .set("steps", 5)
          .set("masking_schedule", schedule);
      const auto filled = pipeline.fill(TokenGrid(start, codes), resolve(choice, pipeline)).grid.codes();
      EXPECT_EQ((filled == codes).sum().item<std::int64_t>(), 0) << schedule;
      const auto known = start != codes;
      EXPECT_TRUE(filled.masked_select(known).equal(start.masked_select(known))) << schedule;
    }
  }
}

TEST(AmusedFolder, LowPrecisionStaysNearFullPrecision) {
  TESSERA_FOR_EACH_CASE(fixture, "amused-pipeline") {
    SCOPED_TRACE(fixture.name());
    auto full = Pipeline::load(fixture.folder);
    const auto expected = first_logits(full, "a red bus");
    PipelineOptions options;
    options.dtype = "bfloat16";
    auto low = Pipeline::load(fixture.folder, options);
    const auto found = first_logits(low, "a red bus");
    // Guidance of ten multiplies what eight bits of mantissa lose.
    const double scale = 10, spread = expected.abs().max().item<double>();
    EXPECT_LT((found - expected).abs().max().item<double>(), 2 * scale * std::ldexp(1.0, -8) * spread);
  }
}

}  // namespace amused_folder_test
}  // namespace tessera
