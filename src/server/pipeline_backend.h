/// The service's models as pipelines.
#pragma once

#include "server/backend.h"
#include "server/model_store.h"

namespace tessera::server {

class PipelineBackend : public Backend {
 public:
  explicit PipelineBackend(ModelStore& store) : store_(store) {}

  std::vector<ModelInfo> models() override { return store_.infos(); }
  std::unique_ptr<PreparedJob> prepare(const JobRequest& request) override;
  FillOutcome fill(const std::vector<JobPart>& parts, FillWatch& watch, const FillStart& from) override;
  Image picture(PreparedJob& job, std::int64_t index, std::span<const std::int32_t> tokens) override;
  std::optional<Image> guess(PreparedJob& job, std::int64_t index, std::span<const std::int32_t> tokens) override;
  TokenArray encode(const std::string& model, const Image& image) override;
  std::vector<std::string> captions(const std::string& model, const Image& image, std::int64_t count,
                                    const CaptionChoice& choice) override;
  Image decode(const std::string& model, const TokenArray& tokens) override;
  std::vector<Candidate> candidates(const std::string& model, const CandidateRequest& request) override;
  Scores score(const std::string& model, const ScoreRequest& request) override;

 private:
  ModelStore& store_;
};

}  // namespace tessera::server
