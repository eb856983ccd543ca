#include "features/backbone.h"

#include <fmt/ostream.h>

#include <fstream>
#include <map>
#include <set>

#include "checkpoint/safetensors_bytes.h"
#include "checkpoint/sha256.h"
#include "features/embedded_networks.h"
#include "runtime/error.h"
#include "runtime/mapped_file.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using Kind = BackboneLayer::Kind;

/// LibTorch 1.13 has no gradient of its relu6 in two-byte types on CPUs; clamp()'s differs from it at 0 and 6 alone.
torch::Tensor relu6_of(const torch::Tensor& x) {
  return x.scalar_type() == torch::kFloat32 ? torch::relu6(x) : x.clamp(0, 6);
}

torch::Tensor activated(const torch::Tensor& x, BackboneLayer::Activation activation) {
  switch (activation) {
    case BackboneLayer::Activation::relu:
      return torch::relu(x);
    case BackboneLayer::Activation::relu6:
      return relu6_of(x);
    case BackboneLayer::Activation::none:
      break;
  }
  return x;
}

torch::Tensor per_channel(const std::array<double, 3>& values) {
  return torch::tensor({values[0], values[1], values[2]}, torch::kFloat32).view({1, 3, 1, 1});
}

std::string sha256_of(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

/// The norm's gradient is zero where all channels are (a square root of a sum would give NaN there).
torch::Tensor unit_channels(const torch::Tensor& map) {
  return map / (map.norm(2, {1}, true) + 1e-10);
}

/// The shipped networks: their name on the command line, their files' below networks/.
const std::map<std::string, std::string>& shipped_files() {
  static const std::map<std::string, std::string> files = {{"mobilenetv2", "mobilenetv2-features"},
                                                           {"squeezenet", "squeezenet1.1-features"}};
  return files;
}

}  // namespace

/// Takes tensors for layers, and remembers everything that does not fit.
class Backbone::Builder {
 public:
  explicit Builder(const TensorMap& tensors) : tensors_(tensors) {}

  /// out: channels of the result; 0: as many as the tensor has. groups: 1, or as many as the input has channels.
  Convolution take(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
                   std::int64_t groups = 1) {
    Convolution convolution;
    convolution.groups = groups;
    const auto given = find(name + ".weight");
    if (given.defined()) {
      const auto own = given.dim() > 0 ? std::max<std::int64_t>(given.size(0), 1) : 1;
      const std::vector<std::int64_t> expected = {out > 0 ? out : own, in / groups, kernel, kernel};
      if (fits(name + ".weight", given, expected) && !misfit_) convolution.weight = given.to(torch::kFloat32);
    }
    if (!convolution.weight.defined()) convolution.weight = torch::zeros({std::max<std::int64_t>(out, 1), 1, 1, 1});
    const auto bias = find(name + ".bias");
    if (bias.defined() && fits(name + ".bias", bias, {convolution.weight.size(0)}))
      convolution.bias = bias.to(torch::kFloat32);
    return convolution;
  }

  void finish(const std::string& where) {
    for (const auto& [name, tensor] : tensors_) {
      if (!used_.count(name)) wrong_.push_back(fmt::format("unexpected '{}'", printable(name)));
    }
    if (wrong_.empty()) return;
    const auto all = wrong_.size();
    constexpr std::size_t kShown = 12;
    if (all > kShown) wrong_.resize(kShown);
    fail("{}: {} tensors do not fit the layers: {}{}", where, all, fmt::join(wrong_, ", "),
         all > kShown ? fmt::format(" and {} more", all - kShown) : "");
  }

  /// After a misfit nothing that follows can be judged by its shape.
  bool misfit() const { return misfit_; }

