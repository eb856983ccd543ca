/// The OpenAPI 3.1 document, out of the routes and the one list of request fields.
#include <nlohmann/json.hpp>

#include "server/request_fields.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

json type(const char* name) {
  return {{"type", name}};
}
json maybe(const char* name) {
  return {{"type", json::array({name, "null"})}};
}
json list_of(json items) {
  return {{"type", "array"}, {"items", std::move(items)}};
}
json object(json properties, json required = json::array()) {
  return {{"type", "object"}, {"required", std::move(required)}, {"properties", std::move(properties)}};
}
/// Every property is there.
json whole_object(const json& properties) {
  auto required = json::array();
  for (const auto& [name, value] : properties.items()) required.push_back(name);
  return object(properties, required);
}
json reference(const std::string& name) {
  return {{"$ref", "#/components/schemas/" + name}};
}
json numbers(int count) {
  return {{"type", "array"}, {"items", type("integer")}, {"minItems", count}, {"maxItems", count}};
}
json maybe_numbers(int count) {
  auto schema = numbers(count);
  schema["type"] = {"array", "null"};
  return schema;
}
json token_grid() {
  return list_of(list_of(maybe("integer")));
}

json job_request() {
  json properties = {{"verb", {{"type", "string"}, {"enum", verb_names()}}},
                     {"model", {{"type", "string"}, {"description", "[the first one served]"}}}};
  for (const auto& field : request_fields()) properties[field.name] = schema_of(field);
  auto schema = object(properties, {"verb"});
  schema["additionalProperties"] = false;
  return schema;
}

json job() {
  const auto result = whole_object({{"url", type("string")},
                                    {"tokens_url", type("string")},
                                    {"seed", type("integer")},
                                    {"image_number", type("integer")},
                                    {"width", type("integer")},
                                    {"height", type("integer")}});
  return whole_object({{"id", type("string")},
                       {"url", type("string")},
                       {"events", type("string")},
                       {"verb", {{"type", "string"}, {"enum", verb_names()}}},
                       {"model", type("string")},
                       {"state", {{"type", "string"}, {"enum", job_state_names()}}},
                       {"count", type("integer")},
                       {"position", type("integer")},
                       {"step", type("integer")},
                       {"steps", type("integer")},
                       {"evaluations", type("integer")},
                       {"rate", type("number")},
                       {"eta_seconds", maybe("number")},
                       {"seconds", type("number")},
                       {"created", type("number")},
                       {"ended", maybe("number")},
                       {"name", maybe("string")},
                       {"starred", type("boolean")},
                       {"deleted", type("boolean")},
                       {"error", maybe("string")},
                       {"notes", list_of(type("string"))},
                       {"request", type("object")},
                       {"effective", maybe("object")},
                       {"command", maybe("string")},
                       {"grid", maybe_numbers(2)},
                       {"factor", maybe("integer")},
                       {"area", maybe_numbers(4)},
                       {"offset", maybe_numbers(2)},
                       {"results", list_of(result)}});
}

json capabilities() {
  const auto model = whole_object({{"name", type("string")},
                                   {"width", type("integer")},
                                   {"height", type("integer")},
                                   {"factor", type("integer")},
                                   {"grid", numbers(2)},
                                   {"codebook_size", type("integer")},
                                   {"has_prior", type("boolean")},
                                   {"process", maybe("string")},
                                   {"condition", {{"type", "string"}, {"enum", {"none", "text", "class"}}}},
                                   {"classes", list_of(type("string"))},
                                   {"samplers", list_of(type("string"))},
                                   {"sampler_help", type("object")},
                                   {"sampling_options", list_of(type("object"))},
                                   {"defaults", type("object")},
                                   {"weight_bytes", type("integer")},
                                   {"loaded", type("boolean")}});
  return whole_object({{"version", type("string")},
                       {"models", list_of(model)},
                       {"default_model", type("string")},
                       {"verbs", list_of(type("string"))},
                       {"formats", list_of(type("string"))},
                       {"workspace", type("boolean")},
                       {"limits", type("object")}});
}

json a1111_request(json own) {
  json properties = {
      {"prompt", type("string")},       {"negative_prompt", type("string")},  {"seed", type("integer")},
      {"steps", type("integer")},       {"cfg_scale", type("number")},        {"width", type("integer")},
      {"height", type("integer")},      {"batch_size", type("integer")},      {"n_iter", type("integer")},
      {"sampler_name", type("string")}, {"override_settings", type("object")}};
  properties.update(own);
  return object(properties);
}

