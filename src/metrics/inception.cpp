#include "metrics/inception.h"

#include <cmath>

#include "checkpoint/torch_archive.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kBatchNormEpsilon = 1e-3;
constexpr std::int64_t kClasses = 1008, kFeatures = 2048;

/// One convolution unit of the graph.
struct UnitShape {
  std::string name;
  std::int64_t out, in, height, width, stride;
  bool padded;  // "same" padding; otherwise none
};

using UnitShapes = std::vector<UnitShape>;

void add_mixed5(UnitShapes& units, const std::string& block, std::int64_t in, std::int64_t pooled) {
  units.push_back({block + ".branch1x1", 64, in, 1, 1, 1, true});
  units.push_back({block + ".branch5x5_1", 48, in, 1, 1, 1, true});
  units.push_back({block + ".branch5x5_2", 64, 48, 5, 5, 1, true});
  units.push_back({block + ".branch3x3dbl_1", 64, in, 1, 1, 1, true});
  units.push_back({block + ".branch3x3dbl_2", 96, 64, 3, 3, 1, true});
  units.push_back({block + ".branch3x3dbl_3", 96, 96, 3, 3, 1, true});
  units.push_back({block + ".branch_pool", pooled, in, 1, 1, 1, true});
}

void add_mixed6(UnitShapes& units, const std::string& block, std::int64_t inner) {
  units.push_back({block + ".branch1x1", 192, 768, 1, 1, 1, true});
  units.push_back({block + ".branch7x7_1", inner, 768, 1, 1, 1, true});
  units.push_back({block + ".branch7x7_2", inner, inner, 1, 7, 1, true});
  units.push_back({block + ".branch7x7_3", 192, inner, 7, 1, 1, true});
  units.push_back({block + ".branch7x7dbl_1", inner, 768, 1, 1, 1, true});
  units.push_back({block + ".branch7x7dbl_2", inner, inner, 7, 1, 1, true});
  units.push_back({block + ".branch7x7dbl_3", inner, inner, 1, 7, 1, true});
  units.push_back({block + ".branch7x7dbl_4", inner, inner, 7, 1, 1, true});
  units.push_back({block + ".branch7x7dbl_5", 192, inner, 1, 7, 1, true});
  units.push_back({block + ".branch_pool", 192, 768, 1, 1, 1, true});
}

void add_mixed7(UnitShapes& units, const std::string& block, std::int64_t in) {
  units.push_back({block + ".branch1x1", 320, in, 1, 1, 1, true});
  units.push_back({block + ".branch3x3_1", 384, in, 1, 1, 1, true});
  units.push_back({block + ".branch3x3_2a", 384, 384, 1, 3, 1, true});
  units.push_back({block + ".branch3x3_2b", 384, 384, 3, 1, 1, true});
  units.push_back({block + ".branch3x3dbl_1", 448, in, 1, 1, 1, true});
  units.push_back({block + ".branch3x3dbl_2", 384, 448, 3, 3, 1, true});
  units.push_back({block + ".branch3x3dbl_3a", 384, 384, 1, 3, 1, true});
  units.push_back({block + ".branch3x3dbl_3b", 384, 384, 3, 1, 1, true});
  units.push_back({block + ".branch_pool", 192, in, 1, 1, 1, true});
}

