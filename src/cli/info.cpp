/// `tessera info`: what a model folder, a safetensors file or a torch archive holds, and which command made a picture.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/torch_archive.h"
#include "cli/verbs.h"
#include "image/image_io.h"
#include "prior/prior.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;
using Report = nlohmann::ordered_json;

constexpr int kMaxDepth = 8;  // of nested values that are shown
constexpr std::size_t kMaxVisited = 100'000;
constexpr std::size_t kMaxRead = 1'000'000;  // entries of dicts
constexpr std::size_t kMaxValues = 2'000;    // that are no tensors

/// Counts of a set of tensors.
struct Summary {
  std::int64_t tensors = 0;
  std::int64_t elements = 0;
  std::map<std::string, std::int64_t> elements_by_type;

  void add(const char* type, const Shape& shape) {
    std::int64_t count = 1;
    for (const auto size : shape) {
      if (__builtin_mul_overflow(count, size, &count)) count = 0;  // a shape that no file can hold: shown, not counted
    }
    ++tensors;
    elements += count;
    elements_by_type[type] += count;
  }
  void write(Report& report) const {
    report["tensors"] = tensors;
    report["parameters"] = elements;
    report["types"] = elements_by_type;
  }
};

Summary summary_of(const TensorMap& tensors) {
  Summary summary;
  for (const auto& [name, tensor] : tensors) summary.add(c10::toString(tensor.scalar_type()), tensor.sizes().vec());
  return summary;
}

Report tensor_line(const std::string& name, const char* type, const Shape& shape) {
  return {{"name", printable(name)}, {"type", type}, {"shape", shape}};
}

/// What the prior is; of one that cannot be used why.
Report prior_report(const Bundle& bundle, const std::string& where) {
  try {
    const auto prior = prior_facts(bundle.denoiser->config, bundle.scheduler.value_or(nlohmann::json()), where);
    Report report = {{"network", network_of(bundle.denoiser->config, where).name},
                     {"process", prior.process},
                     {"total_steps", prior.total_steps},
                     {"condition", prior.condition()},
                     {"grid", {prior.network.grid.h, prior.network.grid.w}},
                     {"codebook_size", prior.network.codebook_size}};
    if (prior.network.classes > 0) report["classes"] = prior.network.classes;
    if (!prior.network.class_names.empty()) report["class_names"] = prior.network.class_names;
    return report;
  } catch (const Error& error) {
    return {{"cannot be used", error.what()}};
  }
}

Report bundle_report(const fs::path& folder) {
  const auto bundle = load_bundle(folder);
  Report report = {{"path", folder.string()}, {"format", "model folder"}};
  const auto add = [&](const char* name, const std::optional<BundlePart>& part) {
    if (!part) return;
    Report entry;
    entry["class"] = part->config.value("_class_name", nlohmann::json("?"));
    summary_of(part->tensors).write(entry);
    entry["hash"] = part_hash(bundle, name);
    entry["config"] = part->config;
    report["parts"][name] = entry;
  };
  add("vqvae", bundle.codec);
  add("transformer", bundle.denoiser);
  add("text_encoder", bundle.text_encoder);
  add("learned_classifier_free_sampling_embeddings", bundle.null_condition);
  if (bundle.scheduler) report["parts"]["scheduler"] = {{"config", *bundle.scheduler}};
  if (bundle.denoiser) report["prior"] = prior_report(bundle, folder.string());
  return report;
}

/// As it is stored.
const char* type_of(const SafetensorsEntry& entry) {
  if (entry.float8 == Float8::none) return c10::toString(entry.type);
  return entry.float8 == Float8::e4m3 ? "Float8_e4m3" : "Float8_e5m2";
}

Report safetensors_report(const fs::path& path) {
  Metadata metadata;
  auto entries = read_safetensors_entries(path, &metadata);
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  Report report = {{"path", path.string()}, {"format", "safetensors"}};
  Summary summary;
  for (const auto& entry : entries) summary.add(type_of(entry), entry.shape);
  summary.write(report);
  if (!metadata.empty()) report["metadata"] = metadata;
  report["list"] = Report::array();
  for (const auto& entry : entries) report["list"].push_back(tensor_line(entry.name, type_of(entry), entry.shape));
  return report;
}

/// Walks the values of an archive. Values may contain each other, so depth and number are limited.
class ArchiveWalk {
 public:
  explicit ArchiveWalk(Report& report) : report_(report) {
    report_["list"] = Report::array();
    report_["values"] = Report::object();
  }

