#include "denoiser/transformer.h"

#include <fmt/ranges.h>

#include <cmath>

#include "checkpoint/named_module.h"
#include "denoiser/guided_decoding.h"
#include "denoiser/guided_denoiser.h"
#include "denoiser/networks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// A module that only groups others under a name.
class GroupImpl : public torch::nn::Module {};

}  // namespace

BlockImpl::BlockImpl(const TransformerOptions& options)
    : heads_(options.heads),
      norm1_(options.width),
      norm2_(options.width),
      qkv_(options.width, 3 * options.width),
      output_(options.width, options.width),
      up_(options.width, 4 * options.width),
      down_(4 * options.width, options.width) {
  register_module("norm1", norm1_);
  const auto attention = register_module("attention", std::make_shared<GroupImpl>());
  attention->register_module("qkv", qkv_);
  attention->register_module("output", output_);
  register_module("norm2", norm2_);
  const auto mlp = register_module("mlp", std::make_shared<GroupImpl>());
  mlp->register_module("up", up_);
  mlp->register_module("down", down_);
}

torch::Tensor BlockImpl::forward(const torch::Tensor& x, std::int64_t count, const torch::Tensor& rows, bool causal,
                                 double dropout, const std::optional<torch::Generator>& generator,
                                 const SparseAttention* sparse, ContextPass* kept) {
  const auto cells = x.size(0) / count, width = x.size(1);
  const auto qkv = qkv_->forward(norm1_->forward(x)).view({count, cells, 3 * width});
  torch::Tensor context;
  const auto head_width = width / heads_;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_width));
  if (sparse) {
    context = (*sparse)(qkv, heads_, scale, qkv_->precision, dropout, generator);
  } else if (kept) {
    const auto parts = qkv.chunk(3, 2);
    context = kept->attend(parts[0], parts[1], parts[2], heads_, scale, qkv_->precision);
  } else if (dropout <= 0) {
    context = attention_qkv(qkv, heads_, scale, causal, qkv_->precision);
  } else {
    const auto parts = qkv.view({count, cells, 3, heads_, -1}).permute({2, 0, 3, 1, 4}).unbind(0);  // [N, H, L, D]
    context = attend(parts[0], parts[1], parts[2], causal, dropout, generator);
  }
  context = context.view({count * cells, width});
  auto residual = x;
  if (rows.defined()) {
    context = context.index_select(0, rows);
    residual = residual.index_select(0, rows);
  }
  if (dropout <= 0) {
    const auto middle = output_->forward_add_onto(context, residual);
    return down_->forward_add_onto(up_->forward_gelu(norm2_->forward(middle)), middle);
  }
  const auto middle = residual + drop_out(output_->forward(context), dropout, generator);
  return middle + drop_out(down_->forward(up_->forward_gelu(norm2_->forward(middle))), dropout, generator);
}

torch::Tensor BlockImpl::advance(const torch::Tensor& x, torch::Tensor& keys, torch::Tensor& values,
                                 std::int64_t position, std::int64_t cells) {
  const auto count = x.size(0), width = x.size(1);
  const auto qkv = qkv_->forward(norm1_->forward(x)).view({count, 3, heads_, 1, width / heads_});
  if (!keys.defined()) {  // in the products' own precision
    keys = torch::empty({count, heads_, cells, width / heads_}, qkv.options());
    values = torch::empty_like(keys);
  }
  keys.narrow(2, position, 1).copy_(qkv.select(1, 1));
  values.narrow(2, position, 1).copy_(qkv.select(1, 2));
  const auto context =
      attend(qkv.select(1, 0), keys.narrow(2, 0, position + 1), values.narrow(2, 0, position + 1), false);
  const auto middle = output_->forward_add_onto(context.view({count, width}), x);
  return down_->forward_add_onto(up_->forward_gelu(norm2_->forward(middle)), middle);
}

TransformerBlock BlockImpl::parameters_of_block() {
  const auto norm = [](LayerNorm& layer) { return TransformerBlock::Norm{layer->weight, layer->bias}; };
  const auto dense = [](Linear& layer) { return TransformerBlock::Dense{layer->weight, layer->bias, layer->packed()}; };
  return {norm(norm1_), dense(qkv_), dense(output_), norm(norm2_), dense(up_), dense(down_)};
}

