#include "checkpoint/lora.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <span>

#include "checkpoint/state_dict.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kMostReasons = 16;  // of the reasons; a stranger's file can have thousands
constexpr const char* kDenoiser = "transformer";
constexpr const char* kTextEncoder = "text_encoder";

enum class LoraRole { down, up, alpha };

/// How a layer's tensors end, the longer ones first.
struct Ending {
  const char* text;
  LoraRole role;
};
constexpr Ending kEndings[] = {
    {".lora_linear_layer.down.weight", LoraRole::down},
    {".lora_linear_layer.up.weight", LoraRole::up},
    {".lora_down.weight", LoraRole::down},
    {".lora_up.weight", LoraRole::up},
    {".lora.down.weight", LoraRole::down},
    {".lora.up.weight", LoraRole::up},
    {"_lora.down.weight", LoraRole::down},
    {"_lora.up.weight", LoraRole::up},
    {".lora_A.weight", LoraRole::down},
    {".lora_B.weight", LoraRole::up},
    {".lora_A", LoraRole::down},
    {".lora_B", LoraRole::up},
    {".alpha", LoraRole::alpha},
};

/// Adapters of other kinds, by what their tensors' names hold.
struct NamedSign {
  const char* sign;
  const char* name;
};
constexpr NamedSign kOthers[] = {
    {"hada_", "LoHa"},
    {"lokr_", "LoKr"},
    {"lora_mid", "LoCon with a core tensor"},
    {"dora_scale", "DoRA"},
    {"lora_magnitude_vector", "DoRA"},
    {"lora_embedding_", "a LoRA of an embedding"},
    {".oft_", "OFT"},
    {".ia3_", "IA3"},
    {".on_input", "IA3"},
    {"modules_to_save", "a whole weight"},
};

/// Models whose files are often met, by what their layers' names hold.
constexpr NamedSign kModels[] = {
    {"lora_te2_", "Stable Diffusion XL"},
    {"text_encoder_2.", "Stable Diffusion XL"},
    {"lora_unet_input_blocks_", "Stable Diffusion XL"},
    {"single_transformer_blocks", "FLUX"},
    {"double_blocks", "FLUX"},
    {"joint_blocks", "Stable Diffusion 3"},
    {"add_k_proj", "Stable Diffusion 3"},
    {"lora_unet_down_blocks_", "Stable Diffusion"},
    {"down_blocks.", "Stable Diffusion"},
    {"up_blocks.", "Stable Diffusion"},
    {"mid_block", "Stable Diffusion"},
    {"adaln_single", "PixArt"},
    {"diffusion_model.", "a video model"},
    {"model.layers.", "a language model"},
    {"transformer_layers", "aMUSEd"},
    {"lora_te_", "Stable Diffusion"},
};

/// Prefixes that programs put before a model's own names.
constexpr const char* kProgramPrefixes[] = {"base_model.model.", "module."};
constexpr const char* kOfDenoiser[] = {"unet.", "transformer.", "denoiser.", "lora_unet_", "lora_transformer_"};
constexpr const char* kOfText[] = {"text_encoder.", "lora_te_", "lora_text_encoder_"};

