/// Networks, fills and pictures on a GPU beside the CPU's.
#include <cmath>

#include "device/gpu.h"
#include "pipeline/pipeline.h"
#include "support/plain_denoiser.h"
#include "support/tiny_network.h"
#include "training/adam.h"

namespace tessera {
namespace gpu_inference_test {

using testing::Gpu;

std::string model(const std::string& name) {
  return std::string(TESSERA_SOURCE_DIR) + "/models/" + name;
}

PipelineOptions on_device(const std::string& dtype) {
  PipelineOptions options;
  options.dtype = dtype;
  options.device = testing::device_name();
  return options;
}

/// Mean over rows of KL(p || q), nats.
double divergence(const torch::Tensor& p_logits, const torch::Tensor& q_logits) {
  const auto p = torch::log_softmax(p_logits.to(torch::kCPU, torch::kFloat64), -1);
  const auto q = torch::log_softmax(q_logits.to(torch::kCPU, torch::kFloat64), -1);
  return (p.exp() * (p - q)).sum(-1).mean().item<double>();
}

double equal_share(const torch::Tensor& a, const torch::Tensor& b) {
  return a.eq(b).to(torch::kFloat64).mean().item<double>();
}

/// Grids of which about half the cells are MASK.
torch::Tensor half_masked(std::int64_t count, std::int64_t cells, std::int64_t codes, std::uint64_t seed) {
  torch::manual_seed(seed);
  const auto tokens = torch::randint(0, codes, {count, cells}, torch::kInt64);
  return tokens.masked_fill(torch::rand({count, cells}) < 0.5, codes);
}

class ShippedModel : public Gpu {};

TEST_F(ShippedModel, LogitsAreTheCpusInFloat32) {
  const torch::NoGradGuard no_grad;
  auto here = Pipeline::load(model("emoji64")), there = Pipeline::load(model("emoji64"), on_device("float32"));
  const auto cells = here.prior_network().grid.cells(), codes = here.prior_network().codebook_size;
  // The later calls replay what the third recorded: other tokens must still give other logits.
  for (std::uint64_t call = 0; call < 6; ++call) {
    const auto tokens = half_masked(4, cells, codes, call);
    const auto rows = (tokens.flatten() == codes).nonzero().flatten();
    const auto expected = testing::logits_of(here.prior(), tokens, rows);
    const auto got = testing::logits_of(there.prior(), tokens, rows);
    EXPECT_EQ(got.device().type(), device().type());
    EXPECT_LT((got.to(torch::kCPU) - expected).abs().max().item<double>(), 1e-3) << "call " << call;
    EXPECT_LT(std::abs(divergence(expected, got)), 1e-8) << "call " << call;
  }
}

TEST_F(ShippedModel, RoundingCostsAsLittleAsOnTheCpu) {
  const torch::NoGradGuard no_grad;
  auto here = Pipeline::load(model("emoji64"));
  const auto cells = here.prior_network().grid.cells(), codes = here.prior_network().codebook_size;
  for (const auto precision : low_precisions()) {
    auto there = Pipeline::load(model("emoji64"), on_device(name_of(precision)));
    EXPECT_EQ(there.dtype(), name_of(precision));
    double sum = 0, agree = 0;
    for (std::uint64_t call = 0; call < 5; ++call) {
      const auto tokens = half_masked(8, cells, codes, call);
      const auto rows = (tokens.flatten() == codes).nonzero().flatten();
      const auto expected = testing::logits_of(here.prior(), tokens, rows);
      const auto got = testing::logits_of(there.prior(), tokens, rows).to(torch::kCPU);
      sum += divergence(expected, got) / 5;
      agree += equal_share(expected.argmax(-1), got.argmax(-1)) / 5;
    }
    RecordProperty(name_of(precision) + "_kl", std::to_string(sum));
    std::printf("%s: KL to float32 %.2e nats a cell, the same best code %.2f %%\n", name_of(precision).c_str(), sum,
                100 * agree);
    EXPECT_LT(sum, 3e-4) << name_of(precision);
    EXPECT_GT(agree, 0.98) << name_of(precision);
  }
}

TEST_F(ShippedModel, TheCodecIsTheCpus) {
  auto here = Pipeline::load(model("emoji64"));
  FillOptions options;
  options.steps = 16;
  const auto made = here.generate(6, options);
  auto precisions = low_precisions();
  precisions.push_back(Precision::float32);
  for (const auto precision : precisions) {
    SCOPED_TRACE(name_of(precision));
    const bool exact = precision == Precision::float32;
    auto there = Pipeline::load(model("emoji64"), on_device(name_of(precision)));
    // The later calls replay what the third recorded: other pictures must still give other results.
    for (std::int64_t call = 0; call < 5; ++call) {
      const auto pictures = made.images.narrow(0, call, 2);
      const auto expected = here.codec()->encode(pictures);
      EXPECT_GT(equal_share(there.codec()->encode(pictures).codes(), expected.codes()), exact ? 0.99 : 0.9);
      const auto decoded = here.codec()->decode(expected).to(torch::kFloat64);
      const auto error = (there.codec()->decode(expected).to(torch::kFloat64) - decoded).abs();
      EXPECT_LE(error.max().item<double>(), exact ? 1 : 40);
      EXPECT_LT(error.square().mean().item<double>(), exact ? 0.1 : 2.5);  // 44 dB
    }
  }
}

TEST_F(ShippedModel, FillsAreTheCpusButForRounding) {
  auto here = Pipeline::load(model("emoji64")), there = Pipeline::load(model("emoji64"), on_device("float32"));
  for (const char* sampler : {"ancestral", "confidence"}) {
    FillOptions options;
    options.sampler = sampler;
    options.steps = 24;
    options.seed = 7;
    const auto expected = here.generate(6, options), got = there.generate(6, options);
    EXPECT_GT(equal_share(got.grid.codes(), expected.grid.codes()), 0.95) << sampler;
  }
}

TEST_F(ShippedModel, APictureDoesNotDependOnItsNeighbours) {
  auto there = Pipeline::load(model("emoji64"), on_device("auto"));
  FillOptions options;
  options.steps = 12;
  options.seed = 3;
  const auto several = there.generate(5, options).grid.codes();
  options.first_image = 3;
  const auto one = there.generate(1, options).grid.codes();
  EXPECT_TRUE(one[0].equal(several[3]));
  EXPECT_TRUE(there.generate(1, options).grid.codes().equal(one)) << "twice the same";
}

TEST_F(ShippedModel, TextGuidesThePictures) {
  const torch::NoGradGuard no_grad;
  auto here = Pipeline::load(model("emoji64-text")),
       there = Pipeline::load(model("emoji64-text"), on_device("float32"));
  PromptOptions prompt;
  prompt.prompt = "red heart";
  prompt.guidance_scale = 3;
  const std::vector<Condition> told_here = {here.condition_for(prompt)}, told_there = {there.condition_for(prompt)};
  const auto at_home = here.prior().begin(told_here), on_it = there.prior().begin(told_there);
  const auto cells = here.prior_network().grid.cells(), codes = here.prior_network().codebook_size;
  for (std::uint64_t call = 0; call < 5; ++call) {
    const auto tokens = half_masked(2, cells, codes, call);
    const auto rows = (tokens.flatten() == codes).nonzero().flatten();
    const Look look{tokens, rows,
                    torch::full({1}, here.total_steps() / 2 + static_cast<std::int64_t>(call), torch::kInt64)};
    EXPECT_LT(std::abs(divergence(at_home->logits(look), on_it->logits(look))), 1e-6) << "call " << call;
  }
  FillOptions options;
  options.steps = 12;
  auto options_there = options;
  options.conditions = told_here;
  options_there.conditions = told_there;
  EXPECT_GT(equal_share(there.generate(3, options_there).grid.codes(), here.generate(3, options).grid.codes()), 0.9);
}

TEST_F(ShippedModel, CanvasesAreFilledThroughWindows) {
  auto here = Pipeline::load(model("emoji64")), there = Pipeline::load(model("emoji64"), on_device("float32"));
  const auto window = here.prior_network().grid;
  const auto empty = TokenGrid::all_masked(1, {window.h, 2 * window.w}, here.prior_network().codebook_size);
  FillOptions options;
  options.steps = 10;
  const auto expected = here.fill(empty, options, {}), got = there.fill(empty, options, {});
  EXPECT_EQ(got.grid.masked_cells(), 0);
  EXPECT_GT(equal_share(got.grid.codes(), expected.grid.codes()), 0.9);
}

TEST_F(Gpu, OtherWeightsMeanAnotherRecording) {
  const torch::NoGradGuard no_grad;
  const auto network = [](Seed seed) {
    return testing::tiny_network(TransformerKind::bidirectional, 17, {3, 4}, 2, seed);
  };
  auto first = network(1), second = network(2), there = network(1);
  there->to(device());
  const auto tokens = half_masked(2, 12, 17, 0);
  const auto near = [&](Transformer& expected, double most) {
    const auto want = expected->forward(tokens), got = there->forward(tokens).to(torch::kCPU);
    return (want - got).norm().item<double>() < most * want.norm().item<double>();
  };
  for (int call = 0; call < 5; ++call) EXPECT_TRUE(near(first, 1e-4)) << call;
  there->load(second->state(), "second");
  for (int call = 0; call < 5; ++call) EXPECT_TRUE(near(second, 1e-4)) << call;
  there->set_precision(Precision::bfloat16);
  for (int call = 0; call < 5; ++call) EXPECT_TRUE(near(second, 0.03)) << call;
  EXPECT_FALSE(near(first, 0.1));
  there->set_precision(Precision::float32);
  for (int call = 0; call < 5; ++call) EXPECT_TRUE(near(second, 1e-4)) << call;
  // A step of training writes the weights where they are.
  Adam adam(there->named_parameters(), {});
  for (auto& parameter : there->parameters()) parameter.mutable_grad() = torch::ones_like(parameter);
  adam.step(0.05);
  second->load(there->state(), "after the step");
  for (int call = 0; call < 5; ++call) EXPECT_TRUE(near(second, 1e-4)) << call;
  EXPECT_FALSE(near(first, 0.1));
}

TEST_F(Gpu, AttentionIsTheFormula) {
  const torch::NoGradGuard no_grad;
  for (const std::int64_t heads : {1, 4}) {
    for (const bool causal : {false, true}) {
      torch::manual_seed(5);
      const auto qkv = torch::randn({3, 50, 3 * 128});
      const auto expected = attention_qkv(qkv.to(torch::kFloat64), heads, 0.2, causal, Precision::float32);
      for (const auto precision : low_precisions()) {
        const auto low = qkv.to(type_of_activations(precision, torch::kFloat32)).to(device());
        const auto got = attention_qkv(low, heads, 0.2, causal, precision).to(torch::kCPU, torch::kFloat64);
        EXPECT_LT((got - expected).norm().item<double>(), 0.02 * expected.norm().item<double>())
            << name_of(precision) << ", " << heads << " heads, causal " << causal;
        const auto parts = low.chunk(3, 2);
        const auto apart = attention(parts[0].narrow(1, 0, 20), parts[1], parts[2], heads, 0.2, causal, precision);
        const auto part = attention(parts[0].narrow(1, 0, 20).to(torch::kCPU, torch::kFloat64),
                                    parts[1].to(torch::kCPU, torch::kFloat64),
                                    parts[2].to(torch::kCPU, torch::kFloat64), heads, 0.2, causal, Precision::float32);
        EXPECT_LT((apart.to(torch::kCPU, torch::kFloat64) - part).norm().item<double>(),
                  0.02 * part.norm().item<double>());
      }
    }
  }
}

TEST_F(Gpu, LayersAreTheFormulasInEveryPrecision) {
  torch::manual_seed(6);
  const auto x = torch::randn({2, 64, 9, 9}), weight = torch::randn({32, 64, 3, 3}) / 24, bias = torch::randn({32});
  const auto rows = torch::randn({40, 64}), matrix = torch::randn({48, 64}) / 8, offset = torch::randn({48}),
             residual = torch::randn({40, 48}), scale = torch::rand({64}) + 0.5, shift = torch::randn({64});
  const auto wide = [](const torch::Tensor& t) { return t.to(torch::kCPU, torch::kFloat64); };
  const auto on = [&](const torch::Tensor& t) { return t.to(device()); };
  const auto close = [&](const torch::Tensor& got, const torch::Tensor& expected, double most) {
    return (wide(got) - wide(expected)).norm().item<double>() < most * wide(expected).norm().item<double>();
  };
  auto precisions = low_precisions();
  precisions.push_back(Precision::float32);
  for (const auto precision : precisions) {
    SCOPED_TRACE(name_of(precision));
    const double most = precision == Precision::float32 ? 2e-5 : 0.01;
    const torch::NoGradGuard no_grad;
    PackedWeight kept_kernel, kept_matrix;
    for (int call = 0; call < 2; ++call) {  // the second reads what the first kept
      const Padding uneven{0, 0, 1, 1};
      EXPECT_TRUE(close(conv2d(on(x), on(weight), on(bias), 2, uneven, precision, &kept_kernel),
                        conv2d(wide(x), wide(weight), wide(bias), 2, uneven, Precision::float32), most));
      EXPECT_TRUE(close(linear_add(on(rows), on(matrix), on(offset), on(residual), precision, &kept_matrix),
                        wide(residual) + torch::linear(wide(rows), wide(matrix), wide(offset)), most));
      EXPECT_TRUE(close(linear_gelu(on(rows), on(matrix), on(offset), precision, &kept_matrix),
                        torch::gelu(torch::linear(wide(rows), wide(matrix), wide(offset))), most));
      const auto logits = linear_unrounded(on(rows), on(matrix), on(offset), precision, &kept_matrix);
      EXPECT_EQ(logits.scalar_type(), torch::kFloat32);
      EXPECT_TRUE(close(logits, torch::linear(wide(rows), wide(matrix), wide(offset)), most));
    }
    EXPECT_TRUE(close(layer_norm(on(rows), on(scale), on(shift), 1e-5, precision),
                      torch::layer_norm(wide(rows), {64}, wide(scale), wide(shift), 1e-5), most));
    EXPECT_TRUE(close(group_norm_swish(on(x), on(scale), on(shift), 32, 1e-6, true),
                      torch::silu(torch::group_norm(wide(x), 32, wide(scale), wide(shift), 1e-6)), most));
  }
}

}  // namespace gpu_inference_test
}  // namespace tessera
