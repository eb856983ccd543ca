#include "server/project_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/sha256.h"
#include "checkpoint/zip_directory.h"
#include "runtime/bounded_json.h"
#include "server/http_message.h"
#include "server/job_json.h"
#include "server/job_queue.h"
#include "server/stored_zip.h"

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "tessera-project";
constexpr std::size_t kMostJobs = 4096, kLongestName = 200;

std::string name_of_picture(const std::string& content) {
  Sha256 hash;
  hash.update(content);
  return "pictures/" + hash.finish() + ".png";
}

/// An id may become part of a file's name.
bool is_id(const std::string& text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// Reads the members that the jobs name.
class ProjectReader {
 public:
  ProjectReader(const std::string& archive, const ServiceLimits& limits)
      : archive_(archive), limits_(limits), directory_(read_zip_directory(archive, "project")) {}

  std::vector<ProjectJob> read() {
    const auto head = read_json(member("project.json"), "project.json");
    if (!head.is_object() || head.value("format", json()) != kFormat || head.value("version", json()) != 1) {
      throw Error("project.json: expected format \"tessera-project\", version 1");
    }
    const auto jobs = head.value("jobs", json());
    if (!jobs.is_array() || jobs.size() > kMostJobs)
      throw Error(fmt::format("jobs: expected a list of at most {}", kMostJobs));
    std::vector<ProjectJob> all;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      at_ = fmt::format("jobs[{}]", i);
      require(jobs[i].is_object(), "{}: expected an object", at_);
      all.push_back(read_job(jobs[i]));
    }
    return all;
  }

 private:
  std::string member(const std::string& name) const {
    const auto found = directory_.find(name);
    require(found != directory_.end(), "{}: is not in the archive", name);
    require(found->second.stored, "{}: is packed, expected the archive as it was exported", name);
    return archive_.substr(found->second.offset, found->second.size);
  }

  std::string text(const json& from, const char* name, std::size_t most) const {
    const auto value = from.value(name, json());
    if (value.is_null()) return {};
    require(value.is_string() && value.get_ref<const std::string&>().size() <= most,
            "{}.{}: expected a text of at most {} bytes", at_, name, most);
    return value;
  }

  double number(const json& from, const char* name) const {
    const auto value = from.value(name, json());
    require(value.is_number() && value.get<double>() >= 0 && value.get<double>() < 1e15,
            "{}.{}: expected a number from 0", at_, name);
    return value;
  }

  std::vector<int> wholes(const json& from, const char* name, std::size_t count) const {
    const auto value = from.value(name, json());
    require(value.is_array() && value.size() == count, "{}.{}: expected {} whole numbers", at_, name, count);
    std::vector<int> numbers;
    for (const auto& each : value) {
      require(each.is_number_integer() && each.get<std::int64_t>() >= -(1 << 24) && each.get<std::int64_t>() < 1 << 24,
              "{}.{}: expected {} whole numbers", at_, name, count);
      numbers.push_back(each);
    }
    return numbers;
  }

  SavedRequest read_request(const json& from) const {
    SavedRequest saved{from.value("request", json()).dump(-1, ' ', false, json::error_handler_t::replace), {}};
    const auto pictures = from.value("pictures", json::object());
    require(pictures.is_object() && pictures.size() <= 70, "{}.pictures: expected an object of names", at_);
    for (const auto& [part, file] : pictures.items()) {
      require(file.is_string(), "{}.pictures: expected names", at_);
      saved.files.push_back({part, part + ".png", "image/png", member(file)});
    }
    return saved;
  }

  void read_results(const json& from, JobStatus& status) const {
    const auto list = from.value("results", json());
    require(list.is_array() && !list.empty() && static_cast<std::int64_t>(list.size()) <= limits_.count,
            "{}.results: expected 1 to {} results", at_, limits_.count);
    for (const auto& each : list) {
      require(each.is_object() && each.value("picture", json()).is_string(),
              "{}.results: expected picture, tokens, order", at_);
      const auto tokens = parse_tokens(each.value("tokens", json()), at_ + ".results.tokens", limits_);
      const auto order = parse_tokens(each.value("order", json()), at_ + ".results.order", limits_);
      if (status.results.empty()) {
        status.h = tokens.h;
        status.w = tokens.w;
      }
      require(tokens.h == status.h && tokens.w == status.w && order.h == status.h && order.w == status.w,
              "{}.results: grids of several sizes, expected one", at_);
      auto result = std::make_shared<JobResult>();
      result->picture = *read_upload(member(each["picture"]), each["picture"], limits_);
      result->tokens = tokens.code;
      result->order = order.code;
      result->width = result->picture.width;
      result->height = result->picture.height;
      status.results.push_back(std::move(result));
    }
  }

  ProjectJob read_job(const json& from) const {
    ProjectJob read;
    read.request = read_request(from);
    const auto request = read_saved(read.request, {}, limits_);
    auto& job = read.job;
    job.id = text(from, "id", 64);
    if (!is_id(job.id)) job.id = new_job_id();
    job.verb = request.verb;
    job.model = request.model;
    job.record = request.record;
    job.command = request.command;
    job.format = request.format;
    job.seed = request.seed;
    job.count = request.count;
    job.created = number(from, "created");
    job.ended = number(from, "ended");
    job.label = {text(from, "name", kLongestName), from.value("starred", json()) == true, 0};
    auto& status = job.status;
    status.state = JobState::done;
    status.seconds = number(from, "seconds");
    status.step = status.steps = static_cast<std::int64_t>(number(from, "steps"));
    status.evaluations = static_cast<std::int64_t>(number(from, "evaluations"));
    const auto effective = from.value("effective", json());
    if (effective.is_object()) status.effective = effective.dump(-1, ' ', false, json::error_handler_t::replace);
    for (const auto& note : from.value("notes", json::array())) {
      if (note.is_string() && status.notes.size() < 100) status.notes.push_back(note);
    }
    read_results(from, status);
    status.factor = wholes(from, "factor", 1)[0];
    const auto area = wholes(from, "area", 4), offset = wholes(from, "offset", 2);
    status.area = {area[0], area[1], area[2], area[3]};
    status.offset_x = offset[0];
    status.offset_y = offset[1];
    return read;
  }

  const std::string& archive_;
  const ServiceLimits& limits_;
  const ZipDirectory directory_;
  std::string at_;
};

}  // namespace

