#include "training/recorder.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "runtime/append_file.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "training/event_file.h"

namespace tessera {
namespace {

/// Leaves the whole lines of at most step `last` in the file, the others out.
void cut_records(const std::filesystem::path& file, std::int64_t last) {
  std::ifstream stream(file);
  if (!stream) return;
  std::string kept, line;
  bool cut = false;
  while (std::getline(stream, line)) {
    const auto record = json_or_discarded(line);
    const bool good = !stream.eof() && record.is_object() && record.contains("step") &&
                      record["step"].is_number_integer() && record["step"].get<std::int64_t>() <= last;
    cut = cut || !good;
    if (good) kept += line + "\n";
  }
  stream.close();
  if (cut) write_file_atomically(file, kept);
}

}  // namespace

Recorder::Recorder(std::filesystem::path folder, std::int64_t last) : folder_(std::move(folder)) {
  std::error_code code;
  std::filesystem::create_directories(folder_ / "previews", code);
  require(!code, "{}: cannot be made: {}", (folder_ / "previews").string(), code.message());
  cut_records(folder_ / "metrics.jsonl", last);
  lines_ = std::make_unique<AppendFile>(folder_ / "metrics.jsonl");
  try {
    events_ = std::make_unique<EventFile>(folder_);
  } catch (const Error& error) {
    log().warn("{}; going on without event files", error.what());
  }
}

Recorder::~Recorder() = default;

void Recorder::scalars(std::int64_t step, const Metrics& metrics) {
  nlohmann::ordered_json line{{"step", step}};
  for (const auto& [name, value] : metrics) {
    line[name] = value;
    if (events_) events_->scalar(step, name, value);
  }
  lines_->append(line.dump() + "\n");
  lines_->flush();
  if (events_) events_->flush();
}

void Recorder::series(std::int64_t step, const std::string& name, const std::vector<double>& values) {
  lines_->append(nlohmann::ordered_json{{"step", step}, {name, values}}.dump() + "\n");
  lines_->flush();
}

void Recorder::image(std::int64_t step, const std::string& name, const Image& image) {
  const auto png = encode_png(image);
  try {
    write_file_atomically(folder_ / "previews" / fmt::format("{}-{:07}.png", name, step), png);
  } catch (const Error& error) {
    log().warn("{}; going on without this preview", error.what());
  }
  if (!events_) return;
  events_->image(step, name, png, image.width, image.height);
  events_->flush();
}

}  // namespace tessera
