/// A job as server-sent events: progress, cells, preview, then its end. HTML standard, section 9.2.
#pragma once

#include "server/http_message.h"
#include "server/job.h"

namespace tessera::server {

class JobQueue;

class JobEvents : public EventSource {
 public:
  JobEvents(std::shared_ptr<Job> job, const JobQueue& queue);
  ~JobEvents() override;

  /// A client that is slow gets the present state, not every step. A comment where nothing happened for 15 seconds.
  std::optional<std::string> next(std::chrono::milliseconds wait) override;

 private:
  const std::shared_ptr<Job> job_;
  const JobQueue& queue_;
  Job::View seen_;
  bool ended_ = false;
  Clock::time_point spoken_ = Clock::now();
};

}  // namespace tessera::server
