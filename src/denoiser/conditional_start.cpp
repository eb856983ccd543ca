#include "denoiser/conditional_start.h"

#include <utility>

#include "runtime/error.h"

namespace tessera {
namespace {

void require_same(const char* what, std::int64_t found, std::int64_t expected, const std::string& where) {
  require(found == expected, "{}: a prior of {} {}, expected {}", where, what, found, expected);
}

}  // namespace

void start_from_prior(ConditionalTransformer& network, const TransformerOptions& prior, const TensorMap& tensors,
                      const std::string& where) {
  const auto& options = network->options();
  require(prior.kind == TransformerKind::bidirectional, "{}: an autoregressive prior, expected an absorbing one",
          where);
  require_same("rows", prior.grid.h, options.grid.h, where);
  require_same("columns", prior.grid.w, options.grid.w, where);
  require_same("layers", prior.layers, options.layers, where);
  require_same("heads", prior.heads, options.heads, where);
  require_same("width", prior.width, options.width(), where);
  require(options.exact_gelu && options.hidden_factor == 4,
          "{}: a prior's weights fit networks with exact GELU and an MLP of four times the width", where);

  const torch::NoGradGuard no_grad;
  Transformer checked(prior, Initialisation::none);
  checked->load(tensors, where);  // names and shapes
  const auto source = checked->state();
  auto target = network->state();  // shares storage with the network
  const auto put = [&](const std::string& name, const torch::Tensor& value) { target.at(name).copy_(value); };

  const bool same_codes = prior.codebook_size == options.codebook_size;
  if (same_codes) put("latent_image_embedding.emb.weight", source.at("token_embedding.weight"));
  const auto positions = source.at("position_embedding").view({prior.grid.h, prior.grid.w, prior.width});
  const auto rows = positions.mean(1);
  put("latent_image_embedding.height_emb.weight", rows);
  put("latent_image_embedding.width_emb.weight", positions.mean(0) - rows.mean(0));
  for (std::int64_t i = 0; i < prior.layers; ++i) {
    const auto from = fmt::format("blocks.{}.", i), to = fmt::format("transformer_blocks.{}.", i);
    const auto copy = [&](const std::string& a, const std::string& b) {
      for (const auto* part : {".weight", ".bias"}) put(to + b + part, source.at(from + a + part));
    };
    // LayerNorm(x) (1 + scale) + shift with a constant scale and shift is the plain norm.
    const auto adapt = [&](const std::string& a, const std::string& b) {
      target.at(to + b + ".linear.weight").zero_();
      put(to + b + ".linear.bias", torch::cat({source.at(from + a + ".weight") - 1, source.at(from + a + ".bias")}));
    };
    adapt("norm1", "norm1");
    for (const auto* part : {"weight", "bias"}) {
      const auto qkv = source.at(fmt::format("{}attention.qkv.{}", from, part)).chunk(3);
      put(fmt::format("{}attn1.to_q.{}", to, part), qkv[0]);
      put(fmt::format("{}attn1.to_k.{}", to, part), qkv[1]);
      put(fmt::format("{}attn1.to_v.{}", to, part), qkv[2]);
    }
    copy("attention.output", "attn1.to_out.0");
    if (options.condition_width > 0) {
      target.at(to + "attn2.to_out.0.weight").zero_();
      target.at(to + "attn2.to_out.0.bias").zero_();
    }
    if (options.classes > 0) {
      adapt("norm2", "norm3");
    } else {
      copy("norm2", "norm3");
    }
    copy("mlp.up", "ff.net.0.proj");
    copy("mlp.down", "ff.net.2");
  }
  put("norm_out.weight", source.at("final_norm.weight"));
  put("norm_out.bias", source.at("final_norm.bias"));
  if (same_codes) {
    put("out.weight", source.at("head.weight"));
    target.at("out.bias").zero_();
  }
}

}  // namespace tessera
