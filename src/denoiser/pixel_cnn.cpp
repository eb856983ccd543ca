#include "denoiser/pixel_cnn.h"

#include <cmath>

#include "denoiser/guided_decoding.h"
#include "denoiser/guided_denoiser.h"
#include "denoiser/networks.h"
#include "nn/layers.h"
#include "runtime/error.h"

namespace tessera {
namespace {

void require_in(const char* field, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  require(value >= lowest && value <= highest, "pixelcnn: {} is {}, expected {} to {}", field, value, lowest, highest);
}

/// tanh of one half of the channels times the sigmoid of the other (equation 2).
torch::Tensor gated(const torch::Tensor& x) {
  const auto parts = x.chunk(2, 1);
  return torch::tanh(parts[0]) * torch::sigmoid(parts[1]);
}

torch::Tensor padded(const torch::Tensor& x, std::int64_t left, std::int64_t right, std::int64_t top) {
  return torch::constant_pad_nd(x, {left, right, top, 0}, 0);
}

}  // namespace

void PixelCnnOptions::validate() const {
  require_in("codebook_size", codebook_size, 1, 1 << 20);
  require_in("grid height", grid.h, 1, 1 << 16);
  require_in("grid width", grid.w, 1, (1 << 16) / grid.h);
  require_in("layers", layers, 1, 512);
  require_in("width", width, 1, 1 << 14);
  require_in("hidden", hidden, 1, 1 << 16);
  require_in("first_kernel", first_kernel, 3, 63);
  require_in("kernel", kernel, 3, 63);
  require(first_kernel % 2 == 1 && kernel % 2 == 1, "pixelcnn: kernels of {} and {} cells, expected odd ones",
          first_kernel, kernel);
  require_in("classes", classes, 0, 1 << 20);
  require(dropout >= 0 && dropout < 1, "pixelcnn: dropout is {}, expected 0 <= dropout < 1", dropout);
}

nlohmann::json PixelCnnOptions::to_config() const {
  return {{"_class_name", "TesseraPixelCnn"},
          {"tessera",
           {{"format", 1},
            {"codebook_size", codebook_size},
            {"grid", {grid.h, grid.w}},
            {"layers", layers},
            {"width", width},
            {"hidden", hidden},
            {"first_kernel", first_kernel},
            {"kernel", kernel},
            {"classes", classes},
            {"dropout", dropout}}}};
}

PixelCnnOptions PixelCnnOptions::from_config(const nlohmann::json& config) {
  PixelCnnOptions options;
  try {
    const auto& own = config.at("tessera");
    const auto format = own.at("format").get<std::int64_t>();
    require(format == 1, "pixelcnn config: format {}, expected 1", format);
    options.codebook_size = own.at("codebook_size").get<std::int64_t>();
    const auto& grid = own.at("grid");
    require(grid.is_array() && grid.size() == 2, "pixelcnn config: grid is {}, expected [h, w]", grid.dump());
    options.grid = {grid[0].get<std::int64_t>(), grid[1].get<std::int64_t>()};
    options.layers = own.at("layers").get<std::int64_t>();
    options.width = own.at("width").get<std::int64_t>();
    options.hidden = own.at("hidden").get<std::int64_t>();
    options.first_kernel = own.at("first_kernel").get<std::int64_t>();
    options.kernel = own.at("kernel").get<std::int64_t>();
    options.classes = own.value("classes", std::int64_t{0});
    options.dropout = own.value("dropout", 0.0);
  } catch (const nlohmann::json::exception& error) {
    fail("pixelcnn config: {}", error.what());
  }
  options.validate();
  return options;
}

PixelCnnImpl::PixelCnnImpl(const PixelCnnOptions& options) : options_(options) {
  options_.validate();
  const auto width = options_.width;
  const auto tokens = holder_of("token_embedding.weight");
  embedding_ = tokens.first->register_parameter(tokens.second, new_parameter({options_.codebook_size, width}));
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    const auto reached = reach(static_cast<std::size_t>(i));
    const auto own = i > 0 ? 1 : 0;  // the cell's own place, which the first layer must not see
    const auto name = fmt::format("layers.{}.", i);
    auto& layer = layers_.emplace_back();
    layer.vertical = add_convolution(name + "vertical", 2 * width, width, reached + own, 2 * reached + 1);
    layer.horizontal = add_convolution(name + "horizontal", 2 * width, width, 1, reached + own);
    layer.link = add_convolution(name + "link", 2 * width, 2 * width, 1, 1);
    layer.output = add_convolution(name + "output", width, width, 1, 1);
    if (options_.classes == 0) continue;
    const auto classes = holder_of(name + "class_embedding.weight");
    layer.classes = classes.first->register_parameter(classes.second, new_parameter({options_.classes + 1, 2 * width}));
  }
  hidden_ = add_convolution("hidden", options_.hidden, width, 1, 1);
  head_ = add_convolution("head", options_.codebook_size, options_.hidden, 1, 1);
}