 private:
  torch::Tensor find(const std::string& name) {
    const auto found = tensors_.find(name);
    used_.insert(name);
    if (found == tensors_.end()) {
      wrong_.push_back(fmt::format("missing '{}'", printable(name)));
      misfit_ = true;
      return {};
    }
    return found->second;
  }
  bool fits(const std::string& name, const torch::Tensor& given, const std::vector<std::int64_t>& expected) {
    if (misfit_) return true;
    const bool floating = given.is_floating_point();
    if (floating && given.sizes().vec() == expected) return true;
    wrong_.push_back(fmt::format("'{}' {}, expected {}{}", printable(name), fmt::streamed(given.sizes()),
                                 fmt::streamed(at::IntArrayRef(expected)), floating ? "" : " of a floating type"));
    misfit_ = true;
    return false;
  }

  const TensorMap& tensors_;
  std::set<std::string> used_;
  std::vector<std::string> wrong_;
  bool misfit_ = false;
};

Backbone::Backbone(BackboneDescription description, const TensorMap& tensors, const std::string& where,
                   Precision precision)
    : description_(std::move(description)), where_(where), precision_(precision) {
  mean_ = per_channel(description_.mean);
  deviation_ = per_channel(description_.deviation);
  Builder builder(tensors);
  for (const auto& layer : description_.layers) {
    std::vector<Convolution> own;
    const auto add = [&](const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
                         std::int64_t groups = 1) {
      own.push_back(builder.take(name, in, out, kernel, groups));
      return own.back().weight.size(0);
    };
    switch (layer.kind) {
      case Kind::conv:
        width_ = add(layer.name, width_, 0, layer.kernel);
        break;
      case Kind::fire: {
        const auto squeezed = add(layer.name + ".squeeze", width_, 0, 1);
        const auto ones = add(layer.name + ".expand1x1", squeezed, 0, 1);
        width_ = ones + add(layer.name + ".expand3x3", squeezed, 0, 3);
        break;
      }
      case Kind::inverted_residual: {
        const auto middle = width_ * layer.expand;
        if (layer.expand > 1) add(layer.name + ".expand", width_, middle, 1);
        add(layer.name + ".depthwise", middle, middle, 3, middle);
        add(layer.name + ".project", middle, layer.channels, 1);
        require(builder.misfit() || !layer.residual || layer.channels == width_,
                "{}: layer '{}' adds its input of {} channels to {}, expected as many", where, printable(layer.name),
                width_, layer.channels);
        width_ = layer.channels;
        break;
      }
      case Kind::max_pool:
      case Kind::global_average_pool:
        break;
    }
    convolutions_.push_back(std::move(own));
  }
  builder.finish(where);
}

torch::Tensor Backbone::apply(const Convolution& convolution, const torch::Tensor& x, std::int64_t stride,
                              std::int64_t padding) const {
  if (convolution.groups == 1) return conv2d(x, convolution.weight, convolution.bias, stride, padding, precision_);
  // A depthwise convolution is bound by memory: float32, in LibTorch's form.
  return torch::conv2d(x.to(torch::kFloat32), convolution.weight, convolution.bias, stride, padding, 1,
                       convolution.groups);
}

torch::Tensor Backbone::apply(std::size_t index, const torch::Tensor& x, std::vector<torch::Tensor>& taps) const {
  const auto& layer = description_.layers[index];
  const auto& own = convolutions_[index];
  switch (layer.kind) {
    case Kind::conv:
      return activated(apply(own[0], x, layer.stride, layer.padding), layer.activation);
    case Kind::max_pool:
      return torch::max_pool2d(x, layer.kernel, layer.stride, 0, 1, layer.ceil_mode);
    case Kind::fire: {
      const auto squeezed = torch::relu(apply(own[0], x, 1, 0));
      return torch::cat({torch::relu(apply(own[1], squeezed, 1, 0)), torch::relu(apply(own[2], squeezed, 1, 1))}, 1);
    }
    case Kind::inverted_residual: {
      const bool expands = layer.expand > 1;
      const auto middle = expands ? relu6_of(apply(own[0], x, 1, 0)) : x;
      if (layer.tap_after_expand >= 0) taps.push_back(middle.to(torch::kFloat32));
      const auto filtered = relu6_of(apply(own[expands ? 1 : 0], middle, layer.stride, 1));
      const auto projected = apply(own[expands ? 2 : 1], filtered, 1, 0);
      return layer.residual ? x + projected : projected;
    }
    case Kind::global_average_pool:
      break;  // the features are the mean over places in any case
  }
  return x;
}

