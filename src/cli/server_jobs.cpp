#include "cli/server_jobs.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "canvas/stitch.h"
#include "checkpoint/lora.h"
#include "image/contact_sheet.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/printable.h"
#include "runtime/progress.h"
#include "runtime/stop_signal.h"
#include "server/base64.h"
#include "server/http_client.h"
#include "server/request_fields.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using server::RequestField;

std::string file_as_base64(const std::string& path) {
  return server::to_base64(path == "-" ? read_standard_input(ReadOptions{}.max_file_bytes)
                                       : read_file(path, ReadOptions{}.max_file_bytes));
}

json box_json(const PixelBox& box) {
  return {box.x, box.y, box.width, box.height};
}

json piece_json(const Piece& piece) {
  return {
      {"image", file_as_base64(piece.file.string())}, {"from", box_json(piece.from)}, {"to", {piece.to_x, piece.to_y}}};
}

/// A number as it was typed. Throws UsageError.
json number_json(const std::string& flag, const std::string& text) {
  auto value = json_or_discarded(text);
  if (!value.is_number()) throw UsageError(fmt::format("{} {}: expected a number", flag, text));
  return value;
}

/// The words of one flag as the field's value in JSON.
struct ValueOf {
  const RequestField& field;
  const std::vector<std::string>& words;

  json operator()(RequestField::Whole) const { return number_json(field.flag, words.front()); }
  json operator()(RequestField::Count) const { return number_json(field.flag, words.front()); }
  json operator()(RequestField::Number) const { return number_json(field.flag, words.front()); }
  json operator()(RequestField::MaybeNumber) const { return number_json(field.flag, words.front()); }
  json operator()(RequestField::Flag) const { return words.front() != "false"; }
  json operator()(RequestField::Text) const { return words.front(); }
  json operator()(server::Upload) const {
    if (words.size() > 1)
      throw UsageError(fmt::format("{}: {} pictures, expected one with --server", field.flag, words.size()));
    return file_as_base64(words.front());
  }
  json operator()(const RequestField::Boxes&) const {
    auto boxes = json::array();
    for (const auto& word : words) boxes.push_back(box_json(parse_pixel_box(word, field.flag)));
    return boxes;
  }
  json operator()(const RequestField::Pieces&) const {
    auto pieces = json::array();
    for (const auto& word : words) pieces.push_back(piece_json(parse_piece(word)));
    return pieces;
  }
  json operator()(const RequestField::Tokens&) const { return {}; }
  json operator()(const RequestField::Sampling& sampling) const {
    return json_of(sampling.option.from_text(words.front()));
  }
};

void add_layout(const std::string& path, json& job) {
  const auto layout = read_layout(path);
  if (layout.width != 0) job["width"] = layout.width;
  if (layout.height != 0) job["height"] = layout.height;
  if (layout.onto) job["onto"] = file_as_base64(layout.onto->string());
  for (const auto& piece : layout.pieces) job["pieces"].push_back(piece_json(piece));
}

/// What --lora says, as the service's field: it has its own files, by their names without folder and ending.
std::string served_loras(const std::vector<std::string>& words) {
  std::string served;
  for (const auto& word : words) {
    const auto lora = parse_lora(word);
    const auto name = lora.file.extension() == ".safetensors" ? lora.file.stem() : lora.file.filename();
    served += fmt::format("{}{}:{}", served.empty() ? "" : ",", name.string(), lora.weight);
  }
  return served;
}

/// Flags about what becomes of the answer here.
bool stays_here(const std::string& name) {
  for (const auto* own : {"server", "output", "earlier", "json", "quiet", "dtype", "device", "threads"}) {
    if (name == own) return true;
  }
  return false;
}

/// Writes the results as they arrive; at the end the sheet.
class Results {
 public:
  explicit Results(const JobOutput& output) : output_(output), format_(picture_format(output.output)) {
    if (format_.empty()) output.earlier.make_folder(output.output);
  }

  /// Of one picture the bytes are written as the service made them.
  std::string format(bool one) const { return one && !format_.empty() ? format_ : "png"; }

  void add(std::size_t index, const std::string& bytes, bool one) {
    if (format_.empty()) {
      const auto path = fs::path(output_.output) / fmt::format("{:05}.png", index);
      write_file_atomically(path, bytes);
      files_.push_back(path.string());
    } else if (one) {
      write_bytes(output_.output, bytes);
      files_.push_back(output_.output);
    }
    if (!one)
      pictures_.push_back(read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "result"));
  }

  /// Out: what is shown to whoever asked.
  std::string finish(const json& job) {
    if (pictures_.size() < 2) return files_.empty() ? output_.output : files_.front();
    const auto& first = pictures_.front();
    for (const auto& picture : pictures_) {
      if (picture.width != first.width || picture.height != first.height) return output_.output;
    }
    auto sheet = format_.empty() ? (fs::path(output_.output) / "sheet.png").string() : output_.output;
    write_picture(sheet, contact_sheet(pictures_), sheet_text({{"command", job.value("command", "")}}));
    return sheet;
  }

  const std::vector<std::string>& files() const { return files_; }

 private:
  const JobOutput& output_;
  std::string format_;  // empty: a folder
  std::vector<std::string> files_;
  std::vector<Image> pictures_;
};

