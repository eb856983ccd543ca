/// The models that the service offers: known by their configs, loaded when they are first needed, unloaded least
/// recently used first where a memory limit asks for it.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "server/backend.h"
#include "server/metrics.h"

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
  ModelStore(std::vector<ModelSource> sources, PipelineOptions options, std::uint64_t limit_bytes, Metrics& metrics);

  std::vector<ModelInfo> infos() const;
  /// The model, loaded. What is still held elsewhere is never unloaded. Throws Error that names the model and no path.
  std::shared_ptr<Pipeline> get(const std::string& name);

 private:
  struct Entry {
    ModelSource source;
    ModelInfo info;
    std::shared_ptr<Pipeline> pipeline;
    std::uint64_t used = 0;  // of clock_
  };

  void make_room(std::uint64_t bytes);
  void report() const;

  const PipelineOptions options_;
  const std::uint64_t limit_;
  Metrics& metrics_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  std::uint64_t clock_ = 0;
};

}  // namespace tessera::server
