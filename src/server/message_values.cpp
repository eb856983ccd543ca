#include "server/message_values.h"

#include <algorithm>
#include <cstring>

#include "image/stored_png.h"
#include "server/saved_request.h"

namespace tessera::server {
namespace {

using nlohmann::json;

template <typename Value>
std::string raw(std::span<const Value> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

template <typename Value>
std::vector<Value> values_in(const std::string& bytes) {
  if (bytes.size() % sizeof(Value) != 0) throw Malformed("message: a part that ends in the middle of a number");
  std::vector<Value> values(bytes.size() / sizeof(Value));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <typename Value>
json maybe(const std::optional<Value>& value) {
  return value ? json(*value) : json();
}

template <typename Value>
std::optional<Value> maybe_in(const json& value) {
  if (value.is_null()) return {};
  return value.get<Value>();
}

/// Both sides are on this machine: what is packed here is unpacked there at once. Transparency is rare.
std::string wire_png(const Image& picture) {
  return picture.has_transparency() ? encode_png(picture) : encode_stored_png(picture);
}

}  // namespace

std::string bytes_of(std::span<const std::int32_t> codes) {
  return raw(codes);
}
std::string bytes_of(const std::vector<double>& numbers) {
  return raw(std::span<const double>(numbers));
}

const std::string& part(const Message& message, std::size_t k) {
  if (k >= message.parts.size()) throw Malformed(fmt::format("message: no part {} among {}", k, message.parts.size()));
  return message.parts[k];
}
Codes codes_in(const Message& message, std::size_t k) {
  return values_in<std::int32_t>(part(message, k));
}

/// Grids as the parts of a message that has no others.
void put_grids(Message& message, const std::vector<Codes>& grids) {
  for (const auto& grid : grids) message.parts.push_back(bytes_of(grid));
}
std::vector<Codes> grids_in(const Message& message) {
  std::vector<Codes> grids;
  for (std::size_t k = 0; k < message.parts.size(); ++k) grids.push_back(codes_in(message, k));
  return grids;
}
std::vector<double> numbers_in(const Message& message, std::size_t k) {
  return values_in<double>(part(message, k));
}

json put(Message& message, const Image& image) {
  const auto first = message.parts.size();
  message.parts.emplace_back(image.pixels.begin(), image.pixels.end());
  message.parts.emplace_back(image.rgba.begin(), image.rgba.end());
  return {image.width, image.height, first};
}

Image image_in(const Message& message, const json& place) {
  Image image;
  image.width = place.at(0);
  image.height = place.at(1);
  const auto first = place.at(2).get<std::size_t>();
  const auto &pixels = part(message, first), &rgba = part(message, first + 1);
  const auto area =
      static_cast<std::uint64_t>(std::max(image.width, 0)) * static_cast<std::uint64_t>(std::max(image.height, 0));
  if (area == 0 || pixels.size() != 3 * area || (!rgba.empty() && rgba.size() != 4 * area)) {
    throw Malformed(fmt::format("message: a picture of {}x{} in {} and {} bytes", image.width, image.height,
                                pixels.size(), rgba.size()));
  }
  image.pixels.assign(pixels.begin(), pixels.end());
  image.rgba.assign(rgba.begin(), rgba.end());
  return image;
}

json put(Message& message, const TokenArray& tokens) {
  message.parts.push_back(bytes_of(tokens.code));
  return {tokens.h, tokens.w, message.parts.size() - 1};
}

TokenArray tokens_in(const Message& message, const json& place) {
  TokenArray tokens{place.at(0), place.at(1), codes_in(message, place.at(2))};
  const auto cells = static_cast<std::int64_t>(tokens.code.size());
  if (tokens.h < 1 || tokens.w < 1 || tokens.h > cells || tokens.w > cells || tokens.h * tokens.w != cells)
    throw Malformed(fmt::format("message: a grid of {}x{} with {} codes", tokens.h, tokens.w, cells));
  return tokens;
}

void put_request(Message& message, const JobRequest& request) {
  auto saved = saved_request(request, wire_png);
  message.head["notes"] = request.notes;
  message.parts.push_back(std::move(saved.json));
  for (auto& file : saved.files) {
    message.head["files"].push_back(file.name);
    message.parts.push_back(std::move(file.content));
  }
}

JobRequest request_in(const Message& message, const ServiceLimits& limits) {
  SavedRequest saved{part(message, 0), {}};
  for (const auto& name : message.head.value("files", json::array())) {
    saved.files.push_back({name, name.get<std::string>() + ".png", "image/png", part(message, saved.files.size() + 1)});
  }
  // Pictures have the size that they were let in with, but take more bytes here.
  auto unpacked = limits;
  unpacked.body_mib = static_cast<std::int64_t>(most_message_bytes(limits) >> 20) + 1;
  return read_saved(saved, message.head.at("notes").get<std::vector<std::string>>(), unpacked);
}

void put_prepared(Message& message, const PreparedJob& job) {
  message.head["grid"] = {job.h, job.w, job.factor};
  message.head["area"] = {job.area.x, job.area.y, job.area.width, job.area.height};
  message.head["offset"] = {job.offset_x, job.offset_y};
  message.head["size"] = {job.width, job.height};
  message.head["notes"] = job.notes;
  message.head["effective"] = job.effective;
  put_grids(message, job.start);
}

void read_prepared(const Message& message, PreparedJob& job) {
  const auto &head = message.head, &grid = head.at("grid"), &area = head.at("area");
  job.h = grid.at(0);
  job.w = grid.at(1);
  job.factor = grid.at(2);
  job.area = {area.at(0), area.at(1), area.at(2), area.at(3)};
  job.offset_x = head.at("offset").at(0);
  job.offset_y = head.at("offset").at(1);
  job.width = head.at("size").at(0);
  job.height = head.at("size").at(1);
  job.notes = head.at("notes").get<std::vector<std::string>>();
  job.effective = head.at("effective");
  job.start = grids_in(message);
  for (const auto& codes : job.start) {
    if (static_cast<std::int64_t>(codes.size()) != job.h * job.w)
      throw Malformed(fmt::format("message: {} codes to begin with, expected {}x{}", codes.size(), job.h, job.w));
  }
}

void put_start(Message& message, const FillStart& start) {
  message.head["step"] = start.step;
  put_grids(message, start.tokens);
}
FillStart start_in(const Message& message) {
  FillStart start;
  start.step = message.head.at("step");
  start.tokens = grids_in(message);
  return start;
}

void put_outcome(Message& message, const FillOutcome& outcome) {
  message.head["evaluations"] = outcome.evaluations;
  message.head["stopped"] = outcome.stopped;
  put_grids(message, outcome.tokens);
}
FillOutcome outcome_in(const Message& message) {
  FillOutcome outcome;
  outcome.evaluations = message.head.at("evaluations");
  outcome.stopped = message.head.at("stopped");
  outcome.tokens = grids_in(message);
  return outcome;
}

void put_caption_choice(Message& message, const CaptionChoice& choice) {
  auto& head = message.head;
  head["begins"] = choice.begins;
  head["temperature"] = choice.temperature;
  head["guidance_scale"] = choice.guidance_scale;
  head["seed"] = choice.seed;
}
CaptionChoice caption_choice_in(const Message& message) {
  const auto& head = message.head;
  CaptionChoice choice;
  choice.begins = head.at("begins");
  choice.temperature = head.at("temperature");
  choice.guidance_scale = head.at("guidance_scale");
  choice.seed = head.at("seed");
  return choice;
}

void put_candidate_request(Message& message, const CandidateRequest& request) {
  auto& head = message.head;
  head["tokens"] = put(message, request.tokens);
  head["cell"] = {request.y, request.x};
  head["count"] = request.count;
  head["temperature"] = request.temperature;
  head["prompt"] = request.prompt;
  head["negative_prompt"] = request.negative_prompt;
  head["label"] = request.label;
  head["cfg_scale"] = maybe(request.cfg_scale);
}
CandidateRequest candidate_request_in(const Message& message) {
  const auto& head = message.head;
  CandidateRequest request;
  request.tokens = tokens_in(message, head.at("tokens"));
  request.y = head.at("cell").at(0);
  request.x = head.at("cell").at(1);
  request.count = head.at("count");
  request.temperature = head.at("temperature");
  request.prompt = head.at("prompt");
  request.negative_prompt = head.at("negative_prompt");
  request.label = head.at("label");
  request.cfg_scale = maybe_in<double>(head.at("cfg_scale"));
  return request;
}

void put_candidates(Message& message, const std::vector<Candidate>& candidates) {
  auto list = json::array();
  for (const auto& each : candidates)
    list.push_back({{"token", each.token}, {"probability", each.probability}, {"image", put(message, each.thumbnail)}});
  message.head["candidates"] = std::move(list);
}
std::vector<Candidate> candidates_in(const Message& message) {
  std::vector<Candidate> candidates;
  for (const auto& each : message.head.at("candidates"))
    candidates.push_back({each.at("token"), each.at("probability"), image_in(message, each.at("image"))});
  return candidates;
}

void put_score_request(Message& message, const ScoreRequest& request) {
  auto& head = message.head;
  head["grids"] = json::array();
  for (const auto& grid : request.grids) head["grids"].push_back(put(message, grid));
  head["spacing"] = request.spacing;
  head["prompt"] = request.prompt.prompt;
  head["negative_prompt"] = request.prompt.negative_prompt;
  head["label"] = request.prompt.label;
  head["class_name"] = request.prompt.class_name;
  head["cfg_scale"] = maybe(request.prompt.guidance_scale);
}
ScoreRequest score_request_in(const Message& message) {
  const auto& head = message.head;
  ScoreRequest request;
  for (const auto& grid : head.at("grids")) request.grids.push_back(tokens_in(message, grid));
  request.spacing = head.at("spacing");
  request.prompt.prompt = head.at("prompt");
  request.prompt.negative_prompt = head.at("negative_prompt");
  request.prompt.label = head.at("label");
  request.prompt.class_name = head.at("class_name");
  request.prompt.guidance_scale = maybe_in<double>(head.at("cfg_scale"));
  return request;
}

void put_scores(Message& message, const Scores& scores) {
  message.head["evaluations"] = scores.evaluations;
  message.head["given_before"] = scores.given_before;
  for (const auto& grid : scores.log_probabilities) message.parts.push_back(bytes_of(grid));
}
Scores scores_in(const Message& message) {
  Scores scores;
  scores.evaluations = message.head.at("evaluations");
  scores.given_before = message.head.at("given_before");
  for (std::size_t k = 0; k < message.parts.size(); ++k) scores.log_probabilities.push_back(numbers_in(message, k));
  return scores;
}

}  // namespace tessera::server
