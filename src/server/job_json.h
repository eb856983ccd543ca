/// A job as its JSON, for answers and events.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "server/job.h"

namespace tessera::server {

class JobQueue;

nlohmann::json job_json(const Job& job, const JobStatus& status, const JobQueue& queue);
/// {"step", "steps", "evaluations", "rate", "eta_seconds", "seconds"}
nlohmann::json progress_json(const JobStatus& status);
/// "image/png" and the like.
std::string media_type(const std::string& format);
/// A result's bytes; a PNG carries the job's record.
std::string result_bytes(const Job& job, const JobStatus& status, std::size_t index, const std::string& format);
/// The same scaled to a size in pixels; where its shape is another by more than a cell, as much as fits is cut out of
/// the middle. 0: as it is.
std::string scaled_bytes(const Job& job, const JobStatus& status, std::size_t index, const std::string& format,
                         std::int64_t width, std::int64_t height);
/// The picture alone. factor: pixels of a cell.
Image scaled_to(const Image& image, std::int64_t factor, std::int64_t width, std::int64_t height);
/// The same of a result that the job does not hold yet.
std::string result_bytes(const Job& job, const std::string& effective, const JobResult& result, std::size_t index,
                         const std::string& format);

}  // namespace tessera::server
