/// The VQGAN of Unleashing Transformers against the numbers that the original computes.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "checkpoint/torch_archive.h"
#include "codec/codec.h"
#include "codec/diff_augment.h"
#include "codec/discriminator.h"
#include "import/importers.h"
#include "support/fixtures.h"

namespace tessera {
namespace unleashing_vqgan_parity_test {

using testing::FixtureCase;

struct Imported {
  Codec codec{nullptr};
  Discriminator discriminator{nullptr};
};

Imported import(const FixtureCase& fixture) {
  ImportOptions options;
  options.image_size = fixture.hyperparameters().at("img_size").get<std::int64_t>();
  const auto file = load_torch_archive(fixture.checkpoint()).tensors();
  const auto imported = import_unleashing_codec(file, options, fixture.name());
  auto codec_options = codec_options_from_json(imported.config);
  codec_options.beta = fixture.hyperparameters().value("beta", codec_options.beta);
  Imported result;
  result.codec = Codec(codec_options);
  result.codec->load(imported.tensors, fixture.name());
  result.codec->eval();
  if (imported.discriminator.empty()) return result;
  DiscriminatorOptions shape;
  shape.image_channels = fixture.hyperparameters().value("n_channels", 3);
  shape.base_channels = fixture.hyperparameters().at("ndf").get<std::int64_t>();
  shape.layers = fixture.hyperparameters().at("disc_layers").get<std::int64_t>();
  result.discriminator = Discriminator(shape);
  result.discriminator->load(imported.discriminator, fixture.name());
  result.discriminator->eval();
  return result;
}

torch::Tensor scalar(const torch::Tensor& value) {
  return value.reshape({1});
}

void expect_likelihood(const FixtureCase& fixture, Codec codec, const torch::Tensor& image,
                       const torch::Tensor& quantized) {
  const auto [mean, log_sigma] = codec->decoder->distribution(quantized);
  EXPECT_TRUE(fixture.matches("mu", mean));
  EXPECT_TRUE(fixture.matches("logsigma", log_sigma));
  const auto each = 0.5 * torch::exp(2 * torch::log(torch::abs(image - mean)) - 2 * log_sigma) + log_sigma +
                    0.5 * std::log(2 * std::numbers::pi);
  const auto nats = each.flatten(1).sum(1);
  EXPECT_TRUE(fixture.matches("nll_raw", nats));
  EXPECT_TRUE(fixture.matches("nll_bits_per_dim",
                              scalar(nats.mean() / std::numbers::ln2 / static_cast<double>(image[0].numel()))));
}

/// One training iteration as the original makes it: batch statistics, passes in the order fake, real, fake.
void expect_training_iteration(const FixtureCase& fixture, Codec codec, Discriminator discriminator,
                               const torch::Tensor& image) {
  codec->train();
  discriminator->train();
  const double maximum = fixture.hyperparameters().value("disc_weight_max", 1.0);
  const auto quantized = codec->quantizer->quantize(codec->latents(image), {});
  const auto reconstruction = codec->decode_latents(quantized.quantized);
  const auto l1 = (image - reconstruction).abs().mean();
  const auto generator_loss = -discriminator->forward(reconstruction).mean();
  const auto weight = adaptive_weight(l1, generator_loss, codec->decoder->last_layer(), maximum);
  EXPECT_TRUE(fixture.matches("train_iter_l1", scalar(l1)));
  EXPECT_TRUE(fixture.matches("train_iter_nll_loss", scalar(l1)));
  EXPECT_TRUE(fixture.matches("train_iter_g_loss", scalar(generator_loss)));
  EXPECT_TRUE(fixture.matches("train_iter_d_weight", scalar(weight)));
  EXPECT_TRUE(fixture.matches("train_iter_codebook_loss", scalar(quantized.loss)));
  EXPECT_TRUE(fixture.matches("train_iter_loss", scalar(l1 + weight * generator_loss + quantized.loss)));
  const auto real = discriminator->forward(image);
  const auto fake = discriminator->forward(reconstruction.detach());
  EXPECT_TRUE(fixture.matches("train_iter_d_loss", scalar(hinge_loss(real, fake))));
  const auto weights = discriminator->weights();
  const auto norm = weights.count("main.3.running_mean") ? std::string("main.3.") : std::string();
  ASSERT_FALSE(norm.empty());
  EXPECT_TRUE(fixture.matches("train_iter_disc_bn0_running_mean", weights.at(norm + "running_mean")));
  EXPECT_TRUE(fixture.matches("train_iter_disc_bn0_running_var", weights.at(norm + "running_var")));
  EXPECT_TRUE(
      fixture.matches("train_iter_disc_bn0_num_batches_tracked", scalar(weights.at(norm + "num_batches_tracked"))));
}

void expect_adversarial_terms(const FixtureCase& fixture, Codec codec, Discriminator discriminator,
                              const torch::Tensor& image, const torch::Tensor& reconstruction) {
  const double maximum = fixture.hyperparameters().value("disc_weight_max", 1.0);
  const double unclamped = 1e30;
  const auto real = discriminator->forward(image), fake = discriminator->forward(reconstruction);
  EXPECT_TRUE(fixture.matches("disc_logits_real", real));
  EXPECT_TRUE(fixture.matches("disc_logits_fake", fake));
  EXPECT_TRUE(fixture.matches("hinge_d_loss", scalar(hinge_loss(real, fake))));
  const auto l1 = (image - reconstruction).abs().mean(), generator_loss = -fake.mean();
  EXPECT_TRUE(fixture.matches("l1_loss", scalar(l1)));
  EXPECT_TRUE(fixture.matches("g_loss", scalar(generator_loss)));
  const auto last = codec->decoder->last_layer();
  EXPECT_TRUE(fixture.matches("last_layer_grad_l1", torch::autograd::grad({l1}, {last}, {}, true)[0]));
  EXPECT_TRUE(fixture.matches("last_layer_grad_g", torch::autograd::grad({generator_loss}, {last}, {}, true)[0]));
  EXPECT_TRUE(fixture.matches("d_weight_unclamped", scalar(adaptive_weight(l1, generator_loss, last, unclamped))));
  EXPECT_TRUE(fixture.matches("d_weight_clamped", scalar(adaptive_weight(l1, generator_loss, last, maximum))));
  if (!fixture.has("d_weight_alt_unclamped")) return;
  const auto small = generator_loss * fixture.hyperparameters().at("g_loss_scale_alt").get<double>();
  EXPECT_TRUE(fixture.matches("d_weight_alt_unclamped", scalar(adaptive_weight(l1, small, last, unclamped))));
  EXPECT_TRUE(fixture.matches("d_weight_alt_clamped", scalar(adaptive_weight(l1, small, last, maximum))));
}

TEST(Parity, UnleashingVqgan) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-vqgan") {
    SCOPED_TRACE(fixture.name());
    auto [codec, discriminator] = import(fixture);
    const auto image = fixture.tensor("image");
    auto latents = codec->latents(image);
    EXPECT_TRUE(fixture.matches("encoder_output", latents));
    const auto indices = codec->quantizer->codes(latents);
    EXPECT_TRUE(fixture.matches("code_indices", indices.flatten(1)));
    const auto quantized = codec->quantizer->embed(indices);
    EXPECT_TRUE(fixture.matches("quantized", quantized));
    const auto reconstruction = codec->decode_latents(quantized);
    EXPECT_TRUE(fixture.matches("reconstruction", reconstruction));
    EXPECT_TRUE(fixture.matches("perplexity",
                                torch::tensor({codebook_use(indices, codec->options().codebook_size).perplexity})));
    const auto rows = latents.detach().permute({0, 2, 3, 1}).flatten(0, 2);
    EXPECT_TRUE(fixture.matches(
        "mean_distance",
        scalar(
            torch::cdist(rows.to(torch::kFloat64), codec->quantizer->codebook().to(torch::kFloat64)).square().mean())));

