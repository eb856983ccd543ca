/// A project: finished jobs with their pictures, requests, names and stars as one zip archive, and back.
///   project.json         {"format": "tessera-project", "version": 1, "jobs": [..]}
///   results/ID-K.png     result K, with its recipe
///   pictures/HASH.png    what requests brought along
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/job.h"
#include "server/limits.h"
#include "server/saved_request.h"

namespace tessera::server {

struct ProjectJob {
  StoredJob job;
  SavedRequest request;
};

/// Collects jobs until it is written.
class ProjectWriter {
 public:
  /// most_bytes: of the whole archive. add() throws HttpError (413) beyond it.
  explicit ProjectWriter(std::uint64_t most_bytes);
  ~ProjectWriter();
  void add(const Job& job, const SavedRequest& request);
  std::size_t jobs() const;
  std::string archive() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Throws HttpError (400) naming the job and the field. ensures: every picture is one, every grid fits its result.
std::vector<ProjectJob> read_project(const std::string& archive, const ServiceLimits& limits);

}  // namespace tessera::server