json openai_request(bool form) {
  json properties = {{"model", type("string")},
                     {"prompt", type("string")},
                     {"n", type("integer")},
                     {"size", type("string")},
                     {"response_format", {{"type", "string"}, {"enum", {"b64_json", "url"}}}},
                     {"output_format", {{"type", "string"}, {"enum", picture_formats()}}},
                     {"seed", type("integer")},
                     {"steps", type("integer")}};
  if (!form) return object(properties);
  const json file = {{"type", "string"}, {"contentMediaType", "application/octet-stream"}};
  properties["image"] = file;
  properties["mask"] = file;
  return object(properties, {"image"});
}

json schemas() {
  const auto text = type("string");
  const auto whole = type("integer");
  return {
      {"JobRequest", job_request()},
      {"Job", job()},
      {"Jobs", whole_object({{"jobs", list_of(reference("Job"))}, {"next", maybe("integer")}, {"total", whole}})},
      {"JobLabel", object({{"name", maybe("string")}, {"starred", type("boolean")}, {"deleted", type("boolean")}})},
      {"ProjectTaken", whole_object({{"taken", whole}, {"known", whole}})},
      {"Error", whole_object({{"error", whole_object({{"message", text}, {"field", maybe("string")}})}})},
      {"ResultTokens", whole_object({{"tokens", token_grid()},
                                     {"order", token_grid()},
                                     {"codebook_size", whole},
                                     {"factor", whole},
                                     {"area", numbers(4)},
                                     {"offset", numbers(2)}})},
      {"Capabilities", capabilities()},
      {"EncodeRequest", object({{"model", text}, {"image", text}}, {"image"})},
      {"Encoded", whole_object({{"tokens", token_grid()},
                                {"codebook_size", whole},
                                {"factor", whole},
                                {"width", whole},
                                {"height", whole}})},
      {"DecodeRequest", object({{"model", text}, {"tokens", token_grid()}, {"format", text}}, {"tokens"})},
      {"Decoded", whole_object({{"image", text}, {"width", whole}, {"height", whole}})},
      {"CandidatesRequest", object({{"model", text},
                                    {"tokens", token_grid()},
                                    {"cell", numbers(2)},
                                    {"count", whole},
                                    {"temperature", type("number")},
                                    {"prompt", text},
                                    {"negative_prompt", text},
                                    {"class", whole},
                                    {"cfg_scale", type("number")}},
                                   {"tokens", "cell"})},
      {"Candidates",
       whole_object({{"candidates",
                      list_of(whole_object({{"token", whole}, {"probability", type("number")}, {"image", text}}))}})},
      {"ScoreRequest", object({{"model", text},
                               {"tokens", token_grid()},
                               {"grids", list_of(token_grid())},
                               {"spacing", whole},
                               {"prompt", text},
                               {"negative_prompt", text},
                               {"class", whole},
                               {"cfg_scale", type("number")}})},
      {"Scores", whole_object({{"scores", list_of(list_of(list_of(maybe("number"))))},
                               {"sums", list_of(type("number"))},
                               {"given", {{"type", "string"}, {"enum", {"others", "before"}}}},
                               {"evaluations", whole}})},
      {"ModelCard",
       whole_object({{"name", text},
                     {"text", text},
                     {"folder", maybe("string")},
                     {"examples", list_of(whole_object({{"url", text}, {"name", text}, {"text", maybe("string")}}))}})},
      {"WordsRequest", object({{"text", text}}, {"text"})},
      {"Words", whole_object({{"tokens", whole}, {"most", whole}, {"left_out", text}})},
      {"Health", whole_object({{"status", text}, {"waiting", whole}})},
      {"OpenAIGeneration", openai_request(false)},
      {"OpenAIEdit", openai_request(true)},
      {"OpenAIVariation", openai_request(true)},
      {"OpenAIImages", object({{"created", whole},
                               {"data", list_of(object({{"b64_json", text}, {"url", text}}))},
                               {"output_format", text},
                               {"size", text},
                               {"seed", whole},
                               {"warnings", list_of(text)},
                               {"notes", list_of(text)}},
                              {"created", "data", "seed"})},
      {"OpenAIModel", whole_object({{"id", text}, {"object", text}, {"created", whole}, {"owned_by", text}})},
      {"OpenAIModels", whole_object({{"object", text}, {"data", list_of(reference("OpenAIModel"))}})},
      {"A1111Txt2Img", a1111_request(json::object())},
      {"A1111Img2Img", a1111_request({{"init_images", list_of(text)},
                                      {"mask", text},
                                      {"denoising_strength", type("number")},
                                      {"latent_mask", text},
                                      {"inpainting_mask_invert", whole},
                                      {"mask_blur", whole},
                                      {"resize_mode", whole}})},
      {"A1111Images", whole_object({{"images", list_of(text)}, {"parameters", type("object")}, {"info", text}})},
      {"A1111Progress", whole_object({{"progress", type("number")},
                                      {"eta_relative", type("number")},
                                      {"state", type("object")},
                                      {"current_image", maybe("string")},
                                      {"textinfo", maybe("string")}})},
      {"A1111Samplers",
       list_of(whole_object({{"name", text}, {"aliases", list_of(text)}, {"options", type("object")}}))},
      {"A1111Models", list_of(whole_object({{"title", text},
                                            {"model_name", text},
                                            {"hash", maybe("string")},
                                            {"sha256", maybe("string")},
                                            {"filename", text},
                                            {"config", maybe("string")}}))},
      {"A1111Options", object({{"sd_model_checkpoint", text}, {"samples_format", text}})},
      {"A1111Empty", type("object")},
      {"A1111None", list_of(type("object"))},
      {"A1111Nothing", type("null")},
  };
}