    auto leaf = latents.detach().clone().requires_grad_(true);
    const auto pass = codec->quantizer->quantize(leaf, {});
    EXPECT_TRUE(fixture.matches("codebook_loss", scalar(pass.loss)));
    const auto gradients = torch::autograd::grad({pass.loss}, {leaf, codec->quantizer->codebook()});
    EXPECT_TRUE(fixture.matches("codebook_loss_grad_encoder_output", gradients[0]));
    EXPECT_TRUE(fixture.matches("codebook_loss_grad_embedding", gradients[1]));

    if (fixture.has("mu")) expect_likelihood(fixture, codec, image, quantized);
    ASSERT_TRUE(discriminator) << "the checkpoint holds a discriminator";
    expect_adversarial_terms(fixture, codec, discriminator, image, reconstruction);
    expect_training_iteration(fixture, codec, discriminator, image);
  }
}

TEST(Parity, UnleashingVqganGumbel) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-vqgan-gumbel") {
    SCOPED_TRACE(fixture.name());
    auto [codec, discriminator] = import(fixture);
    const torch::NoGradGuard no_grad;
    auto* gumbel = dynamic_cast<GumbelQuantizerImpl*>(codec->quantizer.get());
    ASSERT_NE(gumbel, nullptr);
    const auto latents = codec->latents(fixture.tensor("image"));
    EXPECT_TRUE(fixture.matches("encoder_output", latents));
    const auto logits = gumbel->logits(latents);
    EXPECT_TRUE(fixture.matches("quantizer_logits", logits));
    const auto noise = fixture.tensor("gumbel_noise");
    const auto noisy = (logits + noise).argmax(1);
    EXPECT_TRUE(fixture.matches("code_indices", noisy.flatten(1)));
    EXPECT_TRUE(fixture.matches("quantized", gumbel->embed(noisy)));
    EXPECT_TRUE(fixture.matches("reconstruction", codec->decode_latents(gumbel->embed(noisy))));
    const auto codes = gumbel->codes(latents);
    EXPECT_TRUE(fixture.matches("argmax_code_indices", codes.flatten(1)));
    EXPECT_TRUE(fixture.matches("argmax_reconstruction", codec->decode_latents(gumbel->embed(codes))));
    const double temperature = fixture.hyperparameters().value("temperature", 1.0);
    EXPECT_TRUE(fixture.matches("soft_quantized", gumbel->relax(logits, noise, temperature)));
    const auto kl = GumbelQuantizerImpl::kl_from_uniform(logits);
    EXPECT_TRUE(fixture.matches("kl_unweighted", scalar(kl)));
    EXPECT_TRUE(
        fixture.matches("kl_loss", scalar(kl * fixture.hyperparameters().at("gumbel_kl_weight").get<double>())));
  }
}