TransformerImpl::TransformerImpl(TransformerOptions options, Initialisation initialisation, Seed seed)
    : options_(options) {
  options_.validate();
  const auto vocabulary = options_.codebook_size + (is_autoregressive() ? 0 : 1);
  const auto embedding = register_module("token_embedding", std::make_shared<GroupImpl>());
  token_embedding_ = embedding->register_parameter("weight", new_parameter({vocabulary, options_.width}));
  position_embedding_ =
      register_parameter("position_embedding", new_parameter({options_.grid.cells(), options_.width}));
  if (is_autoregressive() && !options_.class_starts)
    start_token_ = register_parameter("start_token", new_parameter({options_.width}));
  if (options_.classes > 0) {
    const auto classes = register_module("class_embedding", std::make_shared<GroupImpl>());
    class_embedding_ = classes->register_parameter("weight", new_parameter({options_.classes + 1, options_.width}));
  }
  if (options_.condition_width > 0) {
    condition_projection_ = register_module("condition_projection", Linear(options_.condition_width, options_.width));
    condition_positions_ =
        register_parameter("condition_positions", new_parameter({options_.condition_length, options_.width}));
  }
  const auto blocks = register_module("blocks", std::make_shared<GroupImpl>());
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    blocks_.push_back(blocks->register_module(std::to_string(i), Block(options_)));
  }
  final_norm_ = register_module("final_norm", LayerNorm(options_.width));
  head_ = register_module("head", Linear(options_.width, options_.codebook_size, false));
  if (options_.attention_block > 0) {
    for (const auto pattern : {SparsePattern::local, SparsePattern::strided})
      sparse_.emplace_back(options_.grid.h, options_.grid.w, options_.attention_block, pattern);
  }
  initialise(initialisation, seed);
}

void TransformerImpl::initialise(Initialisation initialisation, Seed seed) {
  if (initialisation == Initialisation::none) return;
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  const bool small = initialisation == Initialisation::small_normal;
  token_embedding_.normal_(0, small ? 0.02 : 1.0, generator);
  if (class_embedding_.defined()) class_embedding_.normal_(0, small ? 0.02 : 1.0, generator);
  for (const auto& module : modules(false)) {
    auto* linear = module->as<LinearImpl>();
    if (!linear) continue;
    if (small) {
      linear->weight.normal_(0, 0.02, generator);
      continue;  // biases are zero
    }
    const double bound = 1.0 / std::sqrt(static_cast<double>(linear->weight.size(1)));
    linear->weight.uniform_(-bound, bound, generator);
    if (linear->bias.defined()) linear->bias.uniform_(-bound, bound, generator);
  }
}

torch::Tensor TransformerImpl::prefix_of(const ConditionBatch& told, std::int64_t count) {
  if (options_.classes > 0) {
    require(told.classes.defined() && told.classes.size(0) == count &&
                told.classes.max().item<std::int64_t>() < options_.classes,
            "transformer: expected a class label below {} for each of {} rows", options_.classes, count);
    const auto labels = told.classes.to(device());
    return torch::embedding(class_embedding_, torch::where(labels < 0, options_.classes, labels)).unsqueeze(1);
  }
  if (options_.condition_width == 0) return {};
  require(told.states.defined() && told.states.dim() == 3 && told.states.size(1) == options_.condition_length &&
              told.states.size(2) == options_.condition_width,
          "transformer: expected text states [N, {}, {}]", options_.condition_length, options_.condition_width);
  const auto states = condition_projection_->forward(told.states.to(device())) + condition_positions_;
  return states.expand({count, -1, -1});
}

torch::Tensor TransformerImpl::run(const torch::Tensor& given, const torch::Tensor& rows, const torch::Tensor& prefix) {
  require(given.dim() == 2 && given.scalar_type() == torch::kInt64,
          "transformer: tokens are {} {}, expected [N, cells] int64", shape_text(given),
          c10::toString(given.scalar_type()));
  const auto tokens = given.to(device());
  const auto cells = tokens.size(1) + (is_autoregressive() ? 1 : 0);
  require(cells <= options_.grid.cells(), "transformer: {} tokens a row, expected at most {}", tokens.size(1),
          options_.grid.cells() - (is_autoregressive() ? 1 : 0));
  require(sparse_.empty() || cells == options_.grid.cells(), "transformer: {} tokens a row, expected {}", cells,
          options_.grid.cells());
  const bool otherwise = is_training() || prefix.defined() || tokens.numel() > kMostRecordedCells;
  if (!recorded_.applies(token_embedding_, otherwise)) return evaluate(tokens, rows, prefix);
  // Every cell, so that one recording serves whatever cells are asked for.
  const auto all = recorded_({tokens}, {token_embedding_}, [this](const auto& on) { return evaluate(on[0], {}, {}); });
  return rows.defined() ? all.index_select(0, rows) : all;
}

