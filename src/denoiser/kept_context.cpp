#include "denoiser/kept_context.h"

#include "runtime/error.h"

namespace tessera {

torch::Tensor ContextPass::taken(const torch::Tensor& x) const {
  return is_partial() ? x.index_select(1, places_) : x;
}

torch::Tensor ContextPass::rows(const torch::Tensor& flat, std::int64_t places) const {
  if (!is_partial()) return flat;
  auto index = torch::full({places}, -1, places_.options());
  index.index_copy_(0, places_, torch::arange(places_.size(0), places_.options()));
  return torch::div(flat, places, "floor") * places_.size(0) +
         index.index_select(0, torch::remainder(flat, places).to(index.device()));
}

torch::Tensor ContextPass::attend(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                  std::int64_t heads, double scale, Precision precision) {
  if (!is_partial()) {
    // Of one tensor that holds queries, too, the copy is what stays.
    kept_.keys.push_back(k.stride(1) > 2 * k.size(2) ? k.clone() : k);
    kept_.values.push_back(v.stride(1) > 2 * v.size(2) ? v.clone() : v);
    return attention(q, k, v, heads, scale, false, precision);
  }
  auto &keys = kept_.keys.at(attention_), &values = kept_.values.at(attention_);
  ++attention_;
  const auto old_keys = keys.index_select(1, places_), old_values = values.index_select(1, places_);
  keys.index_copy_(1, places_, k);
  values.index_copy_(1, places_, v);
  const auto context = attention(q, keys, values, heads, scale, false, precision);
  keys.index_copy_(1, places_, old_keys);
  values.index_copy_(1, places_, old_values);
  return context;
}

torch::Tensor ContextPass::whole(const torch::Tensor& x) {
  if (is_partial()) return kept_.hidden.index_copy(1, places_, x);
  kept_.hidden = x;
  return x;
}

std::optional<ContextPass> KeptContexts::pass_of(const Look& look, std::optional<ContextUse> use,
                                                 const std::vector<std::int64_t>& evaluations,
                                                 const ContextPlaces& as) {
  if (!use) return std::nullopt;
  require(look.tokens.size(0) == 1, "denoiser: a look at {} images that keeps keys and values, expected one",
          look.tokens.size(0));
  const auto tokens = look.tokens[0].to(torch::kCPU);
  auto& kept = kept_[{look.key.seed, look.key.image}];
  const bool fits = kept.tokens.defined() && kept.tokens.sizes() == tokens.sizes() && kept.evaluations == evaluations;
  if (*use == ContextUse::keep || !fits) {
    kept = {tokens.clone(), evaluations, {}, {}, {}};
    return ContextPass(kept);
  }
  const auto cells = tokens.size(0);
  auto computed = tokens != kept.tokens;
  computed.index_fill_(0, look.rows.to(torch::kCPU), true);
  if (as.side > 1) {
    computed = computed.view({cells / as.width / as.side, as.side, as.width / as.side, as.side})
                   .permute({0, 2, 1, 3})
                   .flatten(2)
                   .any(2)
                   .flatten();
  }
  auto places = computed.nonzero().squeeze(1);
  const auto all = computed.size(0);
  if (places.size(0) == all) return std::nullopt;
  if (as.others > 0) places = torch::cat({places, torch::arange(all, all + as.others)});
  return ContextPass(kept, places.to(look.tokens.device()));
}

}  // namespace tessera