PixelCnnImpl::Convolution PixelCnnImpl::add_convolution(const std::string& name, std::int64_t out, std::int64_t in,
                                                        std::int64_t rows, std::int64_t columns) {
  const auto weight = holder_of(name + ".weight");
  Convolution convolution;
  convolution.weight = weight.first->register_parameter("weight", new_parameter({out, in, rows, columns}));
  convolution.bias = weight.first->register_parameter("bias", new_parameter({out}));
  return convolution;
}

void PixelCnnImpl::initialise(Seed seed) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  for (auto& item : named_parameters()) {
    auto& value = item.value();
    if (value.dim() == 4) value.normal_(0, std::sqrt(1.0 / static_cast<double>(value[0].numel())), generator);
    if (value.dim() == 2) value.normal_(0, item.key().starts_with("layers.") ? 0.02 : 1, generator);
  }
}

void PixelCnnImpl::load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading) {
  load(tensors, where, [&](const torch::Tensor& parameter, const torch::Tensor& given) {
    load_parameter(parameter, given, loading, nullptr);
  });
}

void PixelCnnImpl::seed_dropout(std::uint64_t bits) {
  if (!dropout_generator_) dropout_generator_ = at::globalContext().defaultGenerator(device()).clone();
  dropout_generator_->set_current_seed(bits);
}

torch::Tensor PixelCnnImpl::told(const Layer& layer, const torch::Tensor& classes) const {
  if (options_.classes == 0) return torch::zeros({1, 1, 1, 1}, embedding_.options());
  const auto labels = classes.to(device());
  const auto rows = torch::where(labels < 0, options_.classes, labels);
  return torch::embedding(layer.classes, rows).unsqueeze(2).unsqueeze(3);
}

torch::Tensor PixelCnnImpl::head_of(const torch::Tensor& x) const {
  return head_(torch::relu(hidden_(torch::relu(x))));
}

torch::Tensor PixelCnnImpl::forward(const torch::Tensor& given, const torch::Tensor& classes) {
  const auto [h, w] = options_.grid;
  require(given.dim() == 2 && given.size(1) == h * w && given.scalar_type() == torch::kInt64,
          "pixelcnn: tokens are {}, expected [N, {}] int64", shape_text(given), h * w);
  const auto labels = classes.defined() ? classes : torch::full({given.size(0)}, -1, torch::kInt64);
  require(labels.size(0) == given.size(0) &&
              labels.max().item<std::int64_t>() < std::max<std::int64_t>(1, options_.classes),
          "pixelcnn: expected a class label below {} for each of {} rows", options_.classes, given.size(0));
  const auto tokens = given.to(device()).view({-1, h, w});
  auto above = torch::embedding(embedding_, tokens).permute({0, 3, 1, 2}).contiguous();  // [N, C, h, w]
  auto before = above;
  const double dropout = is_training() ? options_.dropout : 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto& layer = layers_[i];
    const auto r = reach(i);
    const auto own = told(layer, labels);
    // The last row of what the first layer's kernel covers would see the grid's last one: it has no place.
    const auto seen = i == 0 ? padded(above, r, r, r).slice(2, 0, h + r - 1) : padded(above, r, r, r);
    const auto left = i == 0 ? padded(before, r, 0, 0).slice(3, 0, w + r - 1) : padded(before, r, 0, 0);
    const auto vertical = layer.vertical(seen);
    above = gated(vertical + own);
    const auto horizontal =
        drop_out(gated(layer.horizontal(left) + layer.link(vertical) + own), dropout, dropout_generator_);
    before = i == 0 ? layer.output(horizontal) : before + layer.output(horizontal);
  }
  return head_of(before).flatten(2).transpose(1, 2);
}