  void visit(const TorchValue& value, int depth) {
    if (++visited_ > kMaxVisited || depth > kMaxDepth) return;
    switch (value.kind()) {
      case ValueKind::tensor:
        summary_.add(c10::toString(value.tensor_type()), value.tensor_shape());
        report_["list"].push_back(tensor_line(value.name(), c10::toString(value.tensor_type()), value.tensor_shape()));
        break;
      case ValueKind::dict:
        // Reading a dict takes time and memory for all of it, and one dict can stand in many places.
        read_ += value.size();
        if (read_ > kMaxRead) break;
        for (const auto& [key, item] : value.entries()) visit(item, depth + 1);
        break;
      case ValueKind::list:
      case ValueKind::tuple:
        for (std::size_t i = 0; i < value.size() && visited_ <= kMaxVisited; ++i) visit(value.at(i), depth + 1);
        break;
      case ValueKind::opaque:
      case ValueKind::type:
        note(value, "class " + value.class_name());
        break;
      case ValueKind::boolean:
        note(value, value.boolean());
        break;
      case ValueKind::integer:
        note(value, value.integer());
        break;
      case ValueKind::real:
        note(value, value.real());
        break;
      case ValueKind::string:
        note(value, printable(value.string()));
        break;
      default:
        note(value, kind_name(value.kind()));
    }
  }
  void finish() { summary_.write(report_); }

 private:
  void note(const TorchValue& value, const nlohmann::json& content) {
    if (report_["values"].size() < kMaxValues) report_["values"].emplace(printable(value.name()), content);
  }

  Report& report_;
  Summary summary_;
  std::size_t visited_ = 0, read_ = 0;
};

Report archive_report(const fs::path& path) {
  const auto archive = load_torch_archive(path);
  Report report = {{"path", path.string()}, {"format", archive.format()}};
  ArchiveWalk walk(report);
  walk.visit(archive.root(), 0);
  walk.finish();
  return report;
}

bool looks_like_png(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 8> head{};
  file.read(head.data(), head.size());
  return file && std::string_view(head.data(), head.size()) == std::string_view("\x89PNG\r\n\x1a\n", 8);
}

/// The options that a picture of this program carries, the command that made it first.
Report picture_report(const fs::path& path) {
  Report report = {{"path", path.string()}, {"format", "PNG"}};
  // A report finds its fields one by one: as many as strangers like would take the square of their number.
  const auto texts = read_png_text(path);
  std::size_t shown = 0;
  for (const auto& [key, text] : texts) {
    if (key != "tessera" && ++shown > kMaxValues) continue;
    const auto options = key == "tessera" ? ordered_json_or_discarded(text) : Report();
    if (!options.is_object()) {
      report[printable(key)] = printable(text);
      continue;
    }
    if (options.contains("command") && options["command"].is_string()) {
      report["command"] = printable(options["command"].get<std::string>(), 1 << 16);
    }
    for (const auto& [name, value] : options.items()) {
      if (name != "command")
        report["options"][printable(name)] = value.is_string() ? Report(printable(value.get<std::string>())) : value;
    }
  }
  if (shown > kMaxValues) report["texts left out"] = shown - kMaxValues;
  if (!report.contains("options")) report["made by"] = "unknown: the picture carries no options of this program";
  return report;
}

constexpr std::size_t kMostText = 1 << 16;  // bytes of one value

void print_text(const Report& value, const std::string& indent) {
  for (const auto& [name, item] : value.items()) {
    if (name == "list") continue;
    if (item.is_object() && !item.empty()) {
      std::printf("%s%s\n", indent.c_str(), printable(name).c_str());
      print_text(item, indent + "  ");
    } else {
      const auto text =
          item.is_string() ? item.get<std::string>() : item.dump(-1, ' ', false, Report::error_handler_t::replace);
      std::printf("%s%-12s %s\n", indent.c_str(), printable(name).c_str(), printable(text, kMostText).c_str());
    }
  }
  if (!value.contains("list")) return;
  for (const auto& tensor : value["list"]) {
    std::printf("%s%-9s %-20s %s\n", indent.c_str(), tensor["type"].get<std::string>().c_str(),
                shape_text(tensor["shape"].get<Shape>()).c_str(), tensor["name"].get<std::string>().c_str());
  }
}

void run(const fs::path& path, bool json) {
  require(fs::exists(path), "{}: no such file or folder", path.string());
  const auto report = fs::is_directory(path)           ? bundle_report(path)
                      : looks_like_png(path)           ? picture_report(path)
                      : looks_like_torch_archive(path) ? archive_report(path)
                                                       : safetensors_report(path);
  if (json) {
    std::printf("%s\n", report.dump(-1, ' ', false, Report::error_handler_t::replace).c_str());
  } else {
    print_text(report, "");
  }
}

}  // namespace

void add_info(CLI::App& app) {
  struct Arguments {
    std::string path;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* verb =
      app.add_subcommand("info", "Say what a model folder or a checkpoint file holds, or which command made a picture");
  verb->add_option(
          "path", arguments->path,
          "A model folder, a .safetensors file, a torch archive (.th, .ckpt, .pth, .bin) or a PNG made by this program")
      ->required();
  verb->add_flag("--json", arguments->json, "Print one JSON object");
  verb->callback([arguments] { run(arguments->path, arguments->json); });
}

}  // namespace tessera::cli
