#include "denoiser/networks.h"

#include "denoiser/class_names.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {

// A file each.
NetworkEntry code_frequencies_network();
NetworkEntry conditional_transformer_network();
NetworkEntry image_bart_network();
NetworkEntry joint_network();
NetworkEntry maskgit_network();
NetworkEntry pixel_cnn_network();
NetworkEntry transformer_network();
NetworkEntry uvit_network();

Registry<NetworkEntry>& networks() {
  static Registry<NetworkEntry> registry(
      "network", {transformer_network(), conditional_transformer_network(), image_bart_network(), pixel_cnn_network(),
                  code_frequencies_network(), joint_network(), maskgit_network(), uvit_network()});
  return registry;
}

std::string NetworkFacts::condition() const {
  return condition_width > 0 ? "text" : classes > 0 ? "class" : "none";
}

const NetworkEntry& network_of(const nlohmann::json& config, const std::string& where) {
  const auto found = config.is_object() ? config.value("_class_name", nlohmann::json()) : nlohmann::json();
  std::string known;
  for (const auto& entry : networks().entries()) {
    if (found == entry.class_name) return entry;
    known += (known.empty() ? "" : ", ") + entry.class_name;
  }
  fail("{}: _class_name is {}, expected one of {}", where,
       found.is_string() ? printable(found.get<std::string>())
       : found.is_null() ? "missing"
                         : "no text",
       known);
}

NetworkFacts network_facts(const nlohmann::json& config, const std::string& where) {
  auto facts = network_of(config, where).facts(config);
  facts.class_names = class_names_from_config(config, facts.classes, where);
  return facts;
}

}  // namespace tessera