std::string with_underscores(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

bool cut_prefix(std::string& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

/// peft's name of an adapter between lora_A and weight ("lora_A.default.weight") left out.
std::string without_adapter_name(const std::string& name) {
  for (const char* sign : {".lora_A.", ".lora_B."}) {
    const auto at = name.find(sign);
    if (at == std::string::npos || !name.ends_with(".weight")) continue;
    return name.substr(0, at + std::string_view(sign).size() - 1) + ".weight";
  }
  return name;
}

struct Split {
  std::string layer;
  LoraRole role;
};

std::optional<Split> split_name(const std::string& given) {
  const auto name = without_adapter_name(given);
  for (const auto& ending : kEndings) {
    if (!name.ends_with(ending.text)) continue;
    return Split{name.substr(0, name.size() - std::string_view(ending.text).size()), ending.role};
  }
  return std::nullopt;
}

/// The weights of a part that can be updated, by their names with underscores; an empty name: two have it.
using Targets = std::map<std::string, std::string>;

Targets targets_of(const std::optional<BundlePart>& part) {
  constexpr std::string_view kWeight = ".weight";
  Targets targets;
  if (!part) return targets;
  for (const auto& [name, tensor] : part->tensors) {
    if (!name.ends_with(kWeight) || !tensor.is_floating_point() || tensor.dim() < 2) continue;
    const auto [at, added] = targets.emplace(with_underscores(name.substr(0, name.size() - kWeight.size())), name);
    if (!added) at->second.clear();
  }
  return targets;
}

/// A layer of the file as the model calls it.
struct Target {
  std::string part, weight;
};

class Resolver {
 public:
  explicit Resolver(const Bundle& bundle)
      : denoiser_(targets_of(bundle.denoiser)), text_(targets_of(bundle.text_encoder)) {}

  std::optional<Target> find(const std::string& layer) const {
    auto name = layer;
    for (bool again = true; again;) {  // with every wrapper taken off, the model's own prefix first left on
      if (auto target = look(name)) return target;
      again = false;
      for (const char* wrapper : kProgramPrefixes) again = again || cut_prefix(name, wrapper);
    }
    for (const auto& [prefixes, text] : {std::pair{std::span<const char* const>(kOfText), true},
                                         std::pair{std::span<const char* const>(kOfDenoiser), false}}) {
      for (const char* prefix : prefixes) {
        auto own = name;
        if (!cut_prefix(own, prefix)) continue;
        for (const char* wrapper : kProgramPrefixes) cut_prefix(own, wrapper);
        if (auto target = in(text ? text_ : denoiser_, text ? kTextEncoder : kDenoiser, own)) return target;
      }
    }
    return std::nullopt;
  }

  std::string example() const { return denoiser_.empty() ? "" : denoiser_.begin()->second; }

 private:
  std::optional<Target> look(const std::string& name) const {
    if (auto target = in(denoiser_, kDenoiser, name)) return target;
    return in(text_, kTextEncoder, name);
  }

  static std::optional<Target> in(const Targets& targets, const char* part, const std::string& name) {
    auto key = with_underscores(name);
    // The first files of diffusers keep what is trained in a processor of the attention.
    if (const auto at = key.find("_processor_"); at != std::string::npos) key.erase(at, 10);
    for (const auto& each : {key, key + "_0"}) {  // to_out is to_out.0 there
      if (each != key && !key.ends_with("to_out")) continue;
      const auto found = targets.find(each);
      if (found != targets.end() && !found->second.empty()) return Target{part, found->second};
    }
    return std::nullopt;
  }

  Targets denoiser_, text_;
};

/// What peft's adapter_config.json beside a file says.
struct PeftConfig {
  std::optional<double> alpha;
  bool stabilised = false;
};

PeftConfig peft_config(const fs::path& file) {
  PeftConfig config;
  const auto path = fs::absolute(file).parent_path() / "adapter_config.json";
  if (!file.filename().string().starts_with("adapter_model.") || !fs::exists(path)) return config;
  const auto content = read_json_object(read_file(path, 1 << 20), path.string());
  require(content.value("peft_type", json("LORA")) == "LORA", "{}: peft_type is {}, expected LORA", path.string(),
          printable(content["peft_type"].dump()));
  require(content.value("use_dora", json(false)) != true, "{}: use_dora is true: DoRA is not applied", path.string());
  const auto own = content.find("alpha_pattern");
  require(own == content.end() || own->empty(), "{}: alpha_pattern holds layers of their own alpha, expected one alpha",
          path.string());
  if (const auto alpha = content.find("lora_alpha"); alpha != content.end() && alpha->is_number())
    config.alpha = alpha->get<double>();
  config.stabilised = content.value("use_rslora", json(false)) == true;
  return config;
}

/// A layer as it is gathered from the file.
struct Gathered {
  torch::Tensor down, up;
  std::optional<double> alpha;
  std::vector<std::string> names;
};

/// Reasons by tensor, and one error of them.
class Refusals {
 public:
  void add(const std::string& tensor, const std::string& reason) {
    if (++count_ > kMostReasons) return;
    list_ += fmt::format("{}{}: {}", list_.empty() ? "" : "; ", printable(tensor), reason);
  }
  bool empty() const { return count_ == 0; }
  std::string text() const {
    return count_ > kMostReasons ? fmt::format("{}; and {} more", list_, count_ - kMostReasons) : list_;
  }

 private:
  std::size_t count_ = 0;
  std::string list_;
};

/// As a matrix: a 1x1 convolution is one, a larger one is not.
std::optional<torch::Tensor> as_matrix_of(const torch::Tensor& tensor) {
  if (tensor.dim() == 2) return tensor;
  if (tensor.dim() == 4 && tensor.size(2) == 1 && tensor.size(3) == 1) return tensor.flatten(1);
  return std::nullopt;
}

std::string model_named_by(const TensorMap& tensors) {
  for (const auto& kind : kModels) {
    for (const auto& [name, tensor] : tensors) {
      if (name.find(kind.sign) != std::string::npos) return kind.name;
    }
  }
  return {};
}

const char* other_kind(const std::string& name) {
  for (const auto& kind : kOthers) {
    if (name.find(kind.sign) != std::string::npos) return kind.name;
  }
  if (name.ends_with(".diff") || name.ends_with(".diff_b")) return "a difference of whole weights";
  return nullptr;
}

std::map<std::string, Gathered> gather_layers(const TensorMap& tensors, Refusals& refusals) {
  std::map<std::string, Gathered> layers;
  for (const auto& [name, tensor] : tensors) {
    if (const auto* kind = other_kind(name)) {
      refusals.add(name, fmt::format("{} is not applied, expected LoRA", kind));
      continue;
    }
    const auto split = split_name(name);
    if (!split) {
      refusals.add(name, "no tensor of a LoRA, expected lora_A, lora_B, lora_down, lora_up or alpha");
      continue;
    }
    if (!tensor.is_floating_point() && split->role != LoraRole::alpha) {
      refusals.add(name, fmt::format("holds {}, expected floating point", c10::toString(tensor.scalar_type())));
      continue;
    }
    auto& layer = layers[split->layer];
    layer.names.push_back(name);
    if (split->role == LoraRole::alpha) {
      if (tensor.numel() != 1) {
        refusals.add(name, fmt::format("{}, expected one number", shape_text(tensor)));
      } else {
        layer.alpha = tensor.to(torch::kFloat64).item<double>();
      }
    } else {
      auto& own = split->role == LoraRole::down ? layer.down : layer.up;
      if (own.defined()) refusals.add(name, "a second tensor of that role");
      own = tensor;
    }
  }
  return layers;
}

/// The update of one layer; nothing where it cannot be applied, which is noted.
std::optional<LoraLayer> layer_of(const std::string& name, const Gathered& given, const PeftConfig& config,
                                  const Resolver& resolver, const Bundle& bundle, Refusals& refusals) {
  const auto refuse = [&](const std::string& reason) {
    for (const auto& tensor : given.names) refusals.add(tensor, reason);
    return std::nullopt;
  };
  if (!given.down.defined() || !given.up.defined())
    return refuse(fmt::format("layer '{}' has no {}", printable(name), given.down.defined() ? "lora_B" : "lora_A"));
  const auto target = resolver.find(name);
  if (!target) return refuse("the model has no such layer");
  const auto& tensors = (target->part == kDenoiser ? bundle.denoiser : bundle.text_encoder)->tensors;
  const auto& weight = tensors.at(target->weight);
  const auto down = as_matrix_of(given.down), up = as_matrix_of(given.up);
  if (!down || !up || !as_matrix_of(weight))
    return refuse("an update of a convolution (LoCon) is not applied, expected linear layers");
  const auto rank = down->size(0);
  const auto out = weight.size(0), in = weight.size(1);
  if (rank == 0 || up->size(1) != rank || up->size(0) != out || down->size(1) != in) {
    return refuse(fmt::format("A {} and B {}, expected [rank, {}] and [{}, rank] as {} is", shape_text(given.down),
                              shape_text(given.up), in, out, target->weight));
  }
  LoraLayer layer;
  layer.part = target->part;
  layer.name = target->weight;
  layer.rank = rank;
  const double alpha = given.alpha ? *given.alpha : config.alpha.value_or(static_cast<double>(rank));
  layer.scale = alpha / (config.stabilised ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank));
  layer.down = down->to(torch::kFloat32).contiguous();
  layer.up = up->to(torch::kFloat32).contiguous();
  if (!std::isfinite(layer.scale) || !layer.down.isfinite().all().item<bool>() ||
      !layer.up.isfinite().all().item<bool>())
    return refuse("holds numbers that are not finite");
  return layer;
}

fs::path file_of(const fs::path& given) {
  if (!fs::is_directory(given)) return given;
  for (const char* name : {"adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin",
                           "pytorch_lora_weights.bin"}) {
    if (fs::exists(given / name)) return given / name;
  }
  fail("{}: no LoRA in this folder, expected adapter_model.safetensors or pytorch_lora_weights.safetensors",
       given.string());
}

}  // namespace

