/// Pictures to the input of InceptionV3, in the three conventions that published figures use. They differ in the resize
/// and in the value range; figures of different conventions must not be compared (Parmar et al., "On aliased resizing
/// and surprising subtleties in GAN evaluation", arXiv:2104.11222).
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

namespace tessera {

enum class InceptionInput {
  pytorch_fid,     // byte/255, bilinear, half-pixel centres, not antialiased; 2x - 1
  torch_fidelity,  // byte, bilinear on TensorFlow 1's grid (source = i * in / 299), not antialiased; (x - 128) / 128
  clean_fid,       // byte as float, Pillow's antialiased bicubic, clipped to 0..255, not rounded; (x - 128) / 128
};

/// "pytorch-fid" | "torch-fidelity" | "clean-fid". Throws UsageError listing these.
InceptionInput inception_input_from(const std::string& name);
std::string name_of(InceptionInput convention);
std::vector<std::string> inception_input_names();

/// In: bytes [N, 3, H, W] uint8. Out: [N, 3, 299, 299] float32. The aspect ratio is not kept, nothing is cropped.
torch::Tensor inception_input(const torch::Tensor& bytes, InceptionInput convention);

}  // namespace tessera
