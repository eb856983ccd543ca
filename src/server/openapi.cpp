/// The OpenAPI 3.1 document, out of the routes and the one list of request fields.
#include <nlohmann/json.hpp>

#include "runtime/version.h"
#include "server/request_fields.h"
#include "server/service.h"

namespace tessera::server {
namespace {

using nlohmann::json;

json type(const char* name) {
  return {{"type", name}};
}
json type(const char* name, const char* description) {
  return {{"type", name}, {"description", description}};
}
json maybe(const char* name) {
  return {{"type", json::array({name, "null"})}};
}
json maybe(const char* name, const char* description) {
  return {{"type", json::array({name, "null"})}, {"description", description}};
}
json text(const char* description) {
  return type("string", description);
}
json whole(const char* description) {
  return type("integer", description);
}
json number(const char* description) {
  return type("number", description);
}
json one_of(const std::vector<std::string>& values, const char* description) {
  return {{"type", "string"}, {"enum", values}, {"description", description}};
}
json list_of(json items) {
  return {{"type", "array"}, {"items", std::move(items)}};
}
json list_of(json items, const char* description) {
  return {{"type", "array"}, {"items", std::move(items)}, {"description", description}};
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
json described(json schema, const char* description) {
  schema["description"] = description;
  return schema;
}
json reference(const std::string& name) {
  return {{"$ref", "#/components/schemas/" + name}};
}
json numbers(int count, const char* description) {
  return {{"type", "array"},
          {"items", type("integer")},
          {"minItems", count},
          {"maxItems", count},
          {"description", description}};
}
json maybe_numbers(int count, const char* description) {
  auto schema = numbers(count, description);
  schema["type"] = {"array", "null"};
  return schema;
}
json token_grid() {
  return list_of(list_of(maybe("integer")));
}
json token_grid(const char* description) {
  return described(token_grid(), description);
}

constexpr const char* kModelHelp = "a served model [the first one served]";
constexpr const char* kPromptHelp = "what is to be seen, for models that take a text";
constexpr const char* kNegativePromptHelp = "what is not to be seen, for models that take a text";
constexpr const char* kClassHelp = "name or number of the class, for models that take one";
constexpr const char* kGuidanceHelp = "scale of guidance; 1: without";

json class_choice() {
  return {{"type", {"integer", "string"}}, {"description", kClassHelp}};
}

json job_request() {
  json properties = {{"verb", one_of(verb_names(), "what to do")}, {"model", text("[the first one served]")}};
  for (const auto& field : request_fields()) properties[field.name] = schema_of(field);
  auto schema = object(properties, {"verb"});
  schema["additionalProperties"] = false;
  return schema;
}

json job() {
  const auto result = whole_object({{"url", text("of the picture's bytes")},
                                    {"tokens_url", text("of its codes")},
                                    {"seed", whole("of the job")},
                                    {"image_number", whole("k: the picture is image k of the seed")},
                                    {"width", whole("pixels")},
                                    {"height", whole("pixels")}});
  return whole_object(
      {{"id", text("128 random bits as hexadecimal digits")},
       {"url", text("of this record")},
       {"events", text("of its server-sent events")},
       {"verb", one_of(verb_names(), "what is done")},
       {"model", text("the model that does it")},
       {"state", one_of(job_state_names(), "how far it is")},
       {"count", whole("pictures asked for")},
       {"position", whole("among the jobs that wait, 1: next; 0: it does not wait")},
       {"step", whole("steps walked, of all its fills")},
       {"steps", whole("steps in all, as far as is known")},
       {"evaluations", whole("grids that the network has seen for it")},
       {"rate", number("steps a second")},
       {"eta_seconds", maybe("number", "until it is done; null: not known")},
       {"seconds", number("since it began to run")},
       {"created", number("seconds since 1970")},
       {"ended", maybe("number", "seconds since 1970; null: not yet")},
       {"name", maybe("string", "what somebody has called it")},
       {"starred", type("boolean", "whether it is kept beyond the bounds of the workspace")},
       {"deleted", type("boolean", "whether it was deleted and can still be brought back")},
       {"error", maybe("string", "why it failed, one line")},
       {"notes", list_of(type("string"), "what was snapped, scaled, read or ignored, one line each")},
       {"request", type("object", "what was asked, pictures and codes left out")},
       {"effective", maybe("object", "the options that the model decided")},
       {"command", maybe("string", "the same on the command line; null: it has no such verb")},
       {"grid", maybe_numbers(2, "cells: height, width")},
       {"factor", maybe("integer", "pixels of a cell, a side")},
       {"area", maybe_numbers(4, "x, y, width, height: the pixels of the result that the grid stands for")},
       {"offset", maybe_numbers(2, "x, y of the decoded grid's pixel that falls on the area's first")},
       {"results", list_of(result, "the pictures that are done")}});
}

json capabilities() {
  const auto model =
      whole_object({{"name", text("by which requests name it")},
                    {"width", whole("pixels, its own size")},
                    {"height", whole("pixels, its own size")},
                    {"factor", whole("pixels of a cell, a side")},
                    {"grid", numbers(2, "cells of its own size: height, width")},
                    {"codebook_size", whole("codes that a cell can have")},
                    {"has_prior", type("boolean", "whether it can fill; else it has a codec only")},
                    {"process", maybe("string", "the process of its prior")},
                    {"condition", one_of({"none", "text", "class"}, "what it can be told")},
                    {"has_captions", type("boolean", "whether it says what pictures show")},
                    {"classes", list_of(type("string"), "names of its classes, their numbers where they have none")},
                    {"samplers", list_of(type("string"), "that suit its process, the default first")},
                    {"loras", list_of(type("string"), "small updates that requests can name")},
                    {"sampler_help", type("object", "a line for each sampler")},
                    {"sampling_options", list_of(type("object"), "the options, with ranges and help")},
                    {"defaults", type("object", "of the options, where the model says some")},
                    {"weight_bytes", whole("of its weights in memory, about")},
                    {"loaded", type("boolean", "whether it is in memory")}});
  return whole_object({{"version", text("of the program")},
                       {"models", list_of(model, "the served models, in the order they were given")},
                       {"default_model", text("the one that requests without a name get")},
                       {"verbs", list_of(type("string"), "that a job can have")},
                       {"formats", list_of(type("string"), "of pictures in answers")},
                       {"workspace", type("boolean", "whether jobs are kept on the disk")},
                       {"limits", type("object", "bounds of requests, by name")}});
}

json a1111_request(json own) {
  json properties = {
      {"prompt", text(kPromptHelp)},
      {"negative_prompt", text(kNegativePromptHelp)},
      {"seed", whole("-1: drawn")},
      {"steps", whole("of the sampler")},
      {"cfg_scale", number(kGuidanceHelp)},
      {"width", whole("pixels of the answer; the picture is made at a size that the model makes well, and scaled")},
      {"height", whole("pixels of the answer")},
      {"strict_size", type("boolean", "true: the canvas itself is of the size asked for")},
      {"batch_size", whole("pictures, times n_iter")},
      {"n_iter", whole("pictures, times batch_size")},
      {"sampler_name", text("one of ours, or a name of continuous diffusion, which is mapped and said")},
      {"override_settings", type("object", "sd_model_checkpoint: the model")}};
  properties.update(own);
  return object(properties);
}

enum class OpenAIKind { generation, edit, variation };

json openai_request(OpenAIKind kind) {
  json properties = {
      {"model", text(kModelHelp)},
      {"n", whole("pictures, 1 to 16")},
      {"size", text("WIDTHxHEIGHT in pixels, or auto; made at a size that the model makes well, and scaled")},
      {"strict_size", type("boolean", "true: the canvas itself is of the size asked for")},
      {"response_format", one_of({"b64_json", "url"}, "how pictures are answered [b64_json]")},
      {"output_format", one_of(picture_formats(), "of the pictures' bytes [png]")},
      {"seed", whole("image k of a seed is always the same [drawn]")},
      {"steps", whole("of the sampler")},
      {"user", text("passed over")}};
  if (kind != OpenAIKind::variation) {
    properties["prompt"] = text(kPromptHelp);
    properties["stream"] = type("boolean", "true: server-sent events, as the pictures come");
    properties["partial_images"] = whole("0 to 3 pictures on the way, of a stream");
    properties["background"] = one_of({"auto", "opaque"}, "these models make opaque pictures");
    for (const char* name : {"quality", "style", "moderation"}) properties[name] = text("passed over, with a warning");
    properties["output_compression"] = whole("passed over, with a warning");
  }
  if (kind == OpenAIKind::generation) return object(properties);
  const auto file = [](const char* description) -> json {
    return {{"type", "string"}, {"contentMediaType", "application/octet-stream"}, {"description", description}};
  };
  properties["image"] = file("the picture; also as image[]");
  if (kind == OpenAIKind::edit) {
    properties["input_fidelity"] = text("passed over, with a warning");
    properties["mask"] = file("its transparent pixels are made anew, of a mask without any its white ones");
  }
  return object(properties, {"image"});
}

json schemas() {
  const json image_uri = text("data:image/png;base64,...");
  return {
      {"JobRequest", job_request()},
      {"Job", job()},
      {"Jobs", whole_object({{"jobs", list_of(reference("Job"), "newest first")},
                             {"next", maybe("integer", "`before` of the page behind this one; null: the last page")},
                             {"total", whole("jobs that were found")}})},
      {"JobLabel", object({{"name", maybe("string", "what the job is called")},
                           {"starred", type("boolean", "whether it has a star")},
                           {"deleted", type("boolean", "true deletes it, false brings it back")}})},
      {"ProjectTaken",
       whole_object({{"taken", whole("jobs taken in")}, {"known", whole("jobs that were there already")}})},
      {"Error", whole_object({{"error", described(whole_object({{"message", text("one line")},
                                                                {"field", maybe("string", "of the request")}}),
                                                  "what was refused")}})},
      {"OpenAIError",
       whole_object({{"error", described(whole_object({{"message", text("one line")},
                                                       {"type", text("invalid_request_error and the like")},
                                                       {"param", maybe("string", "field of the request")},
                                                       {"code", maybe("string", "not_found, or none")}}),
                                         "what was refused")}})},
      {"A1111Error", whole_object({{"error", text("the kind of refusal")},
                                   {"detail", text("one line")},
                                   {"errors", text("the same")},
                                   {"field", maybe("string", "of the request")},
                                   {"body", text("none")}})},
      {"ResultTokens",
       whole_object({{"tokens", token_grid("[h][w] codes, null where MASK")},
                     {"order", token_grid("[h][w]: the step at which each cell got its code; 0: given")},
                     {"codebook_size", whole("codes that a cell can have")},
                     {"factor", whole("pixels of a cell, a side")},
                     {"area", numbers(4, "x, y, width, height: the pixels that the grid stands for")},
                     {"offset", numbers(2, "x, y of the decoded grid's pixel on the area's first")}})},
      {"Capabilities", capabilities()},
      {"EncodeRequest", object({{"model", text(kModelHelp)}, {"image", image_uri}}, {"image"})},
      {"Encoded", whole_object({{"tokens", token_grid("[h][w] codes")},
                                {"codebook_size", whole("codes that a cell can have")},
                                {"factor", whole("pixels of a cell, a side")},
                                {"width", whole("pixels of the picture")},
                                {"height", whole("pixels of the picture")}})},
      {"CaptionsRequest", object({{"model", text(kModelHelp)},
                                  {"image", image_uri},
                                  {"begins", text("the captions' known beginning")},
                                  {"count", whole("captions to make [1]")},
                                  {"temperature", number("of the words; 0: the likeliest each time [0]")},
                                  {"cfg_scale", number("guidance by the picture; 1: none [1]")},
                                  {"seed", whole("of the words [0]")}},
                                 {"image"})},
      {"Captions", whole_object({{"captions", list_of(type("string"), "what the picture shows")}})},
      {"DecodeRequest", object({{"model", text(kModelHelp)},
                                {"tokens", token_grid("[h][w] codes, null where MASK: grey")},
                                {"format", text("of the picture's bytes [png]")}},
                               {"tokens"})},
      {"Decoded", whole_object({{"image", image_uri}, {"width", whole("pixels")}, {"height", whole("pixels")}})},
      {"CandidatesRequest", object({{"model", text(kModelHelp)},
                                    {"tokens", token_grid("[h][w] codes, null where MASK")},
                                    {"cell", numbers(2, "y, x of the cell that is asked about")},
                                    {"count", whole("codes to list")},
                                    {"temperature", number("above 0; of the probabilities")},
                                    {"prompt", text(kPromptHelp)},
                                    {"negative_prompt", text(kNegativePromptHelp)},
                                    {"class", class_choice()},
                                    {"cfg_scale", number(kGuidanceHelp)}},
                                   {"tokens", "cell"})},
      {"Candidates",
       whole_object({{"candidates", list_of(whole_object({{"token", whole("the code")},
                                                          {"probability", number("given the other cells")},
                                                          {"image", text("its neighbourhood, decoded with it")}}),
                                            "the likeliest first")}})},
      {"ScoreRequest", object({{"model", text(kModelHelp)},
                               {"tokens", token_grid("[h][w] codes; or grids")},
                               {"grids", list_of(token_grid(), "several grids of one size")},
                               {"spacing", whole("cells between those hidden together; 0: each by itself")},
                               {"prompt", text(kPromptHelp)},
                               {"negative_prompt", text(kNegativePromptHelp)},
                               {"class", class_choice()},
                               {"cfg_scale", number("scale of guidance [1]")}})},
      {"Scores", whole_object({{"scores", list_of(list_of(list_of(maybe("number"))),
                                                  "[N][h][w] log probabilities in nats, null where MASK")},
                               {"sums", list_of(type("number"), "[N] sums over the cells")},
                               {"given", one_of({"others", "before"}, "which cells each was judged by")},
                               {"evaluations", whole("grids that the network has seen")}})},
      {"ModelCard", whole_object({{"name", text("of the model")},
                                  {"text", text("its author's words, Markdown")},
                                  {"folder", maybe("string", "of the model, to a browser on the same machine")},
                                  {"examples", list_of(whole_object({{"url", text("of the picture")},
                                                                     {"name", text("of its file")},
                                                                     {"text", maybe("string", "its caption")}}),
                                                       "its example pictures")}})},
      {"WordsRequest", object({{"text", text("a prompt")}}, {"text"})},
      {"Words", whole_object({{"tokens", whole("of the text")},
                              {"most", whole("that the model reads")},
                              {"left_out", text("the words beyond")}})},
      {"Health", whole_object({{"status", text("ok, or that it stops")}, {"waiting", whole("jobs")}})},
      {"OpenAIGeneration", openai_request(OpenAIKind::generation)},
      {"OpenAIEdit", openai_request(OpenAIKind::edit)},
      {"OpenAIVariation", openai_request(OpenAIKind::variation)},
      {"OpenAIImages",
       object({{"created", whole("seconds since 1970")},
               {"data", list_of(object({{"b64_json", text("the picture's bytes")}, {"url", text("where they are")}}),
                                "the pictures, each by one of the two")},
               {"output_format", text("of the pictures' bytes")},
               {"size", text("WIDTHxHEIGHT of the pictures")},
               {"seed", whole("that makes them again")},
               {"warnings", list_of(type("string"), "what was passed over, one line each")},
               {"notes", list_of(type("string"), "how it was read and made, one line each")}},
              {"created", "data", "seed"})},
      {"OpenAIModel", whole_object({{"id", text("the model's name")},
                                    {"object", text("model")},
                                    {"created", whole("0: not told")},
                                    {"owned_by", text("tessera")}})},
      {"OpenAIModels",
       whole_object({{"object", text("list")}, {"data", list_of(reference("OpenAIModel"), "the served models")}})},
      {"A1111Txt2Img", a1111_request({{"denoising_strength", number("passed over here")}})},
      {"A1111Img2Img",
       a1111_request(
           {{"init_images", list_of(type("string"), "one picture in base64")},
            {"mask", text("picture in base64: white pixels, where it has transparency its opaque ones, are made anew")},
            {"denoising_strength", number("share of the cells that are made anew, above 0 to 1")},
            {"latent_mask", text("in place of mask")},
            {"inpainting_mask_invert", whole("1: what the mask leaves free is made anew")},
            {"mask_blur", whole("pixels over which the edit fades; 0: a sharp edge")},
            {"mask_blur_x", whole("as mask_blur")},
            {"mask_blur_y", whole("as mask_blur")},
            {"resize_mode", whole("0: the picture is resized to width and height")}})},
      {"A1111Images", whole_object({{"images", list_of(type("string"), "PNG in base64")},
                                    {"parameters", type("object", "what was asked, pictures left out")},
                                    {"info", text("JSON: seeds, infotexts, notes and the record")}})},
      {"A1111Progress", whole_object({{"progress", number("0 to 1; 0: nothing runs")},
                                      {"eta_relative", number("seconds until it is done")},
                                      {"state", type("object", "the job, its step and its steps")},
                                      {"current_image", maybe("string", "PNG in base64 of the picture on the way")},
                                      {"textinfo", maybe("string", "how far the job is")}})},
      {"A1111Samplers",
       list_of(whole_object({{"name", text("of the sampler")},
                             {"aliases", list_of(type("string"), "names of that program that choose it")},
                             {"options", type("object", "none")}}))},
      {"A1111Models", list_of(whole_object({{"title", text("the model's name")},
                                            {"model_name", text("the same")},
                                            {"hash", maybe("string", "none")},
                                            {"sha256", maybe("string", "none")},
                                            {"filename", text("the name again")},
                                            {"config", maybe("string", "none")}}))},
      {"A1111Options", object({{"sd_model_checkpoint", text("the model of requests that name none")},
                               {"samples_format", text("png; it cannot be set")}})},
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

json query_parameter(const char* name, json schema, const char* description) {
  return {{"name", name}, {"in", "query"}, {"schema", std::move(schema)}, {"description", description}};
}

/// What a name within a path stands for.
const char* path_help(const std::string& name) {
  if (name == "id") return "a job";
  if (name == "k") return "number of the result or the picture, from 0";
  if (name == "model") return "a served model";
  return "a file of the studio";
}

json parameters(const std::string& method, const std::string& pattern) {
  auto list = json::array();
  for (std::size_t at = pattern.find('{'); at != std::string::npos; at = pattern.find('{', at + 1)) {
    const auto name = pattern.substr(at + 1, pattern.find('}', at) - at - 1);
    list.push_back({{"name", name},
                    {"in", "path"},
                    {"required", true},
                    {"description", path_help(name)},
                    {"schema", name == "k" ? type("integer") : type("string")}});
  }
  if (method == "GET" && (pattern == "/api/v1/jobs" || pattern == "/api/v1/project")) {
    list.push_back(query_parameter("q", type("string"), "words that each must be in a job's name or request"));
    list.push_back(query_parameter("starred", type("boolean"), "those with a star alone"));
  }
  if (method == "GET" && pattern == "/api/v1/jobs") {
    list.push_back(
        query_parameter("state", {{"type", "string"}, {"enum", job_state_names()}}, "those in this state alone"));
    list.push_back(query_parameter("deleted", type("boolean"), "the deleted ones"));
    list.push_back(query_parameter("before", type("integer"), "`next` of the page before"));
    list.push_back(query_parameter("limit", type("integer"), "jobs of a page"));
  }
  if (pattern.ends_with("/unmasking/{k}")) {
    list.push_back(query_parameter("frames", type("integer"), "pictures of the animation"));
    list.push_back(query_parameter("milliseconds", type("integer"), "of each"));
  }
  if (pattern.ends_with("/images/{k}")) {
    list.push_back(query_parameter("format", {{"type", "string"}, {"enum", picture_formats()}}, "of the bytes"));
    list.push_back(query_parameter("width", type("integer"), "pixels that the picture is scaled to, with height"));
    list.push_back(query_parameter("height", type("integer"), "pixels, with width"));
    list.push_back(query_parameter("encoding", {{"type", "string"}, {"enum", {"base64"}}}, "base64: as JSON"));
  }
  if (pattern == "/sdapi/v1/progress") {
    list.push_back(query_parameter("skip_current_image", type("boolean"), "true: without the picture on the way"));
  }
  return list;
}

/// The schema of a refusal of this path.
const char* error_of(const std::string& path) {
  return path.starts_with("/v1/") ? "OpenAIError" : path.starts_with("/sdapi/") ? "A1111Error" : "Error";
}

/// A name of its own for each operation: the method, the interface and the path's words; "by" what it names.
std::string operation_id(const std::string& method, const std::string& path) {
  std::string id = method;
  std::string rest = path;
  for (const auto& [begin, name] :
       {std::pair{"/api/v1/", ""}, std::pair{"/v1/", "OpenAI"}, std::pair{"/sdapi/v1/", "A1111"}}) {
    if (!rest.starts_with(begin)) continue;
    id += name;
    rest = rest.substr(std::string_view(begin).size());
    break;
  }
  bool capital = true;
  for (const char c : rest) {
    if (c == '{') id += "By";
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
      capital = true;
      continue;
    }
    id += capital ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    capital = false;
  }
  return id == method ? method + "Page" : id;
}

/// The interface that a path belongs to.
const char* tag_of(const std::string& path) {
  if (path.starts_with("/v1/")) return "openai";
  if (path.starts_with("/sdapi/") || path == "/internal/ping" || path == "/startup-events") return "a1111";
  return path.starts_with("/api/") ? "jobs" : "service";
}

}  // namespace

json openapi_document(const std::vector<Route>& routes, const ServiceLimits& limits) {
  json paths = json::object();
  for (const auto& route : routes) {
    const auto path = written(route.pattern);
    std::string method = route.method;
    for (auto& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    json operation = {
        {"operationId", operation_id(method, path)},
        {"tags", json::array({tag_of(path)})},
        {"summary", route.summary},
        {"parameters", parameters(route.method, path)},
        {"responses",
         {{std::to_string(route.status), {{"description", "success"}, {"content", content(route.answer)}}},
          {"4XX", {{"description", "what was asked cannot be done as it is"}, {"content", content(error_of(path))}}},
          {"default", {{"description", "a refusal"}, {"content", content(error_of(path))}}}}}};
    if (route.body == "OpenAIGeneration" || route.body == "OpenAIEdit") {
      operation["responses"]["200"]["content"]["text/event-stream"] = json::object();  // with stream: true
    }
    if (route.open) operation["security"] = json::array();
    if (!route.body.empty()) {
      auto body = content(route.body);
      if (route.body == "OpenAIEdit" || route.body == "OpenAIVariation")
        body = {{"multipart/form-data", {{"schema", reference(route.body)}}}};
      if (route.body == "JobRequest") {
        const json request_part = {{"$ref", "#/components/schemas/JobRequest"},
                                   {"description", "the JSON; pictures are files beside it"}};
        body["multipart/form-data"] = {{"schema", object({{"request", request_part}}, {"request"})},
                                       {"encoding", {{"request", {{"contentType", "application/json"}}}}}};
      }
      operation["requestBody"] = {{"required", true}, {"content", std::move(body)}};
    }
    paths[path][method] = std::move(operation);
  }
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "Tessera"},
            {"version", version()},
            {"description", fmt::format("Discrete diffusion for images. Bodies of at most {} MiB.", limits.body_mib)},
            {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
          {"servers", json::array({{{"url", "/"}, {"description", "the service that answers this document"}}})},
          {"tags", json::array({{{"name", "jobs"}, {"description", "jobs, models and what they make"}},
                                {{"name", "openai"}, {"description", "the images part of OpenAI's interface"}},
                                {{"name", "a1111"}, {"description", "what clients of AUTOMATIC1111 use"}},
                                {{"name", "service"}, {"description", "the page, health and metrics"}}})},
          {"security", json::array({{{"key", json::array()}}})},
          {"paths", std::move(paths)},
          {"components",
           {{"schemas", schemas()}, {"securitySchemes", {{"key", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
}

}  // namespace tessera::server