const UnitShapes& unit_shapes() {
  static const UnitShapes all = [] {
    UnitShapes units = {{"Conv2d_1a_3x3", 32, 3, 3, 3, 2, false},
                        {"Conv2d_2a_3x3", 32, 32, 3, 3, 1, false},
                        {"Conv2d_2b_3x3", 64, 32, 3, 3, 1, true},
                        {"Conv2d_3b_1x1", 80, 64, 1, 1, 1, true},
                        {"Conv2d_4a_3x3", 192, 80, 3, 3, 1, false}};
    add_mixed5(units, "Mixed_5b", 192, 32);
    add_mixed5(units, "Mixed_5c", 256, 64);
    add_mixed5(units, "Mixed_5d", 288, 64);
    units.push_back({"Mixed_6a.branch3x3", 384, 288, 3, 3, 2, false});
    units.push_back({"Mixed_6a.branch3x3dbl_1", 64, 288, 1, 1, 1, true});
    units.push_back({"Mixed_6a.branch3x3dbl_2", 96, 64, 3, 3, 1, true});
    units.push_back({"Mixed_6a.branch3x3dbl_3", 96, 96, 3, 3, 2, false});
    add_mixed6(units, "Mixed_6b", 128);
    add_mixed6(units, "Mixed_6c", 160);
    add_mixed6(units, "Mixed_6d", 160);
    add_mixed6(units, "Mixed_6e", 192);
    units.push_back({"Mixed_7a.branch3x3_1", 192, 768, 1, 1, 1, true});
    units.push_back({"Mixed_7a.branch3x3_2", 320, 192, 3, 3, 2, false});
    units.push_back({"Mixed_7a.branch7x7x3_1", 192, 768, 1, 1, 1, true});
    units.push_back({"Mixed_7a.branch7x7x3_2", 192, 192, 1, 7, 1, true});
    units.push_back({"Mixed_7a.branch7x7x3_3", 192, 192, 7, 1, 1, true});
    units.push_back({"Mixed_7a.branch7x7x3_4", 192, 192, 3, 3, 2, false});
    add_mixed7(units, "Mixed_7b", 1280);
    add_mixed7(units, "Mixed_7c", 2048);
    return units;
  }();
  return all;
}

/// 3x3, stride 1, padding 1, the padding not counted.
torch::Tensor average_pool(const torch::Tensor& x) {
  return torch::avg_pool2d(x, 3, 1, 1, false, false);
}
torch::Tensor halving_pool(const torch::Tensor& x) {
  return torch::max_pool2d(x, 3, 2);
}
torch::Tensor over_positions(const torch::Tensor& x) {
  return x.mean({2, 3});
}

}  // namespace

ShapeMap inception_parameter_shapes() {
  ShapeMap shapes = {{"fc.weight", {kClasses, kFeatures}}, {"fc.bias", {kClasses}}};
  for (const auto& unit : unit_shapes()) {
    shapes[unit.name + ".conv.weight"] = {unit.out, unit.in, unit.height, unit.width};
    for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
      shapes[unit.name + ".bn." + part] = {unit.out};
    }
  }
  return shapes;
}

InceptionV3::InceptionV3(const TensorMap& tensors, const std::string& where) {
  TensorMap used;
  for (const auto& [name, tensor] : tensors) {
    const std::string counter = ".bn.num_batches_tracked";
    const bool counts =
        name.ends_with(counter) && tensors.count(name.substr(0, name.size() - counter.size()) + ".conv.weight") > 0;
    if (!counts) used.emplace(name, tensor);
  }
  match_parameters(used, inception_parameter_shapes(), where);
  for (const auto& shape : unit_shapes()) {
    const auto part = [&](const char* name) { return used.at(shape.name + name).to(torch::kFloat64); };
    const auto scale = part(".bn.weight") / (part(".bn.running_var") + kBatchNormEpsilon).sqrt();
    Unit unit;
    unit.weight = (part(".conv.weight") * scale.view({-1, 1, 1, 1})).to(torch::kFloat32);
    unit.bias = (part(".bn.bias") - part(".bn.running_mean") * scale).to(torch::kFloat32);
    require(unit.weight.isfinite().all().item<bool>() && unit.bias.isfinite().all().item<bool>(),
            "{}: the weights of '{}' are not finite", where, shape.name);
    unit.stride = shape.stride;
    unit.padding =
        shape.padded ? std::vector<std::int64_t>{shape.height / 2, shape.width / 2} : std::vector<std::int64_t>{0, 0};
    units_.emplace(shape.name, std::move(unit));
  }
  head_weight_ = used.at("fc.weight").to(torch::kFloat32);
  head_bias_ = used.at("fc.bias").to(torch::kFloat32);
}