/// What the stacks hold of the cells so far: the vertical one is computed a row at a time, before its first cell.
class PixelCnnDecoding : public Decoding {
 public:
  PixelCnnDecoding(std::shared_ptr<PixelCnnImpl> network, std::int64_t count, const torch::Tensor& classes)
      : network_(std::move(network)), count_(count) {
    const torch::NoGradGuard no_grad;
    const auto& options = network_->options_;
    const auto [h, w] = options.grid;
    for (std::size_t i = 0; i < network_->layers_.size(); ++i) {
      const auto r = network_->reach(i);
      told_.push_back(network_->told(network_->layers_[i], classes));
      above_.push_back(torch::zeros({count, options.width, h + r, w + 2 * r}, network_->embedding_.options()));
      before_.push_back(torch::zeros({count, options.width, 1, w + r}, network_->embedding_.options()));
    }
    links_.resize(network_->layers_.size());
  }

  torch::Tensor advance(const torch::Tensor& previous) override {
    const torch::NoGradGuard no_grad;
    const auto [h, w] = network_->options_.grid;
    require(cell_ < h * w, "pixelcnn: asked for cell {}, expected at most {}", cell_, h * w - 1);
    require(previous.defined() == (cell_ > 0), "pixelcnn: decoding needs the previous tokens from the second cell on");
    if (previous.defined()) put(previous);
    const auto row = cell_ / w, column = cell_ % w;
    if (column == 0) begin_row(row);
    torch::Tensor x;  // [N, C, 1, 1]
    for (std::size_t i = 0; i < network_->layers_.size(); ++i) {
      const auto& layer = network_->layers_[i];
      const auto r = network_->reach(i);
      auto& before = before_[i];
      if (i > 0) before.slice(3, r + column, r + column + 1).copy_(x);
      const auto window = before.slice(3, column, column + layer.horizontal.weight.size(3));
      const auto mixed = layer.horizontal(window) + links_[i].slice(3, column, column + 1) + told_[i];
      const auto out = layer.output(gated(mixed));
      x = i == 0 ? out : x + out;
    }
    ++cell_;
    return network_->head_of(x).flatten(1);
  }

 private:
  /// The tokens of the cell before this one.
  void put(const torch::Tensor& previous) {
    const auto w = network_->options_.grid.w;
    require(previous.dim() == 1 && previous.size(0) == count_, "pixelcnn: previous tokens are {}, expected [{}]",
            shape_text(previous), count_);
    const auto row = (cell_ - 1) / w, column = (cell_ - 1) % w, r = network_->reach(0);
    const auto x = torch::embedding(network_->embedding_, previous.to(network_->device())).unsqueeze(2);  // [N, C, 1]
    above_[0].select(2, r + row).slice(2, r + column, r + column + 1).copy_(x);
    before_[0].select(2, 0).slice(2, r + column, r + column + 1).copy_(x);
  }

  /// The vertical stack of a row, of which all rows above are known.
  void begin_row(std::int64_t row) {
    const auto w = network_->options_.grid.w;
    for (std::size_t i = 0; i < network_->layers_.size(); ++i) {
      const auto& layer = network_->layers_[i];
      const auto vertical = layer.vertical(above_[i].slice(2, row, row + layer.vertical.weight.size(2)));
      links_[i] = layer.link(vertical);
      before_[i].zero_();
      if (i + 1 == network_->layers_.size()) break;
      const auto r = network_->reach(i + 1);
      above_[i + 1].slice(2, r + row, r + row + 1).slice(3, r, r + w).copy_(gated(vertical + told_[i]));
    }
  }