struct ProjectWriter::State {
  std::uint64_t most, bytes = 0;
  json jobs = json::array();
  std::vector<std::pair<std::string, std::string>> members;
  std::set<std::string> names;

  void put(const std::string& name, std::string content) {
    if (!names.insert(name).second) return;
    take(content.size() + 2 * name.size() + 100);
    members.emplace_back(name, std::move(content));
  }
  void take(std::uint64_t more) {
    bytes += more;
    if (bytes > most) {
      throw HttpError(
          413, fmt::format("project: more than {} MiB, expected fewer jobs (or a larger --max-body-mib)", most >> 20));
    }
  }
};

ProjectWriter::ProjectWriter(std::uint64_t most_bytes) : state_(std::make_unique<State>()) {
  state_->most = most_bytes;
}
ProjectWriter::~ProjectWriter() = default;

void ProjectWriter::add(const Job& job, const SavedRequest& request) {
  const auto status = job.status();
  const auto label = job.label();
  json pictures = json::object(), results = json::array();
  for (const auto& file : request.files) {
    const auto name = name_of_picture(file.content);
    pictures[file.name] = name;
    state_->put(name, file.content);
  }
  for (std::size_t k = 0; k < status.results.size(); ++k) {
    const auto name = fmt::format("results/{}-{}.png", job.id, k);
    state_->put(name, result_bytes(job, status, k, "png"));
    results.push_back({{"picture", name},
                       {"tokens", to_json(TokenArray{status.h, status.w, status.results[k]->tokens})},
                       {"order", to_json(TokenArray{status.h, status.w, status.results[k]->order})}});
  }
  json entry = {{"id", job.id},
                {"created", job.created},
                {"ended", job.ended()},
                {"name", label.name},
                {"starred", label.starred},
                {"seconds", status.seconds},
                {"steps", status.steps},
                {"evaluations", status.evaluations},
                {"notes", status.notes},
                {"effective", status.effective.empty() ? json() : read_json(status.effective, "effective")},
                {"factor", {status.factor}},
                {"area", {status.area.x, status.area.y, status.area.width, status.area.height}},
                {"offset", {status.offset_x, status.offset_y}},
                {"request", read_json(request.json, "request")},
                {"pictures", std::move(pictures)},
                {"results", std::move(results)}};
  state_->take(entry.dump(-1, ' ', false, json::error_handler_t::replace).size());
  state_->jobs.push_back(std::move(entry));
}

std::size_t ProjectWriter::jobs() const {
  return state_->jobs.size();
}

std::string ProjectWriter::archive() const {
  const json head = {{"format", kFormat}, {"version", 1}, {"jobs", state_->jobs}};
  std::vector<std::pair<std::string, std::string>> members = {
      {"project.json", head.dump(-1, ' ', false, json::error_handler_t::replace)}};
  members.insert(members.end(), state_->members.begin(), state_->members.end());
  return stored_zip(members);
}

std::vector<ProjectJob> read_project(const std::string& archive, const ServiceLimits& limits) {
  try {
    return ProjectReader(archive, limits).read();
  } catch (const HttpError&) {
    throw;
  } catch (const Error& error) {
    throw HttpError(400, error.what(), "project");
  }
}

}  // namespace tessera::server