/// Waits for the job's end. Out: the job as it stands then.
json end_of_job(server::ServiceClient& service, const std::string& path, const std::string& verb) {
  constexpr auto kBetweenLooks = std::chrono::milliseconds(100);
  const StopSignal stop;
  std::optional<Progress> progress;
  while (true) {
    auto job = service.ask("GET", path);
    const auto state = job.at("state").get<std::string>();
    const auto step = job.value("step", std::int64_t{0}), steps = job.value("steps", std::int64_t{0});
    if (state == "running" && steps > 0) {
      if (!progress) progress.emplace(verb, 0, steps, "steps");
      progress->new_total(steps);
      progress->update(step, "");
    }
    if (state == "done") {
      if (progress) progress->update(steps, "");
      return job;
    }
    if (state == "failed" || state == "cancelled") {
      const auto error = job.value("error", json());
      fail("{}: the job {}{}", service.name(), state == "failed" ? "failed" : "was cancelled",
           error.is_string() ? ": " + printable(error.get<std::string>(), 1 << 12) : std::string());
    }
    if (stop.requested()) {
      service.ask("DELETE", path);
      fail("{}: stopped; the job was cancelled", service.name());
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

}  // namespace

void add_server_flag(CLI::App& verb, ServerFlags& flags) {
  auto* model = verb.get_option("--model");
  verb.add_option_function<std::string>(
          "--server",
          [&flags, model](const std::string& url) {
            flags.url = url;
            model->required(false);
          },
          "http://HOST:PORT of a tessera serve that does the work; -m is one of its models, key: TESSERA_API_KEY")
      ->type_name("TEXT");
}

json job_of(const CLI::App& verb) {
  json job = {{"verb", verb.get_name()}};
  const auto fields = server::request_fields();
  for (const auto* option : verb.get_options()) {
    if (option->count() == 0 || option->get_lnames().empty()) continue;
    const auto& names = option->get_lnames();
    const auto& words = option->results();
    if (std::any_of(names.begin(), names.end(), stays_here)) continue;
    if (names.front() == "model") {
      auto model = fs::path(words.front());
      job["model"] = (model.has_filename() ? model : model.parent_path()).filename().string();
      continue;
    }
    if (names.front() == "lora") {
      job["loras"] = served_loras(words);
      continue;
    }
    if (names.front() == "least-likely") {
      job["by"] = "likelihood";
      continue;
    }
    if (names.front() == "layout") {
      add_layout(words.front(), job);
      continue;
    }
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const RequestField& each) {
      return each.flag.size() > 2 && std::find(names.begin(), names.end(), each.flag.substr(2)) != names.end() &&
             each.taken_by(verb.get_name());
    });
    if (field == fields.end() || std::holds_alternative<RequestField::Tokens>(field->target))
      throw UsageError(fmt::format("{}: not with --server, a service has nothing for it", option->get_name()));
    auto value = std::visit(ValueOf{*field, words}, field->target);
    if (field->name == "pieces" && job.contains("pieces")) {
      for (auto& piece : value) job["pieces"].push_back(std::move(piece));
    } else {
      job[field->name] = std::move(value);
    }
  }
  return job;
}

void run_job(server::ServiceClient& service, json job, const JobOutput& output) {
  output.earlier.validate();
  const auto verb = job.value("verb", json()).is_string() ? job["verb"].get<std::string>() : std::string("job");
  const bool one = job.value("count", json(1)) == 1;
  Results results(output);
  job["format"] = results.format(one);
  job["previews"] = false;
  const auto queued = service.ask("POST", "/api/v1/jobs", job.dump());
  auto done = end_of_job(service, queued.at("url").get<std::string>(), verb);
  for (const auto& note : done.value("notes", json::array()))
    log().info("{}", printable(note.get<std::string>(), 1 << 12));
  std::size_t index = 0;
  for (const auto& result : done.at("results")) {
    results.add(index++, service.fetch(result.at("url").get<std::string>()), one);
  }
  const auto shown = results.finish(done);
  if (output.json) {
    done["files"] = results.files();
    done["output"] = shown;
    fmt::print("{}\n", done.dump(2, ' ', false, json::error_handler_t::replace));
  } else if (!is_standard_output(output.output)) {
    fmt::print("{}\n", shown);
  }
}

std::string api_key() {
  const char* key = std::getenv("TESSERA_API_KEY");
  return key != nullptr ? key : "";
}

void run_on_server(const CLI::App& verb, const ServerFlags& flags, const JobOutput& output) {
  run_job(*server::remote_service(flags.url, api_key()), job_of(verb), output);
}

}  // namespace tessera::cli
