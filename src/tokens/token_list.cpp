#include "tokens/token_list.h"

#include <algorithm>

namespace tessera {

torch::Tensor to_codes(std::span<const std::int32_t> tokens, std::int64_t h, std::int64_t w, std::int64_t mask_token) {
  auto codes = torch::empty({h, w}, torch::kInt64);
  std::transform(tokens.begin(), tokens.end(), codes.data_ptr<std::int64_t>(),
                 [&](std::int32_t code) { return code < 0 ? mask_token : std::int64_t{code}; });
  return codes;
}

std::vector<std::int32_t> from_codes(const torch::Tensor& codes, std::int64_t mask_token) {
  const auto flat = codes.to(torch::kCPU).contiguous();
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(flat.numel()));
  const auto* code = flat.data_ptr<std::int64_t>();
  std::transform(code, code + flat.numel(), tokens.begin(),
                 [&](std::int64_t each) { return each == mask_token ? -1 : static_cast<std::int32_t>(each); });
  return tokens;
}

}  // namespace tessera