torch::Tensor InceptionV3::unit(const std::string& name, const torch::Tensor& x) const {
  const auto& unit = units_.at(name);
  const auto y = torch::conv2d(x, unit.weight, unit.bias, unit.stride, unit.padding).relu_();
  if (observer) observer(name, y);
  return y;
}

torch::Tensor InceptionV3::chain(const std::string& block, const std::vector<std::string>& units,
                                 torch::Tensor x) const {
  for (const auto& name : units) x = unit(block + "." + name, x);
  return x;
}

torch::Tensor InceptionV3::mixed5(const std::string& block, const torch::Tensor& x) const {
  return torch::cat({chain(block, {"branch1x1"}, x), chain(block, {"branch5x5_1", "branch5x5_2"}, x),
                     chain(block, {"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}, x),
                     chain(block, {"branch_pool"}, average_pool(x))},
                    1);
}

torch::Tensor InceptionV3::mixed6(const std::string& block, const torch::Tensor& x) const {
  return torch::cat(
      {chain(block, {"branch1x1"}, x), chain(block, {"branch7x7_1", "branch7x7_2", "branch7x7_3"}, x),
       chain(block, {"branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"}, x),
       chain(block, {"branch_pool"}, average_pool(x))},
      1);
}

torch::Tensor InceptionV3::mixed7(const std::string& block, const torch::Tensor& x, bool max_pool) const {
  const auto three = chain(block, {"branch3x3_1"}, x);
  const auto twice = chain(block, {"branch3x3dbl_1", "branch3x3dbl_2"}, x);
  const auto pooled = max_pool ? torch::max_pool2d(x, 3, 1, 1) : average_pool(x);
  return torch::cat({chain(block, {"branch1x1"}, x), chain(block, {"branch3x3_2a"}, three),
                     chain(block, {"branch3x3_2b"}, three), chain(block, {"branch3x3dbl_3a"}, twice),
                     chain(block, {"branch3x3dbl_3b"}, twice), chain(block, {"branch_pool"}, pooled)},
                    1);
}

InceptionOutput InceptionV3::forward(const torch::Tensor& input) const {
  const torch::NoGradGuard no_grad;
  require(input.dim() == 4 && input.size(1) == 3 && input.scalar_type() == torch::kFloat32,
          "InceptionV3: expected float32 [N, 3, 299, 299]");
  InceptionOutput output;
  auto x = unit("Conv2d_2b_3x3", unit("Conv2d_2a_3x3", unit("Conv2d_1a_3x3", input)));
  x = halving_pool(x);
  output.block0 = over_positions(x);
  x = halving_pool(unit("Conv2d_4a_3x3", unit("Conv2d_3b_1x1", x)));
  output.block1 = over_positions(x);
  x = mixed5("Mixed_5d", mixed5("Mixed_5c", mixed5("Mixed_5b", x)));
  x = torch::cat({chain("Mixed_6a", {"branch3x3"}, x),
                  chain("Mixed_6a", {"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}, x), halving_pool(x)},
                 1);
  x = mixed6("Mixed_6e", mixed6("Mixed_6d", mixed6("Mixed_6c", mixed6("Mixed_6b", x))));
  output.block2 = over_positions(x);
  x = torch::cat(
      {chain("Mixed_7a", {"branch3x3_1", "branch3x3_2"}, x),
       chain("Mixed_7a", {"branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"}, x), halving_pool(x)},
      1);
  x = mixed7("Mixed_7c", mixed7("Mixed_7b", x, false), true);
  output.features = over_positions(x);
  return output;
}

torch::Tensor InceptionV3::logits(const torch::Tensor& features, bool with_bias) const {
  const auto products = torch::mm(features, head_weight_.t());
  return with_bias ? products + head_bias_ : products;
}

InceptionV3 load_inception(const std::filesystem::path& file) {
  const auto where =
      fmt::format("{} (expected the InceptionV3 of pt_inception-2015-12-05-6726825d.pth)", file.string());
  const auto tensors = looks_like_torch_archive(file) ? load_torch_archive(file).tensors() : load_safetensors(file);
  return {tensors, where};
}

}  // namespace tessera
