/// One categorical draw from a row of logits by inverse CDF, with temperature and truncation.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera {

struct DrawOptions {
  double temperature = 1;  // >= 0: logits are divided by it; 0 takes the most probable token
  std::int64_t top_k = 0;  // keep the k most probable tokens (of equal ones the lower first); 0 disables
  double top_p = 1;        // in (0, 1]: keep the fewest most probable tokens whose mass reaches it; 1 disables
                           // (Holtzman et al., arXiv:1904.09751)
  double typical_p = 1;  // in (0, 1]: of what is left, keep the tokens whose surprise is nearest to the entropy, until
                         // their mass reaches it; 1 disables (Meister et al., arXiv:2202.00666)
};

struct TokenDraw {
  std::int64_t token = 0;
  double log_probability = 0;  // of that token under softmax(logits), before temperature and truncation; nats
};

/// Reusable memory of draw_token; one per thread.
struct DrawScratch {
  std::vector<double> mass;              // [K]
  std::vector<std::int64_t> candidates;  // at most K
};

/// In: logits [codes], uniform in (0, 1). The sums are in double and run over the codes in ascending order, so that the
/// result is a function of its arguments alone. Throws Error where the logits hold NaN or no finite value.
TokenDraw draw_token(const float* logits, std::int64_t codes, double uniform, const DrawOptions& options,
                     DrawScratch& scratch);

}  // namespace tessera
