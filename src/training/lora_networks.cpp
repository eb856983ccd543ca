#include "training/lora_networks.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr const char* kDenoiser = "denoiser.";
constexpr const char* kText = "text.";
constexpr std::string_view kWeight = ".weight";

std::vector<std::string> words_of(const std::string& list) {
  std::vector<std::string> words;
  for (std::size_t start = 0; start <= list.size();) {
    const auto comma = std::min(list.find(',', start), list.size());
    if (comma > start) words.push_back(list.substr(start, comma - start));
    start = comma + 1;
  }
  return words;
}

bool is_chosen(const std::string& name, const LoraOptions& options, const std::vector<std::string>& words) {
  if (!options.of_text && name.starts_with(kText)) return false;
  const auto holds = [&](const std::string& word) { return name.find(word) != std::string::npos; };
  return words.empty() || std::any_of(words.begin(), words.end(), holds);
}

void add_gradient(torch::Tensor parameter, const torch::Tensor& part) {
  if (parameter.grad().defined()) {
    parameter.mutable_grad().add_(part);
  } else {
    parameter.mutable_grad() = part;
  }
}

}  // namespace

/// The networks under the updates, and their chosen weights as they were.
struct LoraNetworks::Shared {
  struct Product {
    std::string name;      // of the weight in parameters()
    torch::Tensor weight;  // [out, in], the network's own
    torch::Tensor before;  // [out, in]
  };

  std::unique_ptr<PriorNetworks> networks;
  LoraOptions options;
  std::vector<Product> products;
  const LoraNetworks* merged = nullptr;       // whose updates the weights hold
  std::vector<std::uint32_t> merged_version;  // of its tensors then

  void remember() {
    const torch::NoGradGuard no_grad;
    for (auto& product : products) product.before = product.weight.detach().clone();
    merged = nullptr;
  }
};

MadeNetworks LoraNetworks::over(std::unique_ptr<PriorNetworks> networks, const LoraOptions& options, Seed seed) {
  auto shared = std::make_shared<Shared>();
  shared->options = options;
  const auto words = words_of(options.targets);
  const auto products = networks->products();
  for (const auto& item : networks->parameters()) {
    auto weight = item.value();
    const bool is_product = std::find(products.begin(), products.end(), item.key()) != products.end();
    const bool chosen = is_product && is_chosen(item.key(), options, words);
    weight.set_requires_grad(chosen);  // no other gradient is computed
    if (chosen) shared->products.push_back({item.key(), weight, {}});
  }
  if (shared->products.empty())
    throw UsageError(fmt::format("targets '{}': no layer of the model has such a name, expected words of {} ..",
                                 options.targets, products.empty() ? "its products" : products.front()));
  shared->networks = std::move(networks);
  shared->remember();
  MadeNetworks made;
  made.trained.reset(new LoraNetworks(shared, true, seed));
  made.average.reset(new LoraNetworks(shared, false, seed));
  return made;
}

LoraNetworks::LoraNetworks(std::shared_ptr<Shared> shared, bool trained, Seed seed) : shared_(std::move(shared)) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  const auto rank = shared_->options.rank;
  for (std::size_t i = 0; i < shared_->products.size(); ++i) {
    const auto& weight = shared_->products[i].weight;
    const auto out = weight.size(0), in = weight.size(1);
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    Update update;
    update.product = i;
    update.down = torch::empty({rank, in}).uniform_(-bound, bound, generator);
    update.up = torch::zeros({out, rank});
    if (trained) {
      update.down.requires_grad_();
      update.up.requires_grad_();
    }
    updates_.push_back(std::move(update));
  }
  if (!trained) return;
  // d loss / d A = scale B^T G and d loss / d B = scale G A^T, where G is the gradient of the whole weight.
  for (std::size_t i = 0; i < updates_.size(); ++i) {
    shared_->products[i].weight.register_hook([down = updates_[i].down, up = updates_[i].up,
                                               scale = shared_->options.scale()](const torch::Tensor& gradient) {
      const torch::NoGradGuard off;
      const auto whole = gradient.to(up.scalar_type());
      add_gradient(down, torch::mm(up.t(), whole).mul_(scale));
      add_gradient(up, torch::mm(whole, down.t()).mul_(scale));
    });
  }
}

void LoraNetworks::merge() const {
  const torch::NoGradGuard no_grad;
  std::vector<std::uint32_t> versions;
  for (const auto& update : updates_) {
    versions.push_back(update.down._version());
    versions.push_back(update.up._version());
  }
  for (auto& product : shared_->products) product.weight.mutable_grad().reset();
  if (shared_->merged == this && shared_->merged_version == versions) return;
  for (const auto& update : updates_) {
    auto& product = shared_->products[update.product];
    // Exactly what the layer's file adds, in the order in which applying it does (checkpoint/lora.cpp).
    product.weight.copy_(product.before).add_(torch::mm(update.up, update.down).mul_(shared_->options.scale()));
  }
  shared_->merged = this;
  shared_->merged_version = std::move(versions);
}

PriorNetworks::Parameters LoraNetworks::parameters() const {
  Parameters all;
  for (const auto& update : updates_) {
    const auto& name = shared_->products[update.product].name;
    const auto layer = name.substr(0, name.size() - kWeight.size());
    all.insert(layer + ".lora_A.weight", update.down);
    all.insert(layer + ".lora_B.weight", update.up);
  }
  return all;
}

void LoraNetworks::to(torch::Device device) {
  if (device == torch::kCPU) return;
  fail("lora: trained on the CPU alone, found device {}", device.str());
}

void LoraNetworks::train(bool training) {
  shared_->networks->train(training);
}
void LoraNetworks::seed_dropout(std::uint64_t bits) {
  shared_->networks->seed_dropout(bits);
}

torch::Tensor LoraNetworks::logits(const torch::Tensor& tokens, const torch::Tensor& times, const ToldRows& told,
                                   const torch::Tensor& rows) {
  merge();
  return shared_->networks->logits(tokens, times, told, rows);
}

torch::Tensor LoraNetworks::logits_in_order(const torch::Tensor& tokens, const ToldRows& told) {
  merge();
  return shared_->networks->logits_in_order(tokens, told);
}

std::shared_ptr<Denoiser> LoraNetworks::denoiser() {
  merge();
  return shared_->networks->denoiser();
}

std::vector<Condition> LoraNetworks::conditions(const ToldRows& told) {
  merge();
  return shared_->networks->conditions(told);
}

void LoraNetworks::put_into(Bundle& bundle) const {
  merge();
  shared_->networks->put_into(bundle);
}

std::vector<LoraLayer> LoraNetworks::layers() const {
  std::vector<LoraLayer> layers;
  for (const auto& update : updates_) {
    const auto& name = shared_->products[update.product].name;
    LoraLayer layer;
    layer.part = name.starts_with(kText) ? "text_encoder" : "transformer";
    for (const char* prefix : {kText, kDenoiser}) {  // of a network without a text encoder its names stand alone
      if (name.starts_with(prefix)) layer.name = name.substr(std::string_view(prefix).size());
    }
    if (layer.name.empty()) layer.name = name;
    layer.rank = shared_->options.rank;
    layer.scale = shared_->options.scale();
    layer.down = update.down.detach().to(torch::kCPU);
    layer.up = update.up.detach().to(torch::kCPU);
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace tessera
