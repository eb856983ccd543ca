#include <algorithm>

#include "diffusion/processes.h"
#include "diffusion/structured.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kNeighbours = 8;

std::shared_ptr<const Process> make_nearest_embedding(const ProcessInput& input) {
  require(input.codebook.defined(), "{}: the nearest-embedding process needs a codebook", input.where);
  return std::make_shared<NearestEmbeddingProcess>(input.codebook, input.steps,
                                                   std::min<std::int64_t>(kNeighbours, input.codes - 1));
}

}  // namespace

ProcessEntry nearest_embedding_process() {
  return {"nearest-embedding", "codes become near ones by their codebook rows", false, make_nearest_embedding};
}

}  // namespace tessera
