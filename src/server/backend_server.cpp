#include "server/backend_server.h"

#include <utility>

#include "runtime/wanted.h"
#include "server/job.h"

namespace tessera::server {

using nlohmann::json;

/// Of a fill, the watch of the other side. Which images are no longer wanted is told with each answer.
class BackendServer::Watch : public FillWatch {
 public:
  explicit Watch(BackendServer& server) : server_(server) {}

  bool after_step(std::int64_t step, std::int64_t steps, std::int64_t evaluations,
                  std::span<const std::int32_t> tokens) override {
    Message question;
    question.head = {{"ask", "step"}, {"step", step}, {"steps", steps}, {"evaluations", evaluations}};
    question.parts.push_back(bytes_of(tokens));
    return take(server_.ask(question));
  }
  bool abandoned(std::int64_t image) override {
    return image >= 0 && image < static_cast<std::int64_t>(abandoned_.size()) &&
           abandoned_[static_cast<std::size_t>(image)];
  }
  /// Out: whether to go on.
  bool take(const json& answer) {
    if (const auto told = answer.find("abandoned"); told != answer.end()) abandoned_ = told->get<std::vector<bool>>();
    return answer.at("go");
  }
  void begin(std::vector<bool> abandoned) { abandoned_ = std::move(abandoned); }

 private:
  BackendServer& server_;
  std::vector<bool> abandoned_;  // of each image
};

void BackendServer::run() {
  try {
    for (;;) serve(socket_.receive());
  } catch (const PeerGone&) {
    return;  // nobody asks any more
  }
}

void BackendServer::serve(const Message& call) {
  Message answer;
  try {
    for (const auto& id : call.head.value("free", json::array())) jobs_.erase(id.get<std::uint64_t>());
    Watch watch(*this);
    auto asked = Clock::now();
    const WantedWhile somebody_waits([&] { return wanted(watch, asked); });
    answer = answer_to(call, watch);
  } catch (const PeerGone&) {
    throw;
  } catch (const Malformed&) {
    throw;
  } catch (const json::exception& error) {
    throw Malformed(error.what());
  } catch (...) {
    answer = thrown_message(std::current_exception());
  }
  add_state(answer);
  try {
    socket_.send(answer);
  } catch (const PeerGone&) {
    throw;
  } catch (const Error&) {  // too large
    auto refused = thrown_message(std::current_exception());
    add_state(refused);
    socket_.send(refused);
  }
}

Message BackendServer::answer_to(const Message& call, Watch& watch) {
  const auto name = call.head.at("call").get<std::string>();
  if (name == "prepare") return prepare(call);
  if (name == "fill") return fill(call, watch);
  if (name == "picture") return picture(call);
  if (name == "guess") return guess(call);
  if (name == "encode") return encode(call);
  if (name == "decode") return decode(call);
  if (name == "candidates") return candidates(call);
  if (name == "score") return score(call);
  if (name == "captions") return captions(call);
  throw Malformed(fmt::format("message: a call of '{}'", name.substr(0, 60)));
}

json BackendServer::ask(const Message& question) {
  socket_.send(question);
  for (;;) {
    auto message = socket_.receive();
    if (!message.head.contains("call")) return std::move(message.head);
    serve(message);
  }
}

bool BackendServer::wanted(Watch& watch, Clock::time_point& asked) {
  if (Clock::now() - asked < look_) return true;
  Message question;
  question.head["ask"] = "wanted";
  const bool go = watch.take(ask(question));
  asked = Clock::now();
  return go;
}

PreparedJob& BackendServer::job_of(const json& place) {
  const auto found = jobs_.find(place.at("job").get<std::uint64_t>());
  if (found == jobs_.end()) throw Malformed("message: a job that was not prepared here");
  return *found->second;
}

Message BackendServer::prepare(const Message& call) {
  const auto number = call.head.at("job").get<std::uint64_t>();
  auto job = backend_.prepare(request_in(call, limits_));
  Message answer;
  put_prepared(answer, *job);
  jobs_[number] = std::move(job);
  return answer;
}

Message BackendServer::fill(const Message& call, Watch& watch) {
  std::vector<JobPart> parts;
  for (const auto& each : call.head.at("jobs")) parts.push_back({&job_of(each), each.at("first"), each.at("count")});
  watch.begin(call.head.at("abandoned").get<std::vector<bool>>());
  Message answer;
  put_outcome(answer, backend_.fill(parts, watch, start_in(call)));
  return answer;
}

Message BackendServer::picture(const Message& call) {
  Message answer;
  answer.head["image"] = put(answer, backend_.picture(job_of(call.head), call.head.at("index"), codes_in(call, 0)));
  return answer;
}

Message BackendServer::guess(const Message& call) {
  Message answer;
  const auto guessed = backend_.guess(job_of(call.head), call.head.at("index"), codes_in(call, 0));
  answer.head["image"] = guessed ? put(answer, *guessed) : json();
  return answer;
}

Message BackendServer::encode(const Message& call) {
  Message answer;
  answer.head["tokens"] = put(answer, backend_.encode(call.head.at("model"), image_in(call, call.head.at("image"))));
  return answer;
}

Message BackendServer::captions(const Message& call) {
  Message answer;
  answer.head["captions"] = backend_.captions(call.head.at("model"), image_in(call, call.head.at("image")),
                                              call.head.at("count"), caption_choice_in(call));
  return answer;
}

Message BackendServer::decode(const Message& call) {
  Message answer;
  answer.head["image"] = put(answer, backend_.decode(call.head.at("model"), tokens_in(call, call.head.at("tokens"))));
  return answer;
}

Message BackendServer::candidates(const Message& call) {
  Message answer;
  put_candidates(answer, backend_.candidates(call.head.at("model"), candidate_request_in(call)));
  return answer;
}

Message BackendServer::score(const Message& call) {
  Message answer;
  put_scores(answer, backend_.score(call.head.at("model"), score_request_in(call)));
  return answer;
}

void BackendServer::add_state(Message& answer) {
  auto loaded = json::array();
  for (const auto& model : backend_.models()) {
    if (model.loaded) loaded.push_back(model.name);
  }
  answer.head["loaded"] = std::move(loaded);
  if (metrics_ == nullptr) return;
  for (const auto* name : {"tessera_models_loaded", "tessera_model_bytes"})
    answer.head["gauges"][name] = metrics_->value(name);
}

}  // namespace tessera::server
