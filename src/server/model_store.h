/// The models that the service offers: known by their configs, loaded when they are first needed, unloaded least
/// recently used first where a memory limit asks for it.
#pragma once

#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "server/backend.h"
#include "server/metrics.h"
#include "server/served_loras.h"

namespace tessera::server {

struct ModelSource {
  std::string name;
  std::filesystem::path folder;
};

/// "NAME=FOLDER", or "FOLDER" with its last part as the name. Throws UsageError.
ModelSource parse_model_source(const std::string& text);

/// What a bundle's configs say, weights unread. Throws Error naming the file.
ModelInfo read_model_info(const ModelSource& source);

class ModelStore {
 public:
  /// Throws Error where a bundle cannot be read or two models have one name. limit_bytes: of weights in memory; 0:
  /// none.
  ModelStore(std::vector<ModelSource> sources, PipelineOptions options, std::uint64_t limit_bytes, Metrics& metrics,
             LoraFolder loras = LoraFolder());

  std::vector<ModelInfo> infos() const;
  /// The model of a key (model_key), loaded: under small updates it is a model of its own in memory. What is still held
  /// elsewhere is never unloaded. Throws Error that names the model and no path.
  std::shared_ptr<Pipeline> get(const std::string& key);

 private:
  struct Entry {
    ModelSource source;
    ModelInfo info;
    std::shared_ptr<Pipeline> pipeline;
    std::uint64_t used = 0;  // of clock_
    std::string key;         // as get takes it
    bool loading = false;    // somebody is about to set pipeline
  };

  /// The one of the key, made where it is a served model under updates that was not asked for before.
  Entry& entry_of(const std::string& key);

  void make_room(std::uint64_t bytes);
  /// Requests choose weights freely: of models under updates only the latest stay.
  void make_room_for_updated();
  void report() const;

  const PipelineOptions options_;
  const std::uint64_t limit_;
  Metrics& metrics_;
  mutable std::mutex mutex_;
  const LoraFolder loras_;
  std::list<Entry> entries_;  // the served ones first
  std::uint64_t clock_ = 0;
};

}  // namespace tessera::server