  std::shared_ptr<PixelCnnImpl> network_;
  std::int64_t count_;
  std::int64_t cell_ = 0;
  std::vector<torch::Tensor> told_;
  std::vector<torch::Tensor> above_;   // a layer: what its vertical kernels read, padded: [N, C, h + r, w + 2 r]
  std::vector<torch::Tensor> before_;  // a layer: what its horizontal kernels read of the row: [N, C, 1, w + r]
  std::vector<torch::Tensor> links_;   // a layer: what the row's cells get of the vertical stack, [N, 2C, 1, w]
};

namespace {

class PixelCnnEvaluator : public Evaluator {
 public:
  PixelCnnEvaluator(std::shared_ptr<PixelCnnImpl> network, std::vector<Condition> conditions)
      : network_(std::move(network)), conditions_(std::move(conditions)) {}

  torch::Tensor logits(const Look&) override {
    fail("pixelcnn: it sees the cells before alone, expected a bidirectional network");
  }

  std::unique_ptr<Decoding> decode(std::int64_t count, const std::vector<std::int64_t>& conditions) override {
    auto rows = rows_to_decode(conditions_, count, conditions);
    auto inner = std::make_unique<PixelCnnDecoding>(network_, static_cast<std::int64_t>(rows.conditions.size()),
                                                    rows.classes(conditions_));
    return with_guidance(std::move(inner), std::move(rows));
  }

  torch::Tensor logits_in_order(const torch::Tensor& tokens, std::int64_t first) override {
    DecodedRows rows;
    for (std::int64_t n = 0; n < tokens.size(0); ++n)
      rows.conditions.push_back(conditions_.size() == 1 ? 0 : first + n);
    rows.told = rows.conditions.size();
    return network_->forward(tokens, rows.classes(conditions_));
  }

 private:
  std::shared_ptr<PixelCnnImpl> network_;
  std::vector<Condition> conditions_;  // at least one
};

NetworkFacts facts_of_pixel_cnn(const nlohmann::json& config) {
  const auto options = PixelCnnOptions::from_config(config);
  NetworkFacts facts;
  facts.codebook_size = options.codebook_size;
  facts.grid = options.grid;
  facts.layers = options.layers;
  facts.heads = 1;
  facts.width = options.width;
  facts.classes = options.classes;
  facts.autoregressive = true;
  return facts;
}

/// Convolutions compute in float32, whatever precision is asked for.
std::shared_ptr<Denoiser> load_pixel_cnn(const NetworkInput& input) {
  const auto options = PixelCnnOptions::from_config(input.config);
  match_parameters(input.tensors, pixel_cnn_shapes(options), input.where);
  const UnsetParameters unset;
  PixelCnn network(options);
  // A float16 or bfloat16 file's weights are copied: there is no product here that could take them as they are.
  network->load_weights(input.tensors, input.where,
                        input.loading == WeightLoading::share_halves ? WeightLoading::share : input.loading);
  network->eval();
  network->to(input.device);
  return network.ptr();
}

}  // namespace

std::unique_ptr<Evaluator> PixelCnnImpl::begin(const std::vector<Condition>& conditions) {
  auto own = conditions.empty() ? std::vector<Condition>{Condition{}} : conditions;
  for (const auto& condition : own) check_condition(condition, options_.classes, 0);
  return std::make_unique<PixelCnnEvaluator>(std::static_pointer_cast<PixelCnnImpl>(shared_from_this()),
                                             std::move(own));
}

ShapeMap pixel_cnn_shapes(const PixelCnnOptions& options) {
  const ShapesOnly shapes_only;
  return shapes_of(*PixelCnn(options));
}

NetworkEntry pixel_cnn_network() {
  return {"pixelcnn", "masked convolutions over the cells before; takes a class", "TesseraPixelCnn", facts_of_pixel_cnn,
          load_pixel_cnn};
}

}  // namespace tessera