LoraChoice parse_lora(const std::string& text) {
  LoraChoice choice{text, 1};
  const auto colon = text.rfind(':');
  if (colon != std::string::npos && colon > 0 && colon + 1 < text.size()) {
    const char* end = text.data() + text.size();
    double weight = 0;
    const auto read = std::from_chars(text.data() + colon + 1, end, weight);
    if (read.ec == std::errc{} && read.ptr == end) choice = {text.substr(0, colon), weight};
  }
  if (choice.file.empty()) throw UsageError("lora: expected FILE or FILE:WEIGHT");
  if (!std::isfinite(choice.weight) || std::abs(choice.weight) > kMostLoraWeight)
    throw UsageError(fmt::format("lora {}: weight {}, expected {} to {}", printable(choice.file.string()),
                                 choice.weight, -kMostLoraWeight, kMostLoraWeight));
  return choice;
}

std::vector<LoraLayer> read_lora(const fs::path& given, const Bundle& bundle) {
  const auto file = file_of(given);
  const auto tensors = load_state_dict(file).tensors;
  const auto where = file.string();
  const auto config = peft_config(file);
  const Resolver resolver(bundle);
  Refusals refusals;
  const auto gathered = gather_layers(tensors, refusals);
  std::map<std::pair<std::string, std::string>, LoraLayer> layers;
  bool known = false;
  for (const auto& [name, layer] : gathered) {
    known = known || resolver.find(name).has_value();
    const auto made = layer_of(name, layer, config, resolver, bundle, refusals);
    if (!made) continue;
    const bool added = layers.emplace(std::pair{made->part, made->name}, *made).second;
    if (!added) refusals.add(layer.names.front(), fmt::format("a second update of {}", made->name));
  }
  if (!gathered.empty() && !known) {
    const auto model = model_named_by(tensors);
    fail("{}: a LoRA of {}, expected one of this model; found {}, the model's layers are {} ..", where,
         model.empty() ? "another model" : model, printable(tensors.begin()->first), resolver.example());
  }
  require(refusals.empty(), "{}: nothing was applied; {}", where, refusals.text());
  require(!layers.empty(), "{}: holds no LoRA, expected tensors such as lora_A and lora_B", where);
  std::vector<LoraLayer> result;
  for (auto& [key, layer] : layers) result.push_back(std::move(layer));
  return result;
}

std::int64_t apply_lora(Bundle& bundle, const LoraChoice& choice) {
  const torch::NoGradGuard no_grad;
  const auto layers = read_lora(choice.file, bundle);
  for (const auto& layer : layers) {
    auto& weight = (layer.part == kDenoiser ? bundle.denoiser : bundle.text_encoder)->tensors.at(layer.name);
    const auto wide = weight.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
    const auto update = torch::mm(layer.up, layer.down).mul_(choice.weight * layer.scale).view(weight.sizes());
    weight = weight.to(wide) + update.to(wide);
  }
  return static_cast<std::int64_t>(layers.size());
}

}  // namespace tessera