torch::Tensor TransformerImpl::evaluate(const torch::Tensor& tokens, const torch::Tensor& rows,
                                        const torch::Tensor& prefix, ContextPass* context) {
  const auto count = tokens.size(0), cells = tokens.size(1) + (is_autoregressive() ? 1 : 0);
  auto x = torch::embedding(token_embedding_, tokens);  // [N, P, C]
  require(prefix.defined() || !options_.class_starts, "transformer: expected a class for each row");
  if (is_autoregressive()) {
    const auto start = options_.class_starts ? prefix : start_token_.expand({count, 1, options_.width});
    x = torch::cat({start.to(x.scalar_type()), x}, 1);
  }
  x = x + position_embedding_.narrow(0, 0, cells);
  auto wanted = rows;
  if (prefix.defined() && !options_.class_starts) {  // it has no logits
    const auto before = prefix.size(1);
    const auto asked = rows.defined() ? rows : torch::arange(count * cells, tokens.options());
    wanted = asked + (torch::div(asked, cells, "floor") + 1) * before;
    x = torch::cat({prefix.to(x.scalar_type()), x}, 1);
  }
  if (context) {
    wanted = context->rows(wanted, x.size(1));
    x = context->taken(x);
  }
  x = x.to(type_of_residuals(head_->precision, x.scalar_type()));
  const double dropout = is_training() ? options_.dropout : 0;
  x = drop_out(x, dropout, dropout_generator_).reshape({-1, options_.width});
  const bool one_by_one = dropout > 0 || context || !sparse_.empty();
  for (std::size_t i = one_by_one ? 0 : pass_together(x, count); i < blocks_.size(); ++i) {
    const bool last = i + 1 == blocks_.size();
    x = blocks_[i]->forward(x, count, last ? wanted : torch::Tensor(), is_autoregressive(), dropout, dropout_generator_,
                            sparse_.empty() ? nullptr : &sparse_[i % sparse_.size()], context);
  }
  return head_->forward_unrounded(final_norm_->forward(x));
}

std::size_t TransformerImpl::pass_together(torch::Tensor& x, std::int64_t count) {
  const auto most = blocks_.size() - 1;
  std::vector<TransformerBlock> blocks;
  for (std::size_t i = 0; i < most; ++i) {
    blocks.push_back(blocks_[i]->parameters_of_block());
    if (!transformer_blocks_apply(x, count, options_.heads, head_->precision, blocks.back())) return 0;
  }
  const auto head_width = options_.width / options_.heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_width));
  x = transformer_blocks(x, count, options_.heads, scale, is_autoregressive(), LayerNormImpl::kEpsilon,
                         head_->precision, blocks);
  return most;
}

torch::Tensor TransformerImpl::forward(const torch::Tensor& tokens, const ConditionBatch& told) {
  const auto logits = run(tokens, {}, prefix_of(told, tokens.size(0)));
  return logits.view({tokens.size(0), -1, options_.codebook_size});
}

torch::Tensor TransformerImpl::logits_at(const torch::Tensor& tokens, const torch::Tensor& rows, ContextPass* context) {
  require(rows.dim() == 1 && rows.scalar_type() == torch::kInt64, "transformer: rows are {} {}, expected [M] int64",
          shape_text(rows), c10::toString(rows.scalar_type()));
  if (!context) return run(tokens, rows.to(device()));
  require(!is_autoregressive() && tokens.dim() == 2 && tokens.size(1) == options_.grid.cells(),
          "transformer: keys and values are kept of whole grids of {} cells, by bidirectional networks",
          options_.grid.cells());
  return evaluate(tokens.to(device()), rows.to(device()), {}, context);
}

void TransformerImpl::set_precision(Precision precision) {
  recorded_.forget();
  set_layers_precision(*this, precision);
}

void TransformerImpl::seed_dropout(std::uint64_t bits) {
  if (!dropout_generator_) dropout_generator_ = at::globalContext().defaultGenerator(device()).clone();
  dropout_generator_->set_current_seed(bits);
}

