/// What a feature network is, as its JSON file says it: preprocessing, layers in order, which maps are taken ("taps").
/// The file is untrusted: an unknown layer kind, an unknown key or a value out of range is an Error that names it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// One entry of "layers". Kinds:
///  - conv: kernel x kernel convolution, then ReLU or ReLU6 where asked for;
///  - maxpool;
///  - fire (arXiv:1602.07360): s = relu(squeeze 1x1 x), cat(relu(expand1x1 s), relu(expand3x3 s));
///  - inverted residual (arXiv:1801.04381): relu6(expand 1x1), relu6(depthwise 3x3), project 1x1, added to x where
///    `residual`;
///  - global average pool: the mean over places. Last, if there at all.
struct BackboneLayer {
  enum class Kind { conv, max_pool, fire, inverted_residual, global_average_pool };
  enum class Activation { none, relu, relu6 };

  Kind kind = Kind::conv;
  std::string name;         // prefix of its tensors
  std::int64_t kernel = 1;  // conv, maxpool: pixels a side
  std::int64_t stride = 1;
  std::int64_t padding = 0;                  // conv: zeros on each side
  bool ceil_mode = false;                    // maxpool: a last window may hang over the edge
  Activation activation = Activation::none;  // conv
  std::int64_t expand = 1;                   // inverted residual: width of the middle over that of the input
  std::int64_t channels = 0;                 // inverted residual: width of the result
  bool residual = false;                     // inverted residual: the input is added
  std::int64_t tap = -1;                     // number of the map taken after this layer; -1: none
  std::int64_t tap_after_expand = -1;        // inverted residual: the same of the map after `expand`

  /// The side of the map that comes of a map of this side; 0: the layer does not fit in it.
  std::int64_t side_after(std::int64_t side) const;
};

struct BackboneDescription {
  std::string name;                                               // as figures name it
  std::string file;                                               // of the weights, beside the JSON
  std::string sha256;                                             // of that file; empty: not stated
  std::array<double, 3> mean = {0, 0, 0}, deviation = {1, 1, 1};  // of R, G, B in [0, 1]
  std::int64_t judge_size =
      0;  // pixels a side that pictures are resized to before they are judged; 0: left as they are
  std::vector<BackboneLayer> layers;

  /// Maps taken.
  std::int64_t taps() const;
  /// The smallest picture that every layer fits in, pixels a side.
  std::int64_t smallest_side() const;
  /// The name up to its first comma: "SqueezeNet 1.1".
  std::string short_name() const;
};

/// In: the JSON's text; where, for errors. Keys of the whole that describe nothing (sources, licence) are passed over,
/// keys of a layer are not.
BackboneDescription parse_backbone_description(std::string_view json, const std::string& where);

}  // namespace tessera