/// A schema's name begins with a capital letter, a media type with a small one or *.
json content(const std::string& what) {
  if (what.empty()) return json::object();
  if (std::isupper(static_cast<unsigned char>(what.front())) != 0) {
    return {{"application/json", {{"schema", reference(what)}}}};
  }
  return {{what, json::object()}};
}

std::string written(std::string pattern) {
  const auto dots = pattern.find("...}");
  return dots == std::string::npos ? pattern : pattern.replace(dots, 3, "");
}

json query_parameter(const char* name, json schema) {
  return {{"name", name}, {"in", "query"}, {"schema", std::move(schema)}};
}

json parameters(const std::string& method, const std::string& pattern) {
  auto list = json::array();
  for (std::size_t at = pattern.find('{'); at != std::string::npos; at = pattern.find('{', at + 1)) {
    const auto name = pattern.substr(at + 1, pattern.find('}', at) - at - 1);
    list.push_back({{"name", name},
                    {"in", "path"},
                    {"required", true},
                    {"schema", name == "k" ? type("integer") : type("string")}});
  }
  if (method == "GET" && (pattern == "/api/v1/jobs" || pattern == "/api/v1/project")) {
    list.push_back(query_parameter("q", type("string")));
    list.push_back(query_parameter("starred", type("boolean")));
  }
  if (method == "GET" && pattern == "/api/v1/jobs") {
    list.push_back(query_parameter("state", {{"type", "string"}, {"enum", job_state_names()}}));
    list.push_back(query_parameter("deleted", type("boolean")));
    for (const char* name : {"before", "limit"}) list.push_back(query_parameter(name, type("integer")));
  }
  if (pattern.ends_with("/unmasking/{k}")) {
    for (const char* name : {"frames", "milliseconds"}) list.push_back(query_parameter(name, type("integer")));
  }
  if (pattern.ends_with("/images/{k}")) {
    list.push_back(query_parameter("format", {{"type", "string"}, {"enum", picture_formats()}}));
    list.push_back(query_parameter("encoding", {{"type", "string"}, {"enum", {"base64"}}}));
  }
  return list;
}

}  // namespace

json openapi_document(const std::vector<Route>& routes, const ServiceLimits& limits) {
  json paths = json::object();
  for (const auto& route : routes) {
    const auto path = written(route.pattern);
    json operation = {
        {"summary", route.summary},
        {"parameters", parameters(route.method, path)},
        {"responses",
         {{std::to_string(route.status), {{"description", "success"}, {"content", content(route.answer)}}},
          {"default", {{"description", "a refusal"}, {"content", content("Error")}}}}}};
    if (route.open) operation["security"] = json::array();
    if (!route.body.empty()) {
      auto body = content(route.body);
      if (route.body == "OpenAIEdit" || route.body == "OpenAIVariation")
        body = {{"multipart/form-data", {{"schema", reference(route.body)}}}};
      if (route.body == "JobRequest") {
        body["multipart/form-data"] = {{"schema", object({{"request", reference(route.body)}}, {"request"})},
                                       {"encoding", {{"request", {{"contentType", "application/json"}}}}}};
      }
      operation["requestBody"] = {{"required", true}, {"content", std::move(body)}};
    }
    std::string method = route.method;
    for (auto& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    paths[path][method] = std::move(operation);
  }
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "Tessera"},
            {"version", TESSERA_VERSION},
            {"description", fmt::format("Discrete diffusion for images. Bodies of at most {} MiB.", limits.body_mib)},
            {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
          {"security", json::array({{{"key", json::array()}}})},
          {"paths", std::move(paths)},
          {"components",
           {{"schemas", schemas()}, {"securitySchemes", {{"key", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
}

}  // namespace tessera::server