std::int64_t TransformerImpl::parameter_count() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters()) total += parameter.numel();
  return total;
}

TensorMap TransformerImpl::state() const {
  TensorMap tensors;
  for (const auto& item : named_parameters()) tensors[item.key()] = item.value().detach();
  return tensors;
}

void TransformerImpl::load(const TensorMap& tensors, const std::string& where, WeightLoading loading) {
  match_parameters(tensors, shapes_of(*this), where);
  for (const auto& [name, tensor] : tensors) {
    require(tensor.is_floating_point(), "{}: {} is {}, expected floating point", where, name,
            c10::toString(tensor.scalar_type()));
  }
  const auto packed = packed_by_weight(*this);
  for (const auto& item : named_parameters()) {
    const auto layer = packed.find(item.value().unsafeGetTensorImpl());
    load_parameter(item.value(), tensors.at(item.key()), loading, layer == packed.end() ? nullptr : layer->second);
  }
}

/// Keys and values of every block for the prefix and the cells so far.
class TransformerDecoding : public Decoding {
 public:
  TransformerDecoding(std::shared_ptr<TransformerImpl> network, std::int64_t count, const torch::Tensor& prefix)
      : network_(std::move(network)),
        count_(count),
        start_(network_->options_.class_starts ? prefix.select(1, 0)
                                               : network_->start_token_.expand({count, network_->options_.width})),
        before_(prefix.defined() && !network_->options_.class_starts ? prefix.size(1) : 0),
        keys_(network_->blocks_.size()),
        values_(network_->blocks_.size()) {
    const torch::NoGradGuard no_grad;
    for (std::int64_t place = 0; place < before_; ++place) (void)pass(prefix.select(1, place), place);
  }

  torch::Tensor advance(const torch::Tensor& previous) override {
    const torch::NoGradGuard no_grad;
    const auto& options = network_->options_;
    require(position_ < options.grid.cells(), "transformer: asked for cell {}, expected at most {}", position_,
            options.grid.cells() - 1);
    require(previous.defined() == (position_ > 0),
            "transformer: decoding needs the previous tokens from the second cell on");
    auto x =
        previous.defined() ? torch::embedding(network_->token_embedding_, previous.to(network_->device())) : start_;
    require(x.sizes() == torch::IntArrayRef({count_, options.width}),
            "transformer: previous tokens are {}, expected [{}]", shape_text(previous), count_);
    x = pass(x + network_->position_embedding_[position_], before_ + position_);
    ++position_;
    return network_->head_->forward_unrounded(network_->final_norm_->forward(x));
  }

 private:
  torch::Tensor pass(const torch::Tensor& given, std::int64_t place) {
    auto x = given.to(type_of_residuals(network_->head_->precision, given.scalar_type())).contiguous();
    const auto places = before_ + network_->options_.grid.cells();
    for (std::size_t i = 0; i < network_->blocks_.size(); ++i)
      x = network_->blocks_[i]->advance(x, keys_[i], values_[i], place, places);
    return x;
  }

  std::shared_ptr<TransformerImpl> network_;
  std::int64_t count_;
  torch::Tensor start_;  // [N, C]
  std::int64_t before_;
  std::int64_t position_ = 0;
  std::vector<torch::Tensor> keys_, values_;  // per block [N, H, P + L, D], made by its first advance
};

class TransformerEvaluator : public ContextEvaluator {
 public:
  TransformerEvaluator(std::shared_ptr<TransformerImpl> network, std::vector<Condition> conditions)
      : network_(std::move(network)), conditions_(std::move(conditions)) {}

  torch::Tensor logits(const Look& look) override { return network_->logits_at(look.tokens, look.rows); }
  torch::Tensor logits_in_context(const Look& look, ContextUse use) override {
    auto context = contexts_.pass_of(look, use, {});
    return network_->logits_at(look.tokens, look.rows, context ? &*context : nullptr);
  }

  std::unique_ptr<Decoding> decode(std::int64_t count, const std::vector<std::int64_t>& conditions) override {
    if (!network_->is_autoregressive()) return Evaluator::decode(count, conditions);
    if (!network_->options().is_told()) return std::make_unique<TransformerDecoding>(network_, count, torch::Tensor());
    auto rows = rows_to_decode(conditions_, count, conditions);
    auto inner = std::make_unique<TransformerDecoding>(network_, static_cast<std::int64_t>(rows.conditions.size()),
                                                       prefix(rows));
    return with_guidance(std::move(inner), std::move(rows));
  }

