/// /api/v1/models/{model}: what a model's author says of it, its example pictures, and how much of a text it reads.
#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>

#include "image/image_io.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "server/http_head.h"
#include "server/service.h"
#include "text/clip_tokenizer.h"

namespace tessera::server {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxCardBytes = 1 << 20, kMaxExampleBytes = 8 << 20;
constexpr std::size_t kMostExamples = 24;
constexpr std::size_t kMostTextBytes = 4096;  // as the prompt of a job

struct Example {
  fs::path file;
  std::string text;  // its caption; empty: none
};

/// The lines of examples/metadata.jsonl whose picture is there, then pictures without a line.
std::vector<Example> examples_of(const fs::path& folder) {
  std::vector<Example> examples;
  const auto place = folder / "examples";
  if (folder.empty() || !fs::is_directory(place)) return examples;
  std::vector<fs::path> pictures;
  for (const auto& entry : fs::directory_iterator(place)) {
    const auto extension = entry.path().extension();
    if (extension == ".png" || extension == ".webp" || extension == ".jpg") pictures.push_back(entry.path());
  }
  std::sort(pictures.begin(), pictures.end());
  std::map<std::string, std::string> captions;
  if (const auto list = place / "metadata.jsonl"; fs::exists(list)) {
    const auto text = read_file(list, kMaxCardBytes);
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      const auto line = json_or_discarded(text.substr(at, end - at));
      at = end + 1;
      if (!line.is_object() || !line.contains("file_name") || !line["file_name"].is_string()) continue;
      const auto caption = line.value("text", json());
      if (caption.is_string()) captions[line["file_name"]] = caption;
    }
  }
  for (auto& picture : pictures) {
    if (examples.size() == kMostExamples) break;
    const auto caption = captions.find(picture.filename().string());
    examples.push_back({std::move(picture), caption == captions.end() ? std::string() : caption->second});
  }
  return examples;
}

/// README.md down to the blocks that training wrote, without its front matter.
std::string words_of_the_author(const fs::path& folder) {
  if (folder.empty() || !fs::exists(folder / "README.md")) return {};
  auto text = read_file(folder / "README.md", kMaxCardBytes);
  if (text.starts_with("---\n")) {
    const auto end = text.find("\n---\n", 4);
    if (end != std::string::npos) text.erase(0, end + 5);
  }
  return text.substr(0, text.find("<!-- codec: written by"));
}

/// Paths of this machine are told to its own browsers alone.
bool is_local(const HttpRequest& request) {
  return is_loopback(request.address) && is_loopback(host_of(request.header("host")));
}

/// A model's tokenizer and how many ids its encoder reads; kept, since the page asks while one types.
struct Words {
  std::shared_ptr<const ClipTokenizer> tokenizer;
  std::int64_t length = 0;  // with start and end
};

Words words_of(const ModelInfo& model) {
  static std::mutex mutex;
  static std::map<std::string, Words> known;
  const std::lock_guard lock(mutex);
  auto& words = known[model.folder.string()];
  if (!words.tokenizer) {
    const std::string part = model.has_captions ? "transformer" : "text_encoder";  // whose places they are
    const auto config =
        read_json_object(read_file(model.folder / part / "config.json", kMaxCardBytes), part + "/config.json");
    words.length = model.has_captions ? config.value(json::json_pointer("/tessera/words"), std::int64_t{2})
                                      : config.value("max_position_embeddings", std::int64_t{77});
    words.tokenizer = std::make_shared<const ClipTokenizer>(ClipTokenizer::load(model.folder / "tokenizer"));
  }
  return words;
}

HttpResponse card(Service& service, const Call& call) {
  const auto model = service.model(call.captures.at("model"));
  auto examples = json::array();
  const auto found = examples_of(model.folder);
  for (std::size_t k = 0; k < found.size(); ++k) {
    examples.push_back({{"url", fmt::format("/api/v1/models/{}/examples/{}", model.name, k)},
                        {"name", found[k].file.stem().string()},
                        {"text", found[k].text.empty() ? json() : json(found[k].text)}});
  }
  const bool told = is_local(call.request) && !model.folder.empty();
  return json_response({{"name", model.name},
                        {"text", words_of_the_author(model.folder)},
                        {"folder", told ? json(fs::absolute(model.folder).lexically_normal().string()) : json()},
                        {"examples", std::move(examples)}});
}

HttpResponse example(Service& service, const Call& call) {
  const auto model = service.model(call.captures.at("model"));
  const auto examples = examples_of(model.folder);
  const auto k = whole_capture(call, "k");
  if (k >= static_cast<std::int64_t>(examples.size())) {
    throw HttpError(404, fmt::format("example {}, expected below {}", k, examples.size()));
  }
  const auto& file = examples[static_cast<std::size_t>(k)].file;
  HttpResponse response;
  const auto extension = file.extension().string().substr(1);
  response.content_type = "image/" + (extension == "jpg" ? std::string("jpeg") : extension);
  response.headers["Cache-Control"] = "private, max-age=600";
  response.body = read_file(file, kMaxExampleBytes);
  return response;
}

HttpResponse count_words(Service& service, const Call& call) {
  const auto model = service.model(call.captures.at("model"));
  if (model.condition != "text") throw HttpError(400, fmt::format("model {}: it takes no text", model.name), "model");
  const auto body = parse_json(call.request.body);
  const auto found = body.is_object() ? body.find("text") : body.end();
  if (found == body.end() || !found->is_string() || found->get_ref<const std::string&>().size() > kMostTextBytes) {
    refuse("text", "expected a text of at most {} bytes", kMostTextBytes);
  }
  if (model.folder.empty()) throw HttpError(404, fmt::format("model {}: its files are not known", model.name), "model");
  const auto words = words_of(model);
  const auto most = words.length - 2;  // start and end are ids of their own
  const auto& text = found->get_ref<const std::string&>();
  const auto ids_of = [&](std::size_t bytes) {
    return static_cast<std::int64_t>(words.tokenizer->encode(text.substr(0, bytes)).size());
  };
  const auto tokens = ids_of(text.size());
  auto read = text.size();  // bytes: whole words, as many as fit
  while (read > 0 && ids_of(read) > most) {
    const auto space = text.find_last_of(" \t\n", read - 1);
    read = space == std::string::npos ? 0 : space;
  }
  return json_response({{"tokens", tokens}, {"most", most}, {"left_out", tokens > most ? text.substr(read) : ""}});
}

}  // namespace

void add_card_routes(std::vector<Route>& routes) {
  routes.push_back({"GET", "/api/v1/models/{model}/card", "A model's card: its author's words and its examples", "",
                    "ModelCard", 200, false, card});
  routes.push_back({"GET", "/api/v1/models/{model}/examples/{k}", "An example picture of a model", "", "image/*", 200,
                    false, example});
  routes.push_back({"POST", "/api/v1/models/{model}/words",
                    "How many tokens a text has, how many the model reads, and the words beyond", "WordsRequest",
                    "Words", 200, false, count_words});
}

}  // namespace tessera::server