TEST(Parity, UnleashingDiffaug) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-diffaug") {
    SCOPED_TRACE(fixture.name());
    auto image = fixture.tensor("image").clone().requires_grad_(true);
    AugmentDraws draws{fixture.tensor("u_brightness"), fixture.tensor("u_saturation"), fixture.tensor("u_contrast"),
                       fixture.tensor("shift_rows"), fixture.tensor("shift_cols")};
    const auto brightened = augment_brightness(image, draws.brightness);
    EXPECT_TRUE(fixture.matches("after_brightness", brightened));
    const auto saturated = augment_saturation(brightened, draws.saturation);
    EXPECT_TRUE(fixture.matches("after_saturation", saturated));
    const auto contrasted = augment_contrast(saturated, draws.contrast);
    EXPECT_TRUE(fixture.matches("after_contrast", contrasted));
    EXPECT_TRUE(
        fixture.matches("after_translation", augment_translation(contrasted, draws.shift_rows, draws.shift_columns)));
    EXPECT_TRUE(fixture.matches("translation_only", augment_translation(image, draws.shift_rows, draws.shift_columns)));
    const auto output = diff_augment(image, draws);
    EXPECT_TRUE(fixture.matches("output", output));
    const auto gradient = torch::autograd::grad({(output * fixture.tensor("output_cotangent")).sum()}, {image})[0];
    EXPECT_TRUE(fixture.matches("input_gradient", gradient));
  }
}

}  // namespace unleashing_vqgan_parity_test
}  // namespace tessera