  torch::Tensor logits_in_order(const torch::Tensor& tokens, std::int64_t first) override {
    if (!network_->is_autoregressive()) return Evaluator::logits_in_order(tokens, first);
    const auto seen = tokens.slice(1, 0, tokens.size(1) - 1);
    if (!network_->options().is_told()) return network_->forward(seen);
    DecodedRows rows;
    for (std::int64_t n = 0; n < tokens.size(0); ++n)
      rows.conditions.push_back(conditions_.size() == 1 ? 0 : first + n);
    rows.told = rows.conditions.size();
    return network_->run(seen, {}, prefix(rows)).view({tokens.size(0), tokens.size(1), -1});
  }

 private:
  /// What stands before the cells of these rows.
  torch::Tensor prefix(const DecodedRows& rows) {
    ConditionBatch batch;
    batch.classes = rows.classes(conditions_);
    if (network_->options().condition_width > 0) {
      std::vector<torch::Tensor> states;
      for (std::size_t i = 0; i < rows.conditions.size(); ++i) {
        const auto& condition = conditions_.at(static_cast<std::size_t>(rows.conditions[i]));
        states.push_back(i < rows.told ? condition.states : condition.null_states);
      }
      batch.states = torch::stack(states);
    }
    const torch::NoGradGuard no_grad;
    return network_->prefix_of(batch, static_cast<std::int64_t>(rows.conditions.size()));
  }

  std::shared_ptr<TransformerImpl> network_;
  std::vector<Condition> conditions_;  // at least one
  KeptContexts contexts_;
};

/// Of sparse ones, whose keys and values are not kept.
class SparseEvaluator : public Evaluator {
 public:
  explicit SparseEvaluator(std::shared_ptr<TransformerImpl> network) : network_(std::move(network)) {}
  torch::Tensor logits(const Look& look) override { return network_->logits_at(look.tokens, look.rows); }

 private:
  std::shared_ptr<TransformerImpl> network_;
};

std::unique_ptr<Evaluator> TransformerImpl::begin(const std::vector<Condition>& conditions) {
  if (!sparse_.empty())
    return std::make_unique<SparseEvaluator>(std::static_pointer_cast<TransformerImpl>(shared_from_this()));
  auto own = conditions.empty() ? std::vector<Condition>{none_} : conditions;
  if (options_.is_told()) {
    for (const auto& condition : own) check_condition(condition, options_.classes, options_.condition_width);
  }
  return std::make_unique<TransformerEvaluator>(std::static_pointer_cast<TransformerImpl>(shared_from_this()),
                                                std::move(own));
}

ShapeMap transformer_shapes(const TransformerOptions& options) {
  const ShapesOnly shapes_only;
  return shapes_of(*Transformer(options, Initialisation::none));
}

Transformer load_transformer(const nlohmann::json& config, const TensorMap& tensors, const std::string& where,
                             WeightLoading loading) {
  const auto options = TransformerOptions::from_config(config);
  match_parameters(tensors, transformer_shapes(options), where);
  const UnsetParameters unset;
  Transformer network(options, Initialisation::none);
  network->load(tensors, where, loading);
  network->eval();
  return network;
}

namespace {

NetworkFacts facts_of_transformer(const nlohmann::json& config) {
  const auto options = TransformerOptions::from_config(config);
  NetworkFacts facts;
  facts.codebook_size = options.codebook_size;
  facts.grid = options.grid;
  facts.layers = options.layers;
  facts.heads = options.heads;
  facts.width = options.width;
  facts.autoregressive = options.kind == TransformerKind::autoregressive;
  facts.classes = options.classes;
  facts.condition_width = options.condition_width;
  return facts;
}

std::shared_ptr<Denoiser> load_plain(const NetworkInput& input) {
  auto network = load_transformer(input.config, input.tensors, input.where, input.loading);
  network->set_precision(input.precision);
  network->to(input.device);
  network->set_none(input.none);
  return network.ptr();
}

}  // namespace

NetworkEntry transformer_network() {
  return {"transformer", "bidirectional, or autoregressive and told a text or a class; sees no time",
          "TesseraTransformer", facts_of_transformer, load_plain};
}

}  // namespace tessera