Backbone::Output Backbone::run(const torch::Tensor& pictures, bool features) const {
  require(pictures.dim() == 4 && pictures.size(1) == 3 && pictures.is_floating_point(),
          "{}: pictures {}, expected [N, 3, H, W] of a floating type", description_.short_name(),
          fmt::streamed(pictures.sizes()));
  const auto smallest = description_.smallest_side();
  require(pictures.size(2) >= smallest && pictures.size(3) >= smallest,
          "{}: pictures of {}x{} pixels, expected at least {}x{}", description_.short_name(), pictures.size(3),
          pictures.size(2), smallest, smallest);
  auto x = (pictures - mean_) / deviation_;
  if (precision_ == Precision::float32) x = x.contiguous(torch::MemoryFormat::ChannelsLast);
  Output output;
  const auto taps = static_cast<std::size_t>(description_.taps());
  for (std::size_t i = 0; i < description_.layers.size(); ++i) {
    if (!features && output.taps.size() == taps) return output;
    x = apply(i, x, output.taps);
    if (description_.layers[i].tap >= 0) output.taps.push_back(x.to(torch::kFloat32));
  }
  if (features) output.features = x.to(torch::kFloat32).mean({2, 3});
  return output;
}

Backbone::Output Backbone::forward(const torch::Tensor& pictures) const {
  return run(pictures, true);
}

std::vector<torch::Tensor> Backbone::taps(const torch::Tensor& pictures) const {
  return run(pictures, false).taps;
}

void Backbone::to(torch::Device device) {
  mean_ = mean_.to(device);
  deviation_ = deviation_.to(device);
  for (auto& layer : convolutions_) {
    for (auto& convolution : layer) {
      convolution.weight = convolution.weight.to(device);
      convolution.bias = convolution.bias.to(device);
    }
  }
}

Backbone load_backbone(const std::filesystem::path& json, Precision precision) {
  const auto text = MappedFile::open(json);
  const auto description = parse_backbone_description(text->bytes(), json.string());
  const auto weights = json.parent_path() / description.file;
  require(std::filesystem::exists(weights), "{}: its weights '{}' are not beside it", json.string(),
          printable(description.file));
  const auto hash = sha256_of(MappedFile::open(weights)->bytes());
  require(description.sha256.empty() || description.sha256 == hash, "{}: SHA-256 {}, expected {} as {} states",
          weights.string(), hash, printable(description.sha256), json.filename().string());
  Backbone backbone(description, load_safetensors(weights), weights.string(), precision);
  backbone.set_hash(hash);
  return backbone;
}

std::vector<std::string> shipped_backbone_names() {
  std::vector<std::string> names;
  for (const auto& [name, file] : shipped_files()) names.push_back(name);
  return names;
}

Backbone shipped_backbone(const std::string& name, Precision precision) {
  const auto found = shipped_files().find(name);
  require(found != shipped_files().end(), "feature network '{}': expected one of {}", printable(name),
          fmt::join(shipped_backbone_names(), ", "));
  const auto json = found->second + ".json";
  const auto description = parse_backbone_description(embedded_network(json), json);
  const auto weights = embedded_network(description.file);
  Backbone backbone(description, safetensors_of(weights, description.file), description.file, precision);
  backbone.set_hash(sha256_of(weights));
  return backbone;
}

std::vector<torch::Tensor> tap_distances(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  require(a.size() == b.size() && !a.empty(), "feature distance: {} and {} maps, expected as many of each", a.size(),
          b.size());
  std::vector<torch::Tensor> parts;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto difference = unit_channels(a[i]) - unit_channels(b[i]);
    parts.push_back(difference.square().sum(1).flatten(1).mean(1));
  }
  return parts;
}

torch::Tensor tap_distance(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  return torch::stack(tap_distances(a, b)).sum(0);
}

}  // namespace tessera
