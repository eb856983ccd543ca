#include "server/process_backend.h"

#include <algorithm>
#include <utility>

#include "runtime/log.h"
#include "runtime/wanted.h"

namespace tessera::server {

using nlohmann::json;

/// The jobs that one process holds. Those that were let go, from whatever thread, are named in the next call.
struct ProcessBackend::Held {
  std::mutex mutex;
  std::vector<std::uint64_t> let_go;
  std::atomic<bool> lost{false};  // with its process
};

struct ProcessBackend::Remote : PreparedJob {
  Remote(std::shared_ptr<Held> in, std::uint64_t own) : held(std::move(in)), number(own) {}
  ~Remote() override {
    const std::lock_guard lock(held->mutex);
    held->let_go.push_back(number);
  }
  Remote(const Remote&) = delete;
  Remote& operator=(const Remote&) = delete;
  bool usable() const override { return !held->lost; }

  const std::shared_ptr<Held> held;
  const std::uint64_t number;
};

/// A fill and who watches it.
struct ProcessBackend::Watched {
  FillWatch& watch;
  std::int64_t images = 0;

  std::vector<bool> abandoned() const {
    std::vector<bool> all;
    for (std::int64_t image = 0; image < images; ++image) all.push_back(watch.abandoned(image));
    return all;
  }
};

ProcessBackend::ProcessBackend(std::string name, std::vector<ModelInfo> models, StartPeer start, Metrics& metrics,
                               std::string label)
    : name_(std::move(name)),
      start_(std::move(start)),
      metrics_(metrics),
      label_(std::move(label)),
      models_(std::move(models)) {}

ProcessBackend::~ProcessBackend() {
  if (peer_) peer_->end();
}

std::vector<ModelInfo> ProcessBackend::models() {
  const std::lock_guard lock(mutex_);
  return models_;
}

bool ProcessBackend::ready() {
  if (depth_ > 0) return peer_ && !peer_->ended();  // what is under way must end first
  // Nothing was asked, so what can be received is that it has gone.
  if (peer_ && !peer_->ended() && !peer_->socket().wait(std::chrono::milliseconds(0))) return true;
  if (peer_) lose("");
  return !stopped_ && Clock::now() >= next_start_ && begin();
}

bool ProcessBackend::begin() {
  begun_ = Clock::now();
  try {
    peer_ = start_(stopped_);
  } catch (const Error& error) {
    if (!stopped_) log().error("{}: {}", name_, error.what());
    lose("");
    return false;
  }
  held_ = std::make_shared<Held>();
  log().info("{} is {}", name_, peer_->name());
  return true;
}

void ProcessBackend::lose(const std::string& why) {
  const auto now = Clock::now();
  pause_ = now - begun_ > kSteady ? Clock::duration(kLeastPause) : std::min<Clock::duration>(2 * pause_, kMostPause);
  next_start_ = now + pause_;
  if (held_) held_->lost = true;
  if (!peer_) return;
  const auto process = peer_->name();
  const auto how = peer_->end();
  peer_.reset();
  last_words_ = fmt::format("{} ({}) {}{}", name_, process, how, why.empty() ? "" : fmt::format(": {}", why));
  metrics_.add("tessera_worker_ends_total");
  const auto seconds = std::chrono::duration<double>(pause_).count();
  if (!stopped_) log().error("{}; it is started again in {:.1f} s", last_words_, seconds);
  const std::lock_guard lock(mutex_);
  for (auto& model : models_) model.loaded = false;
}

MessageSocket& ProcessBackend::socket() {
  if (!peer_) throw HttpError(503, last_words_, {}, 5);
  return peer_->socket();
}

Message ProcessBackend::receive() {
  auto& from = socket();
  Clock::time_point stopped;  // when that was first seen
  while (!from.wait(std::chrono::milliseconds(200))) {
    if (!stopped_) continue;
    if (stopped == Clock::time_point()) stopped = Clock::now();
    if (Clock::now() - stopped > kUnheard) throw PeerGone("it did not end its work in time");
  }
  return from.receive();
}

void ProcessBackend::call(Message message, const std::function<void(const Message& returned)>& read,
                          const Watched* watched) {
  if (depth_ == 0 && !ready()) {
    if (!last_words_.empty() && !stopped_) throw HttpError(503, last_words_, {}, 5);
    throw HttpError(503, stopped_ ? "the server is stopping" : fmt::format("{} is being started", name_), {}, 5);
  }
  (void)socket();
  {
    const std::lock_guard lock(held_->mutex);
    if (!held_->let_go.empty()) message.head["free"] = std::exchange(held_->let_go, {});
  }
  const struct Deeper {
    int& depth;
    explicit Deeper(int& at) : depth(at) { ++depth; }
    ~Deeper() { --depth; }
  } deeper(depth_);
  std::exception_ptr thrown;
  try {
    socket().send(message);
    const auto returned = until_returned(watched, thrown);
    if (!thrown) {
      if (returned.head.contains("thrown")) throw_again(returned);
      read(returned);
    }
  } catch (const PeerGone&) {
    lose("");
    throw HttpError(503, last_words_, {}, 5);
  } catch (const Malformed& error) {
    lose(error.what());
    throw HttpError(503, last_words_, {}, 5);
  } catch (const json::exception& error) {
    lose(error.what());
    throw HttpError(503, last_words_, {}, 5);
  }
  if (thrown) std::rethrow_exception(thrown);
}

Message ProcessBackend::until_returned(const Watched* watched, std::exception_ptr& thrown) {
  for (;;) {
    auto message = receive();
    if (!message.head.contains("ask")) {
      take_state(message);
      return message;
    }
    const auto told = answer(message, watched, thrown);
    socket().send(told);
  }
}

Message ProcessBackend::answer(const Message& question, const Watched* watched, std::exception_ptr& thrown) {
  bool go = false;
  const auto what = question.head.at("ask").get<std::string>();
  if (what == "step") {
    if (!watched) throw Malformed("message: a step of what is no fill");
    const auto& head = question.head;
    const std::int64_t step = head.at("step"), steps = head.at("steps"), evaluations = head.at("evaluations");
    const auto codes = codes_in(question, 0);
    try {
      go = !thrown && watched->watch.after_step(step, steps, evaluations, codes);
    } catch (...) {
      thrown = std::current_exception();
    }
  } else if (what == "wanted") {
    try {
      check_wanted();
      go = !thrown;
    } catch (const Unwanted&) {
      go = false;
    } catch (...) {
      thrown = std::current_exception();
    }
  } else {
    throw Malformed(fmt::format("message: asked '{}'", what.substr(0, 60)));
  }
  Message told;
  told.head["go"] = go;
  if (watched) told.head["abandoned"] = watched->abandoned();
  return told;
}

void ProcessBackend::take_state(const Message& answer) {
  const auto loaded = answer.head.at("loaded").get<std::vector<std::string>>();
  const auto gauges = answer.head.value("gauges", json::object());
  for (const auto& [name, value] : gauges.items()) metrics_.set(name, value, label_);
  const std::lock_guard lock(mutex_);
  for (auto& model : models_) model.loaded = std::find(loaded.begin(), loaded.end(), model.name) != loaded.end();
}

std::unique_ptr<PreparedJob> ProcessBackend::prepare(const JobRequest& request) {
  Message message;
  const auto number = ++last_job_;
  message.head = {{"call", "prepare"}, {"job", number}};
  put_request(message, request);
  std::unique_ptr<Remote> job;
  call(std::move(message), [&](const Message& returned) {
    job = std::make_unique<Remote>(held_, number);
    read_prepared(returned, *job);
  });
  return job;
}

FillOutcome ProcessBackend::fill(const std::vector<JobPart>& parts, FillWatch& watch, const FillStart& from) {
  Message message;
  message.head = {{"call", "fill"}, {"jobs", json::array()}};
  Watched watched{watch};
  for (const auto& part : parts) {
    const auto& job = held_job(*part.job);
    message.head["jobs"].push_back({{"job", job.number}, {"first", part.first}, {"count", part.count}});
    watched.images += part.count;
  }
  message.head["abandoned"] = watched.abandoned();
  put_start(message, from);
  FillOutcome outcome;
  call(
      std::move(message), [&](const Message& returned) { outcome = outcome_in(returned); }, &watched);
  return outcome;
}

const ProcessBackend::Remote& ProcessBackend::held_job(const PreparedJob& job) const {
  if (!job.usable()) throw HttpError(503, last_words_, {}, 5);
  return dynamic_cast<const Remote&>(job);
}

Message ProcessBackend::of_job(const char* name, const PreparedJob& job, std::int64_t index,
                               std::span<const std::int32_t> tokens) const {
  Message message;
  message.head = {{"call", name}, {"job", held_job(job).number}, {"index", index}};
  message.parts.push_back(bytes_of(tokens));
  return message;
}

Image ProcessBackend::picture(PreparedJob& job, std::int64_t index, std::span<const std::int32_t> tokens) {
  Image image;
  call(of_job("picture", job, index, tokens),
       [&](const Message& returned) { image = image_in(returned, returned.head.at("image")); });
  return image;
}

std::optional<Image> ProcessBackend::guess(PreparedJob& job, std::int64_t index, std::span<const std::int32_t> tokens) {
  std::optional<Image> image;
  call(of_job("guess", job, index, tokens), [&](const Message& returned) {
    if (!returned.head.at("image").is_null()) image = image_in(returned, returned.head.at("image"));
  });
  return image;
}

TokenArray ProcessBackend::encode(const std::string& model, const Image& image) {
  Message message;
  message.head = {{"call", "encode"}, {"model", model}};
  message.head["image"] = put(message, image);
  TokenArray tokens;
  call(std::move(message), [&](const Message& returned) { tokens = tokens_in(returned, returned.head.at("tokens")); });
  return tokens;
}

std::vector<std::string> ProcessBackend::captions(const std::string& model, const Image& image, std::int64_t count,
                                                  const CaptionChoice& choice) {
  Message message;
  message.head = {{"call", "captions"}, {"model", model}, {"count", count}};
  message.head["image"] = put(message, image);
  put_caption_choice(message, choice);
  std::vector<std::string> captions;
  call(std::move(message),
       [&](const Message& returned) { captions = returned.head.at("captions").get<std::vector<std::string>>(); });
  return captions;
}

Image ProcessBackend::decode(const std::string& model, const TokenArray& tokens) {
  Message message;
  message.head = {{"call", "decode"}, {"model", model}};
  message.head["tokens"] = put(message, tokens);
  Image image;
  call(std::move(message), [&](const Message& returned) { image = image_in(returned, returned.head.at("image")); });
  return image;
}

std::vector<Candidate> ProcessBackend::candidates(const std::string& model, const CandidateRequest& request) {
  Message message;
  message.head = {{"call", "candidates"}, {"model", model}};
  put_candidate_request(message, request);
  std::vector<Candidate> found;
  call(std::move(message), [&](const Message& returned) { found = candidates_in(returned); });
  return found;
}

Scores ProcessBackend::score(const std::string& model, const ScoreRequest& request) {
  Message message;
  message.head = {{"call", "score"}, {"model", model}};
  put_score_request(message, request);
  Scores scores;
  call(std::move(message), [&](const Message& returned) { scores = scores_in(returned); });
  return scores;
}

}  // namespace tessera::server
