/// Small updates of models (checkpoint/lora.h) that a service has in a folder: requests name them, and how much of
/// each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/lora.h"

namespace tessera::server {

struct ServedLora {
  std::string name;
  double weight = 1;
};

/// "NAME:WEIGHT", with commas between several; a weight of 1 may be left out. Throws HttpError (400) of `field`.
std::vector<ServedLora> parse_served_loras(const std::string& text, const std::string& field = "loras");

/// A model under these, as ModelStore::get takes it: its name alone where there are none.
std::string model_key(const std::string& model, const std::string& loras);

/// The other way.
struct ModelKey {
  std::string model;
  std::vector<ServedLora> loras;
};
ModelKey read_model_key(const std::string& key);

class LoraFolder {
 public:
  /// The .safetensors files of a folder by their names without the ending; empty: none. Throws Error where it is no
  /// folder.
  explicit LoraFolder(const std::filesystem::path& folder = {});

  std::vector<std::string> names() const;
  /// Throws Error naming one that is not there.
  std::vector<LoraChoice> files_of(const std::vector<ServedLora>& loras) const;

 private:
  std::map<std::string, std::filesystem::path> files_;
};

/// What A1111's clients write into a prompt, <lora:NAME:WEIGHT>, is taken out of it. Out: as parse_served_loras reads
/// it.
std::string take_loras(std::string& prompt);

}  // namespace tessera::server
