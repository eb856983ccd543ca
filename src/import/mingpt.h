/// The names of minGPT's tensors, which several projects took over: Unleashing Transformers, Taming Transformers.
#pragma once

#include "checkpoint/tensor_mapping.h"

namespace tessera {

/// The source of a tensor of our transformer (denoiser/transformer.h) under minGPT's names. prefix: before all of
/// these.
TensorSource mingpt_source(const std::string& prefix, const std::string& native, const Shape& shape);

}  // namespace tessera
