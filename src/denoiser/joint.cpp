#include "denoiser/joint.h"

#include "denoiser/guided_denoiser.h"
#include "denoiser/guided_rows.h"
#include "denoiser/networks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr const char* kJointClass = "TesseraJointTransformer";

class JointEvaluator : public Evaluator {
 public:
  JointEvaluator(Transformer network, const JointOptions& options, JointSide side, std::vector<Condition> conditions)
      : network_(std::move(network)), options_(options), side_(side), conditions_(std::move(conditions)) {}

  torch::Tensor logits(const Look& look) override {
    const auto cells = look.tokens.size(1);
    const auto evaluate = [&](const Halves& halves, const torch::Tensor& at) {
      const torch::NoGradGuard no_grad;
      std::vector<torch::Tensor> told;
      for (std::size_t i = 0; i < halves.rows.size(); ++i) {
        const auto& condition = conditions_[static_cast<std::size_t>(halves.conditions[i])];
        told.push_back((i < halves.nulls ? condition.null_states : condition.states).flatten());
      }
      const auto other = torch::stack(told).round().to(torch::kCPU, torch::kInt64);
      const auto own = look.tokens.to(torch::kCPU).index_select(0, torch::tensor(halves.rows));
      const auto sequence = of_picture() ? joint_sequence(options_, other, own) : joint_sequence(options_, own, other);
      const auto row = torch::div(at, cells, "floor"), place = at - row * cells;
      const auto asked = row * sequence.size(1) + place + (of_picture() ? options_.words : 0);
      const auto all = network_->logits_at(sequence, asked);
      const auto first = of_picture() ? 0 : options_.codebook_size;
      return log_probabilities(all.narrow(1, first, of_picture() ? options_.codebook_size : options_.vocabulary));
    };
    return guided_look(look, conditions_, evaluate, guided);
  }

 private:
  bool of_picture() const { return side_ == JointSide::picture; }

  Transformer network_;
  JointOptions options_;
  JointSide side_;
  std::vector<Condition> conditions_;  // at least one
};

NetworkFacts facts_of_joint(const nlohmann::json& config) {
  const auto options = JointOptions::from_config(config);
  NetworkFacts facts;
  facts.codebook_size = options.codebook_size;
  facts.grid = options.grid;
  facts.layers = options.layers;
  facts.heads = options.heads;
  facts.width = options.width;
  facts.condition_width = 1;
  facts.words = options.words;
  facts.vocabulary = options.vocabulary;
  return facts;
}

std::shared_ptr<Denoiser> load_joint(const NetworkInput& input) {
  const auto options = JointOptions::from_config(input.config);
  auto network = load_transformer(options.sequence().to_config(), input.tensors, input.where, input.loading);
  network->set_precision(input.precision);
  network->to(input.device);
  return std::make_shared<JointDenoiser>(network, options, JointSide::picture);
}

}  // namespace

TransformerOptions JointOptions::sequence() const {
  TransformerOptions options;
  options.codebook_size = codebook_size + vocabulary;
  options.grid = {1, words + grid.cells()};
  options.layers = layers;
  options.heads = heads;
  options.width = width;
  options.dropout = dropout;
  return options;
}

void JointOptions::validate() const {
  const auto check = [](const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
    require(value >= least && value <= most, "joint transformer: {} is {}, expected {} to {}", field, value, least,
            most);
  };
  check("codebook_size", codebook_size, 1, 1 << 20);
  check("vocabulary", vocabulary, 1, 1 << 18);
  check("words", words, 2, 1 << 12);
  check("grid height", grid.h, 1, 1 << 12);
  check("grid width", grid.w, 1, 1 << 12);
  sequence().validate();
}

nlohmann::json JointOptions::to_config() const {
  return {{"_class_name", kJointClass},
          {"tessera",
           {{"format", 1},
            {"codebook_size", codebook_size},
            {"grid", {grid.h, grid.w}},
            {"vocabulary", vocabulary},
            {"words", words},
            {"layers", layers},
            {"heads", heads},
            {"width", width},
            {"dropout", dropout}}}};
}

JointOptions JointOptions::from_config(const nlohmann::json& config) {
  JointOptions options;
  try {
    const auto& own = config.at("tessera");
    const auto format = own.at("format").get<std::int64_t>();
    require(format == 1, "joint transformer config: format {}, expected 1", format);
    const auto& grid = own.at("grid");
    require(grid.is_array() && grid.size() == 2, "joint transformer config: grid is {}, expected [h, w]", grid.dump());
    options.grid = {grid[0].get<std::int64_t>(), grid[1].get<std::int64_t>()};
    options.codebook_size = own.at("codebook_size").get<std::int64_t>();
    options.vocabulary = own.at("vocabulary").get<std::int64_t>();
    options.words = own.at("words").get<std::int64_t>();
    options.layers = own.at("layers").get<std::int64_t>();
    options.heads = own.at("heads").get<std::int64_t>();
    options.width = own.at("width").get<std::int64_t>();
    options.dropout = own.value("dropout", 0.0);
  } catch (const nlohmann::json::exception& error) {
    fail("joint transformer config: {}", error.what());
  }
  options.validate();
  return options;
}

torch::Tensor joint_sequence(const JointOptions& options, const torch::Tensor& words, const torch::Tensor& codes) {
  require(words.dim() == 2 && words.size(1) == options.words && codes.dim() == 2 && codes.size(0) == words.size(0) &&
              codes.size(1) == options.grid.cells(),
          "joint transformer: words are {} and codes {}, expected [N, {}] and [N, {}]", shape_text(words),
          shape_text(codes), options.words, options.grid.cells());
  const auto mask = options.codebook_size + options.vocabulary;
  return torch::cat({words + options.codebook_size, codes.masked_fill(codes == options.codebook_size, mask)}, 1);
}

JointDenoiser::JointDenoiser(Transformer network, const JointOptions& options, JointSide side)
    : network_(std::move(network)), options_(options), side_(side) {}

std::shared_ptr<JointDenoiser> JointDenoiser::other_side() const {
  return std::make_shared<JointDenoiser>(network_, options_,
                                         side_ == JointSide::picture ? JointSide::caption : JointSide::picture);
}

torch::Tensor JointDenoiser::nothing_known() const {
  const bool words = side_ == JointSide::picture;
  return torch::full({words ? options_.words : options_.grid.cells(), 1},
                     static_cast<double>(words ? options_.vocabulary : options_.codebook_size), torch::kFloat32);
}

std::unique_ptr<Evaluator> JointDenoiser::begin(const std::vector<Condition>& conditions) {
  auto own = conditions;
  if (own.empty()) own.emplace_back();
  const auto nothing = nothing_known();
  const double most = nothing[0][0].item<double>();
  for (auto& condition : own) {
    if (!condition.null_states.defined()) condition.null_states = nothing;
    if (!condition.states.defined()) condition.states = nothing;
    check_condition(condition, 0, 1);
    for (const auto& states : {condition.states, condition.null_states}) {
      require(states.size(0) == nothing.size(0), "joint transformer: a condition of {} places, expected {}",
              states.size(0), nothing.size(0));
      require(states.min().item<double>() >= 0 && states.max().item<double>() <= most,
              "joint transformer: a condition of tokens {} to {}, expected 0 to {}", states.min().item<double>(),
              states.max().item<double>(), most);
    }
  }
  return std::make_unique<JointEvaluator>(network_, options_, side_, std::move(own));
}

NetworkEntry joint_network() {
  return {"joint", "bidirectional over a caption's words and a picture's codes; fills either given the other",
          kJointClass, facts_of_joint, load_joint};
}

}  // namespace tessera
