/// The built program with several workers: the same pictures, and one that is killed.
#ifdef TESSERA_WITH_SERVER
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "support/scratch.h"

extern char** environ;

namespace tessera::testing {
namespace worker_processes_test {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

/// A PNG without its texts, which name the job.
std::string without_texts(const std::string& png) {
  std::string rest = png.substr(0, 8);
  for (std::size_t at = 8; at + 12 <= png.size();) {
    std::uint32_t size = 0;
    for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<std::uint8_t>(png[at + static_cast<std::size_t>(i)]);
    const auto type = png.substr(at + 4, 4);
    if (type != "tEXt" && type != "zTXt" && type != "iTXt") rest += png.substr(at, 12 + size);
    at += 12 + size;
  }
  return rest;
}

/// `tessera serve` on a free port of the loopback.
class Program {
 public:
  Program(const fs::path& folder, std::vector<std::string> flags) : out_(folder / "url"), log_(folder / "log") {
    std::vector<std::string> words = {
        TESSERA_PROGRAM,   "serve", "-m", std::string(TESSERA_SOURCE_DIR) + "/models/emoji64", "--port", "0", "-t", "1",
        "--grace-seconds", "2"};
    words.insert(words.end(), flags.begin(), flags.end());
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    fs::remove(out_);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    EXPECT_EQ(::posix_spawn(&process_, TESSERA_PROGRAM, &actions, nullptr, arguments.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    std::string url;
    for (int i = 0; i < 1200 && !url.ends_with("/"); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      std::ifstream(out_) >> url;
    }
    EXPECT_TRUE(url.ends_with("/")) << log();
    client_ = std::make_unique<httplib::Client>(url.substr(0, url.size() - 1));
    client_->set_read_timeout(60);
  }
  ~Program() { (void)stop(SIGKILL); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Out: its exit status; below 0: by a signal.
  int stop(int signal) {
    if (process_ <= 0) return -1;
    ::kill(process_, signal);
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  pid_t process() const { return process_; }
  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }

  json submit(const json& body) {
    const auto answer = client_->Post("/api/v1/jobs", body.dump(), "application/json");
    EXPECT_TRUE(answer && answer->status == 202) << (answer ? answer->body : log());
    return answer ? json::parse(answer->body) : json();
  }
  json look(const json& job) {
    const auto answer = client_->Get(job["url"].get<std::string>());
    EXPECT_TRUE(answer && answer->status == 200) << log();
    return answer ? json::parse(answer->body) : json();
  }
  json wait(const json& job, bool begun = false) {
    json now;
    const auto until = Clock::now() + std::chrono::seconds(240);
    do {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      now = look(job);
      if (begun && now["step"].get<int>() > 0) break;
    } while ((now["state"] == "queued" || now["state"] == "running") && Clock::now() < until);
    return now;
  }
  std::string picture(const json& job, int k) {
    const auto answer = client_->Get(job["results"][static_cast<std::size_t>(k)]["url"].get<std::string>());
    EXPECT_TRUE(answer && answer->status == 200);
    return answer ? without_texts(answer->body) : std::string();
  }
  std::string text(const std::string& path) {
    const auto answer = client_->Get(path);
    return answer ? answer->body : std::string();
  }

  /// The processes of its workers.
  std::vector<pid_t> workers() const {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::ifstream status(entry.path() / "stat"), line(entry.path() / "cmdline");
      pid_t own = 0, parent = 0;
      std::string name, state, command;
      if (!(status >> own >> name >> state >> parent) || parent != process_) continue;
      std::getline(line, command);
      if (command.find("--model-process") != std::string::npos) found.push_back(own);
    }
    return found;
  }

 private:
  const fs::path out_, log_;
  pid_t process_ = -1;
  std::unique_ptr<httplib::Client> client_;
};

class ServerWorkerProcesses : public ::testing::Test {
 protected:
  const fs::path folder_ = scratch_folder("workers");
};

TEST_F(ServerWorkerProcesses, GiveTheBytesOfOneAndOutliveAKilledOne) {
  const std::vector<json> asked = {
      {{"verb", "generate"}, {"seed", 3}, {"count", 2}, {"steps", 4}},
      {{"verb", "generate"}, {"seed", 4}, {"steps", 3}, {"sampler", "confidence"}},
      {{"verb", "generate"}, {"seed", 5}, {"steps", 2}, {"width", 128}, {"height", 64}},
  };
  std::vector<std::string> of_one;
  json picture;
  {
    Program one(folder_, {});
    for (const auto& body : asked) {
      const auto job = one.wait(one.submit(body));
      ASSERT_EQ(job["state"], "done") << job.dump();
      for (int k = 0; k < body.value("count", 1); ++k) of_one.push_back(one.picture(job, k));
      picture = job["results"][0]["url"].get<std::string>() + "?encoding=base64";
    }
    picture = json::parse(one.text(picture))["image"];
    const auto edited = one.wait(
        one.submit({{"verb", "inpaint"}, {"seed", 6}, {"steps", 2}, {"image", picture}, {"boxes", {{8, 8, 24, 24}}}}));
    ASSERT_EQ(edited["state"], "done") << edited.dump();
    of_one.push_back(one.picture(edited, 0));
    EXPECT_EQ(one.workers().size(), 0u);
    EXPECT_EQ(one.stop(SIGTERM), 0);
  }
  Program two(folder_, {"--workers", "2"});
  std::vector<json> jobs;
  for (const auto& body : asked) jobs.push_back(two.submit(body));
  jobs.push_back(
      two.submit({{"verb", "inpaint"}, {"seed", 6}, {"steps", 2}, {"image", picture}, {"boxes", {{8, 8, 24, 24}}}}));
  std::vector<std::string> of_two;
  for (auto& job : jobs) {
    job = two.wait(job);
    ASSERT_EQ(job["state"], "done") << job.dump() << two.log();
    for (int k = 0; k < job["count"]; ++k) of_two.push_back(two.picture(job, k));
  }
  ASSERT_EQ(of_two.size(), of_one.size());
  for (std::size_t k = 0; k < of_one.size(); ++k) EXPECT_TRUE(of_two[k] == of_one[k]) << "picture " << k;
  EXPECT_TRUE(json::parse(two.text("/api/v1/capabilities"))["models"][0]["loaded"]);

  const auto long_job =
      two.submit({{"verb", "generate"}, {"seed", 7}, {"steps", 4096}, {"width", 256}, {"height", 256}});
  ASSERT_EQ(two.wait(long_job, true)["state"], "running");
  // Of the two the one that works.
  const auto workers = two.workers();
  ASSERT_EQ(workers.size(), 2u);
  const auto ticks = [](pid_t process) {
    std::ifstream file(fmt::format("/proc/{}/stat", process));
    std::string word;
    long user = 0;
    for (int i = 1; i < 14; ++i) file >> word;
    file >> user;
    return user;
  };
  const long before[] = {ticks(workers[0]), ticks(workers[1])};
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const bool second = ticks(workers[1]) - before[1] > ticks(workers[0]) - before[0];
  ::kill(workers[second], SIGKILL);
  const auto failed = two.wait(long_job);
  EXPECT_EQ(failed["state"], "failed");
  const auto error = failed["error"].get<std::string>();
  EXPECT_EQ(error.find("worker "), 0u) << error;
  EXPECT_NE(error.find(fmt::format("(process {}) was ended by signal 9", workers[second])), std::string::npos) << error;
  // The other one goes on at once, and with its successor there are two again.
  const auto next = two.wait(two.submit(asked[1]));
  ASSERT_EQ(next["state"], "done") << next.dump();
  EXPECT_TRUE(two.picture(next, 0) == of_one[2]);
  const auto until = Clock::now() + std::chrono::seconds(120);
  while (two.workers().size() < 2 && Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(two.workers().size(), 2u) << two.log();
  EXPECT_NE(two.text("/metrics").find("tessera_worker_ends_total 1"), std::string::npos);

  // A stop ends what runs within the grace, and its processes.
  const auto late = two.submit({{"verb", "generate"}, {"seed", 8}, {"steps", 4096}, {"width", 256}, {"height", 256}});
  ASSERT_EQ(two.wait(late, true)["state"], "running");
  const auto last = two.workers();
  const auto begin = Clock::now();
  EXPECT_EQ(two.stop(SIGTERM), 0) << two.log();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
  for (const auto process : last) EXPECT_NE(::kill(process, 0), 0);
}

TEST_F(ServerWorkerProcesses, EndWithTheProgramThatStartedThem) {
  Program two(folder_, {"--workers", "2"});
  const auto job = two.submit({{"verb", "generate"}, {"steps", 4096}, {"width", 256}, {"height", 256}});
  ASSERT_EQ(two.wait(job, true)["state"], "running");
  const auto workers = two.workers();
  EXPECT_EQ(workers.size(), 2u);
  (void)two.stop(SIGKILL);
  const auto alive = [](pid_t process) {
    std::ifstream file(fmt::format("/proc/{}/stat", process));
    std::string own, name, state;
    return static_cast<bool>(file >> own >> name >> state) && state != "Z";
  };
  for (const auto process : workers) {
    const auto until = Clock::now() + std::chrono::seconds(20);
    while (alive(process) && Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(alive(process));
  }
}

TEST_F(ServerWorkerProcesses, TakeUpWhatAKilledServerHadBegun) {
  const auto workspace = folder_ / "workspace";
  const json body = {{"verb", "generate"}, {"seed", 9}, {"steps", 96}, {"count", 2}};
  json job;
  {
    Program two(folder_, {"--workers", "2", "--workspace", workspace.string()});
    job = two.submit(body);
    ASSERT_EQ(two.wait(job, true)["state"], "running");
    std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // until it has been noted where the fill stands
    (void)two.stop(SIGKILL);
  }
  Program again(folder_, {"--workers", "2", "--workspace", workspace.string()});
  job = again.wait(job);
  ASSERT_EQ(job["state"], "done") << job.dump() << again.log();
  Program one(folder_, {});
  const auto same = one.wait(one.submit(body));
  ASSERT_EQ(same["state"], "done");
  for (int k = 0; k < 2; ++k) {
    const auto of = [&](Program& program, const json& made) {
      return json::parse(program.text(made["results"][static_cast<std::size_t>(k)]["tokens_url"]));
    };
    EXPECT_EQ(of(again, job)["tokens"], of(one, same)["tokens"]);
  }
}

}  // namespace worker_processes_test
}  // namespace tessera::testing
#endif
