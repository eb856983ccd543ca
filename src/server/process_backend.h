/// A Backend whose models are in another process: every call is a message to it (backend_server.h answers). A process
/// that ends fails what is under way in it with one line, and another one is started in its place.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/http_message.h"
#include "server/message_values.h"
#include "server/metrics.h"

namespace tessera::server {

/// Who answers: a process of this program, or in tests a thread.
class Peer {
 public:
  virtual ~Peer() = default;
  virtual MessageSocket& socket() = 0;
  virtual std::string name() const = 0;  // "process 4711"
  /// Whether it has ended by itself.
  virtual bool ended() = 0;
  /// Ends it where it has not ended. Out: how it did, as "ended by signal 9 (Killed)".
  virtual std::string end() = 0;
};

/// Starts one; gives up where `stopped` becomes true. Throws Error.
using StartPeer = std::function<std::unique_ptr<Peer>(const std::atomic<bool>& stopped)>;

class ProcessBackend : public Backend {
 public:
  /// name: "worker 1". models: what is served, known without loading it. label: of its gauges in the metrics,
  /// `worker="1"`.
  ProcessBackend(std::string name, std::vector<ModelInfo> models, StartPeer start, Metrics& metrics,
                 std::string label = {});
  ~ProcessBackend() override;

  std::vector<ModelInfo> models() override;
  bool ready() override;
  void stop() override { stopped_ = true; }
  std::unique_ptr<PreparedJob> prepare(const JobRequest& request) override;
  FillOutcome fill(const std::vector<JobPart>& parts, FillWatch& watch, const FillStart& from) override;
  Image picture(PreparedJob& job, std::int64_t index, std::span<const std::int32_t> tokens) override;
  std::optional<Image> guess(PreparedJob& job, std::int64_t index, std::span<const std::int32_t> tokens) override;
  TokenArray encode(const std::string& model, const Image& image) override;
  std::vector<std::string> captions(const std::string& model, const Image& image, std::int64_t count,
                                    const CaptionChoice& choice) override;
  Image decode(const std::string& model, const TokenArray& tokens) override;
  std::vector<Candidate> candidates(const std::string& model, const CandidateRequest& request) override;
  Scores score(const std::string& model, const ScoreRequest& request) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Held;
  struct Remote;
  struct Watched;

  /// Sends a call, answers what is asked until it has returned, and reads what it returned. Throws what was thrown
  /// there; HttpError (503) where the process ended or made no sense.
  void call(Message message, const std::function<void(const Message& returned)>& read,
            const Watched* watched = nullptr);
  /// thrown: on this side, in between: the call returns soon then, and is of no use.
  Message until_returned(const Watched* watched, std::exception_ptr& thrown);
  /// After a step, or while it works: whether it is to go on, which images are no longer wanted.
  Message answer(const Message& question, const Watched* watched, std::exception_ptr& thrown);
  Message receive();
  MessageSocket& socket();
  void take_state(const Message& answer);
  bool begin();
  /// The process has ended, or what it says makes no sense: puts it away.
  void lose(const std::string& why);
  /// Throws HttpError (503) where the process that prepared it has ended.
  const Remote& held_job(const PreparedJob& job) const;
  Message of_job(const char* name, const PreparedJob& job, std::int64_t index,
                 std::span<const std::int32_t> tokens) const;

  static constexpr std::chrono::milliseconds kLeastPause{500}, kMostPause{60'000};  // before it is started again
  static constexpr std::chrono::seconds kSteady{60};  // one that lived so long did not end of how it was started
  static constexpr std::chrono::seconds kUnheard{2};  // when the service stops: until it is ended

  const std::string name_;
  const StartPeer start_;
  Metrics& metrics_;
  const std::string label_;
  mutable std::mutex mutex_;
  std::vector<ModelInfo> models_;
  std::atomic<bool> stopped_{false};
  // The worker's thread alone.
  std::unique_ptr<Peer> peer_;
  std::shared_ptr<Held> held_;  // of the present process
  std::uint64_t last_job_ = 0;
  int depth_ = 0;  // calls within each other
  std::string last_words_;
  Clock::time_point begun_, next_start_;
  Clock::duration pause_ = kLeastPause / 2;  // the last one
};

}  // namespace tessera::server
