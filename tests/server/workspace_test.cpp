#include "server/workspace.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "checkpoint/sha256.h"
#include "image/image_io.h"
#include "runtime/atomic_file.h"
#include "server/base64.h"
#include "server/fake_service.h"
#include "server/project_file.h"
#include "server/stored_zip.h"

namespace tessera::testing {
namespace workspace_test {

namespace fs = std::filesystem;
using nlohmann::json;

class ServerWorkspace : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("tessera-workspace-{}-{}", ::getpid(),
                                                      ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path place(const char* name = "main") const { return folder_ / name; }

  static ServiceLimits eager(std::int64_t batch = 16) {
    ServiceLimits limits;
    limits.gather_ms = 0;
    limits.batch = batch;
    return limits;
  }

  std::unique_ptr<FakeService> serve(const fs::path& where, bool started = true, ServiceLimits limits = eager(),
                                     AccessRules access = {}) {
    return std::make_unique<FakeService>(limits, std::move(access), started, where);
  }

  fs::path folder_;
};

json answer(FakeService& fake, const std::string& method, const std::string& target, const json& body = {}) {
  const auto response = fake.ask(method, target, body.is_null() ? "" : body.dump());
  EXPECT_LT(response.status, 300) << method << " " << target << ": " << response.body;
  return json::parse(response.body);
}

std::string submitted(FakeService& fake, const json& body) {
  return answer(fake, "POST", "/api/v1/jobs", body)["id"];
}

json ended(FakeService& fake, const std::string& id) {
  EXPECT_TRUE(fake.service.job(id)->wait_final(Clock::now() + std::chrono::seconds(20)));
  return answer(fake, "GET", "/api/v1/jobs/" + id);
}

json done(FakeService& fake, const json& body) {
  return ended(fake, submitted(fake, body));
}

void work_off(FakeService& fake) {
  while (fake.service.worker().run_once(std::chrono::milliseconds(0))) {
  }
}

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

/// A picture that does not compress.
Image noisy(int side, std::uint32_t state = 1) {
  Image image(side, side);
  for (auto& value : image.pixels) value = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return image;
}

TEST_F(ServerWorkspace, WhatWasMadeIsThereAfterARestart) {
  json before, tokens;
  std::string picture, id;
  {
    const auto fake = serve(place());
    before = done(*fake, {{"verb", "generate"}, {"seed", 4}, {"count", 2}});
    id = before["id"];
    before = answer(*fake, "PATCH", "/api/v1/jobs/" + id, {{"name", "Two faces"}, {"starred", true}});
    picture = fake->ask("GET", before["results"][1]["url"]).body;
    tokens = answer(*fake, "GET", before["results"][1]["tokens_url"]);
  }
  const auto fake = serve(place());
  const auto after = answer(*fake, "GET", "/api/v1/jobs/" + id);
  EXPECT_EQ(after, before);
  EXPECT_EQ(after["name"], "Two faces");
  EXPECT_EQ(fake->ask("GET", after["results"][1]["url"]).body, picture);
  EXPECT_EQ(answer(*fake, "GET", after["results"][1]["tokens_url"]), tokens);
  EXPECT_EQ(fake->ask("GET", after["results"][1]["url"].get<std::string>() + "?format=webp").content_type,
            "image/webp");
  EXPECT_EQ(answer(*fake, "GET", "/api/v1/jobs")["jobs"][0], before);
  const auto events = fake->ask("GET", "/api/v1/jobs/" + id + "/events");
  EXPECT_NE(events.events->next(std::chrono::milliseconds(0)).value_or("").find("event: done"), std::string::npos);
  EXPECT_TRUE(fake->backend.fills.empty());
}

TEST_F(ServerWorkspace, AServerKilledInTheMiddleOfAJobGoesOnWithItAndWithThoseThatWait) {
  const json request = {{"verb", "generate"}, {"seed", 5}, {"count", 3}};
  std::string id, waiting;
  {
    const auto killed = serve(place(), false, eager(1));
    id = submitted(*killed, request);
    waiting = submitted(*killed, {{"verb", "generate"}, {"seed", 6}});
    std::int64_t walked = 0;
    killed->backend.on_step = [&](std::int64_t) {
      // In the middle of the second image of the first job: the disk as it is now is what a kill would leave.
      if (++walked == 16 + 16 + 5) fs::copy(place("main"), place("killed"), fs::copy_options::recursive);
    };
    work_off(*killed);
  }
  fs::remove(place("killed") / ".lock");
  const auto fake = serve(place("killed"), false, eager(1));
  fake->service.start();
  const auto job = ended(*fake, id);
  EXPECT_EQ(job["state"], "done");
  EXPECT_EQ(job["results"].size(), 3u);
  EXPECT_EQ(ended(*fake, waiting)["state"], "done");
  std::size_t again = 0;  // images of the first job that were filled once more
  for (const auto& fill : fake->backend.fills) {
    again += static_cast<std::size_t>(std::count(fill.seeds.begin(), fill.seeds.end(), 5));
  }
  EXPECT_GE(again, 1u);
  EXPECT_LE(again, 2u) << "the first was kept";
  const auto unbroken = serve(place("unbroken"));
  const auto whole = done(*unbroken, request);
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_EQ(answer(*fake, "GET", job["results"][k]["tokens_url"])["tokens"],
              answer(*unbroken, "GET", whole["results"][k]["tokens_url"])["tokens"]);
  }
}

TEST_F(ServerWorkspace, AFillIsTakenUpFromTheStepThatWasNotedLast) {
  const auto fake = serve(place(), false);
  const auto id = submitted(*fake, {{"verb", "generate"}, {"seed", 7}});
  const auto other = submitted(*fake, {{"verb", "generate"}, {"seed", 8}});
  const auto cells = static_cast<std::size_t>(FakeBackend::kSide * FakeBackend::kSide);
  fake->backend.on_step = [&](std::int64_t step) {
    if (step != 6) return;
    fake->service.job(id)->keep_stand(0, 1, 5);  // what the worker does every few seconds
    if (!fs::exists(place("killed"))) fs::copy(place(), place("killed"), fs::copy_options::recursive);
  };
  work_off(*fake);
  const auto whole = answer(*fake, "GET", "/api/v1/jobs/" + id + "/tokens/0");
  fs::remove(place("killed") / ".lock");
  const auto later = serve(place("killed"));
  EXPECT_EQ(ended(*later, id)["state"], "done");
  EXPECT_EQ(ended(*later, other)["state"], "done");
  ASSERT_EQ(later->backend.fills.size(), 2u);
  EXPECT_EQ(later->backend.fills[0].from_step, 5);
  EXPECT_EQ(later->backend.fills[0].seeds, std::vector<std::uint64_t>{7}) << "nobody else stands where it stood";
  EXPECT_EQ(later->backend.fills[1].from_step, 0);
  const auto resumed = answer(*later, "GET", "/api/v1/jobs/" + id + "/tokens/0");
  EXPECT_EQ(resumed, whole);
  EXPECT_EQ(resumed["tokens"].size() * resumed["tokens"][0].size(), cells);
}

TEST_F(ServerWorkspace, AServerThatIsStoppedKeepsWhatItCouldNotFinish) {
  std::string running, waiting;
  {
    auto limits = eager(1);
    limits.grace_seconds = 0;
    const auto fake = serve(place(), true, limits);
    fake->backend.step_milliseconds = 20;
    running = submitted(*fake, {{"verb", "generate"}, {"seed", 1}, {"count", 2}});
    waiting = submitted(*fake, {{"verb", "generate"}, {"seed", 2}});
    while (fake->service.job(running)->status().step < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    fake->service.stop();
    EXPECT_EQ(fake->service.job(running)->state(), JobState::failed) << "who looks on is told";
    EXPECT_NE(fake->service.job(running)->status().error.find("goes on"), std::string::npos);
  }
  const auto fake = serve(place());
  EXPECT_EQ(ended(*fake, running)["state"], "done");
  EXPECT_EQ(ended(*fake, waiting)["state"], "done");
}

TEST_F(ServerWorkspace, FailedAndCancelledJobsStayWhatTheyAre) {
  std::string failed, cancelled;
  {
    const auto fake = serve(place(), false);
    failed = submitted(*fake, {{"verb", "generate"}, {"seed", 13}});
    cancelled = submitted(*fake, {{"verb", "generate"}, {"seed", 1}});
    answer(*fake, "DELETE", "/api/v1/jobs/" + cancelled);
    work_off(*fake);
  }
  const auto fake = serve(place());
  const auto job = answer(*fake, "GET", "/api/v1/jobs/" + failed);
  EXPECT_EQ(job["state"], "failed");
  EXPECT_EQ(job["error"], "seed 13: this model is superstitious");
  EXPECT_EQ(answer(*fake, "GET", "/api/v1/jobs/" + cancelled)["state"], "cancelled");
  EXPECT_TRUE(fake->backend.fills.empty());
}

TEST_F(ServerWorkspace, AJobThatCanNoLongerBeDoneFailsAndSaysWhy) {
  std::string id;
  {
    const auto fake = serve(place(), false);
    id = submitted(*fake, {{"verb", "generate"}, {"count", 9}});
  }
  auto narrow = eager();
  narrow.count = 8;
  const auto fake = serve(place(), true, narrow);
  const auto job = answer(*fake, "GET", "/api/v1/jobs/" + id);
  EXPECT_EQ(job["state"], "failed");
  EXPECT_EQ(job["error"], "count: 9, expected at most 8");
}

TEST_F(ServerWorkspace, JobsAreListedInPagesAndFoundByWordsStateAndStar) {
  for (const bool kept : {true, false}) {
    const auto fake = serve(kept ? place() : fs::path());
    std::vector<std::string> ids;
    for (int seed = 1; seed <= 5; ++seed) ids.push_back(done(*fake, {{"verb", "generate"}, {"seed", seed}})["id"]);
    const auto wordy =
        done(*fake, {{"verb", "generate"}, {"model", "wordy"}, {"prompt", "A Great 50%_red Ärger"}})["id"];
    done(*fake, {{"verb", "generate"}, {"seed", 13}});
    answer(*fake, "PATCH", "/api/v1/jobs/" + ids[1], {{"name", "Morning"}, {"starred", true}});
    const auto found = [&](const std::string& query) {
      std::vector<std::string> list;
      const auto page = answer(*fake, "GET", "/api/v1/jobs?" + query);
      for (const auto& job : page["jobs"]) list.push_back(job["id"]);
      return list;
    };
    const auto first = answer(*fake, "GET", "/api/v1/jobs?limit=4");
    EXPECT_EQ(first["total"], 7);
    EXPECT_EQ(first["jobs"].size(), 4u);
    EXPECT_EQ(first["jobs"][1]["id"], wordy) << "newest first";
    const auto second =
        answer(*fake, "GET", fmt::format("/api/v1/jobs?limit=4&before={}", first["next"].get<std::int64_t>()));
    EXPECT_EQ(second["jobs"].size(), 3u);
    EXPECT_EQ(second["jobs"][2]["id"], ids[0]);
    EXPECT_TRUE(second["next"].is_null());
    EXPECT_EQ(found("q=morning"), std::vector<std::string>{ids[1]});
    EXPECT_EQ(found("q=GREAT 50%_red ärger"), std::vector<std::string>{wordy});
    EXPECT_TRUE(found("q=50xred").empty()) << "_ and % are themselves";
    EXPECT_TRUE(found("q=great morning").empty());
    EXPECT_EQ(found("starred=true"), std::vector<std::string>{ids[1]});
    EXPECT_EQ(found("state=failed").size(), 1u);
    EXPECT_EQ(found("state=done&q=generate").size(), 6u);
    EXPECT_EQ(fake->ask("GET", "/api/v1/jobs?state=finished").status, 400);
    EXPECT_EQ(fake->ask("GET", "/api/v1/jobs?limit=0").status, 400);
    EXPECT_EQ(fake->ask("GET", "/api/v1/jobs?limit=ten").status, 400);
    EXPECT_EQ(fake->ask("GET", "/api/v1/jobs?starred=yes").status, 400);
    EXPECT_EQ(fake->ask("PATCH", "/api/v1/jobs/" + ids[0], R"({"name": 3})").status, 400);
    EXPECT_EQ(fake->ask("PATCH", "/api/v1/jobs/" + ids[0], R"({"rating": 3})").status, 400);
  }
}

TEST_F(ServerWorkspace, ADeletedJobCanBeBroughtBackUntilItIsGoneWithItsFiles) {
  const auto fake = serve(place());
  const auto image = to_data_uri("image/png", encode_png(noisy(8)));
  const json request = {{"verb", "inpaint"}, {"image", image}, {"boxes", {{0, 0, 4, 4}}}};
  const auto id = done(*fake, request)["id"].get<std::string>(), other = done(*fake, request)["id"].get<std::string>();
  EXPECT_EQ(files_in(place() / "pictures"), 1u) << "a picture is kept once";
  answer(*fake, "PATCH", "/api/v1/jobs/" + id, {{"deleted", true}});
  EXPECT_EQ(answer(*fake, "GET", "/api/v1/jobs")["total"], 1);
  EXPECT_EQ(answer(*fake, "GET", "/api/v1/jobs?deleted=true")["jobs"][0]["id"], id);
  answer(*fake, "PATCH", "/api/v1/jobs/" + id, {{"deleted", false}});
  EXPECT_EQ(answer(*fake, "GET", "/api/v1/jobs")["total"], 2);
  answer(*fake, "PATCH", "/api/v1/jobs/" + id, {{"deleted", true}});
  auto& workspace = *fake->service.workspace();
  workspace.sweep(seconds_now() + Workspace::kUndoSeconds / 2);
  EXPECT_TRUE(workspace.holds(id));
  workspace.sweep(seconds_now() + Workspace::kUndoSeconds + 1);
  EXPECT_FALSE(workspace.holds(id));
  EXPECT_EQ(files_in(place() / "results"), 1u);
  EXPECT_EQ(files_in(place() / "pictures"), 1u) << "the other job's";
  answer(*fake, "PATCH", "/api/v1/jobs/" + other, {{"deleted", true}});
  workspace.sweep(seconds_now() + Workspace::kUndoSeconds + 1);
  EXPECT_EQ(files_in(place() / "pictures") + files_in(place() / "results"), 0u);
}

TEST_F(ServerWorkspace, DeletingARunningJobEndsIt) {
  const auto fake = serve(place(), false);
  const auto id = submitted(*fake, {{"verb", "generate"}});
  answer(*fake, "PATCH", "/api/v1/jobs/" + id, {{"deleted", true}});
  EXPECT_EQ(fake->service.job(id)->state(), JobState::cancelled);
}

TEST_F(ServerWorkspace, TheOldestWithoutAStarGoFirstBeyondTheBounds) {
  Workspace workspace(place(), {1, 0});
  const auto finish = [&](std::uint64_t seed, bool starred) {
    const auto job = std::make_shared<Job>(new_job_id(), job_for(seed), "me", "", &workspace);
    const auto picture = noisy(350, static_cast<std::uint32_t>(seed));  // 360 KiB
    workspace.add(*job, {"{}", {{"image", "image.png", "image/png", encode_png(picture)}}});
    workspace.set_label(job->id, {"", starred, 0}, job->record);
    job->finish(JobState::done);
    return job->id;
  };
  const auto starred = finish(1, true), oldest = finish(2, false);
  EXPECT_LT(workspace.bytes(), 1 << 20);
  const auto third = finish(3, false);
  EXPECT_TRUE(workspace.holds(starred));
  EXPECT_FALSE(workspace.holds(oldest));
  EXPECT_TRUE(workspace.holds(third));
  EXPECT_LT(workspace.bytes(), 1 << 20);
}

TEST_F(ServerWorkspace, JobsWithoutAStarGoAfterTheirDays) {
  Workspace workspace(place(), {0, 7});
  std::vector<std::string> ids;
  for (const bool starred : {true, false}) {
    const auto job = std::make_shared<Job>(new_job_id(), job_for(1), "me", "", &workspace);
    workspace.add(*job, {"{}", {}});
    workspace.set_label(job->id, {"", starred, 0}, job->record);
    job->finish(JobState::done);
    ids.push_back(job->id);
  }
  const auto waits = std::make_shared<Job>(new_job_id(), job_for(1), "me", "", &workspace);
  workspace.add(*waits, {"{}", {}});
  workspace.sweep(seconds_now() + 6 * 86400);
  EXPECT_TRUE(workspace.holds(ids[1]));
  workspace.sweep(seconds_now() + 8 * 86400);
  EXPECT_TRUE(workspace.holds(ids[0]));
  EXPECT_FALSE(workspace.holds(ids[1]));
  EXPECT_TRUE(workspace.holds(waits->id)) << "what has not ended stays";
}

TEST_F(ServerWorkspace, EachKeySeesItsOwnJobsAlone) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "keys") << "first-key-0123456789\nsecond-key-0123456789\n";
  AccessRules access;
  access.key_digests = read_key_digests(folder_ / "keys");
  for (const bool kept : {true, false}) {
    const auto fake = serve(kept ? place() : fs::path(), true, eager(), access);
    const auto ask = [&](const std::string& key, const std::string& method, const std::string& target,
                         const std::string& body = {}) {
      return fake->ask(method, target, body, {{"authorization", "Bearer " + key + "-key-0123456789"}});
    };
    const auto made = json::parse(ask("first", "POST", "/api/v1/jobs", R"({"verb": "generate"})").body);
    const auto id = made["id"].get<std::string>(), url = "/api/v1/jobs/" + id;
    while (json::parse(ask("first", "GET", url).body)["state"] != "done") std::this_thread::yield();
    for (const auto& [method, target] : {std::pair{"GET", url},
                                         {"GET", url + "/events"},
                                         {"GET", url + "/images/0"},
                                         {"GET", url + "/tokens/0"},
                                         {"GET", url + "/request"},
                                         {"DELETE", url},
                                         {"PATCH", url}}) {
      EXPECT_EQ(ask("second", method, target, "{}").status, 404) << method << " " << target;
    }
    EXPECT_EQ(json::parse(ask("first", "GET", "/api/v1/jobs").body)["total"], 1);
    EXPECT_EQ(json::parse(ask("second", "GET", "/api/v1/jobs").body)["total"], 0);
    EXPECT_EQ(ask("first", "GET", url + "/images/0").status, 200);
    if (!kept) continue;
    const auto project = ask("first", "GET", "/api/v1/project");
    EXPECT_EQ(ask("second", "GET", "/api/v1/project").status, 404);
    EXPECT_EQ(ask("second", "POST", "/api/v1/project", project.body).body, R"({"known":0,"taken":1})");
    const auto copy = json::parse(ask("second", "GET", "/api/v1/jobs").body)["jobs"][0];
    EXPECT_NE(copy["id"], id) << "a copy of its own";
  }
}

TEST_F(ServerWorkspace, ASavedRequestAsksForTheSame) {
  auto alpha = noisy(8);
  alpha.rgba.assign(8 * 8 * 4, 200);
  for (std::size_t i = 0; i < 64; ++i)
    std::copy_n(alpha.pixels.begin() + static_cast<std::ptrdiff_t>(3 * i), 3,
                alpha.rgba.begin() + static_cast<std::ptrdiff_t>(4 * i));
  Image mask(8, 8, Colour{0, 0, 0});
  std::fill_n(mask.at(2, 3), 3, std::uint8_t{255});
  const auto image = to_data_uri("image/png", encode_png(alpha)), drawn = to_data_uri("image/png", encode_png(mask));
  const std::vector<json> requests = {
      {{"verb", "generate"},
       {"seed", 9007199254740991},
       {"count", 3},
       {"temperature", 0.7},
       {"sampler", "confidence"},
       {"width", 16}},
      {{"verb", "inpaint"},
       {"image", image},
       {"mask", drawn},
       {"boxes", {{0, 0, 2, 2}}},
       {"feather", 0},
       {"threshold", 0.5}},
      {{"verb", "inpaint"}, {"image", image}, {"keep_boxes", {{0, 0, 2, 2}}}, {"sharp", true}},
      {{"verb", "inpaint"},
       {"image", image},
       {"keep_mask", drawn},
       {"tokens", json::parse("[[1,2,3,4],[1,2,3,4],[1,2,3,4],[1,2,3,4]]")}},
      {{"verb", "outpaint"}, {"image", image}, {"left", 4}, {"format", "webp"}, {"previews", false}},
      {{"verb", "stitch"},
       {"onto", image},
       {"seam", 2},
       {"pieces", {{{"image", image}, {"from", {0, 0, 4, 4}}, {"to", {2, 2}}}}}},
      {{"verb", "variations"}, {"image", image}, {"strength", 0.25}, {"by", "likelihood"}},
      {{"verb", "reconstruct"}, {"image", image}},
      {{"verb", "fill"}, {"tokens", json::parse("[[1,null],[3,4]]")}}};
  for (const auto& body : requests) {
    const auto request = parse_job_request(body, {}, {});
    const auto again = read_saved(saved_request(request), request.notes, {});
    EXPECT_EQ(again.record, request.record) << body.dump();
    EXPECT_EQ(again.command, request.command) << body.dump();
    EXPECT_EQ(again.join_key(), request.join_key());
    EXPECT_EQ(again.notes, request.notes);
    EXPECT_EQ(again.tokens, request.tokens);
    EXPECT_EQ(again.previews, request.previews);
    ASSERT_EQ(again.image != nullptr, request.image != nullptr);
    if (request.image) {
      EXPECT_EQ(*again.image, *request.image);
    }
    if (request.onto) {
      EXPECT_EQ(*again.onto, *request.onto);
    }
    ASSERT_EQ(again.mask.has_value(), request.mask.has_value());
    if (request.mask) {
      EXPECT_EQ(again.keep, request.keep);
      for (int y = 0; y < 8; ++y) {
        for (int x = 0; x < 8; ++x) EXPECT_EQ(again.mask->at(x, y), request.mask->at(x, y)) << x << "," << y;
      }
    }
    ASSERT_EQ(again.pieces.size(), request.pieces.size());
    for (std::size_t i = 0; i < request.pieces.size(); ++i) {
      EXPECT_EQ(*again.pieces[i].image, *request.pieces[i].image);
      EXPECT_EQ(again.pieces[i].to_x, request.pieces[i].to_x);
    }
    // What the interface gives back can be sent as it is.
    EXPECT_EQ(parse_job_request(with_pictures(saved_request(request)), {}, {}).record, request.record) << body.dump();
  }
}

TEST_F(ServerWorkspace, WhatWasAskedCanBeSentAgain) {
  const auto fake = serve(place());
  const auto image = to_data_uri("image/png", encode_png(noisy(8)));
  const auto job = done(*fake, {{"verb", "inpaint"}, {"image", image}, {"boxes", {{0, 0, 4, 4}}}, {"seed", 3}});
  const auto asked = answer(*fake, "GET", job["url"].get<std::string>() + "/request");
  const auto again = done(*fake, asked);
  EXPECT_EQ(again["request"], job["request"]);
  EXPECT_EQ(answer(*fake, "GET", again["results"][0]["tokens_url"]),
            answer(*fake, "GET", job["results"][0]["tokens_url"]));
  const auto forgetful = serve({});
  const auto other = done(*forgetful, {{"verb", "generate"}});
  EXPECT_EQ(forgetful->ask("GET", other["url"].get<std::string>() + "/request").status, 404);
}

TEST_F(ServerWorkspace, AProjectGoesOutAndIntoAnotherWorkspace) {
  const auto from = serve(place("from")), to = serve(place("to"));
  const auto image = to_data_uri("image/png", encode_png(noisy(8)));
  const auto first = done(*from, {{"verb", "inpaint"}, {"image", image}, {"boxes", {{0, 0, 4, 4}}}, {"count", 2}});
  const auto second = done(*from, {{"verb", "generate"}, {"seed", 5}});
  answer(*from, "PATCH", first["url"], {{"name", "Nose"}, {"starred", true}});
  const auto project = from->ask("GET", "/api/v1/project");
  EXPECT_EQ(project.content_type, "application/zip");
  EXPECT_EQ(to->ask("POST", "/api/v1/project", project.body).body, R"({"known":0,"taken":2})");
  EXPECT_EQ(to->ask("POST", "/api/v1/project", project.body).body, R"({"known":2,"taken":0})");
  const auto there = answer(*from, "GET", first["url"]), here = answer(*to, "GET", first["url"]);
  EXPECT_EQ(here, there);
  for (const auto& result : here["results"]) {
    EXPECT_EQ(to->ask("GET", result["url"]).body, from->ask("GET", result["url"]).body);
    EXPECT_EQ(to->ask("GET", result["tokens_url"]).body, from->ask("GET", result["tokens_url"]).body);
  }
  EXPECT_EQ(answer(*to, "GET", first["url"].get<std::string>() + "/request"),
            answer(*from, "GET", first["url"].get<std::string>() + "/request"));
  const auto starred = serve(place("starred"));
  starred->ask("POST", "/api/v1/project", from->ask("GET", "/api/v1/project?starred=true").body);
  EXPECT_EQ(answer(*starred, "GET", "/api/v1/jobs")["total"], 1);
  EXPECT_EQ(from->ask("GET", "/api/v1/project?q=nothing").status, 404);
  // Removed here, it comes back with its project.
  answer(*to, "PATCH", second["url"], {{"deleted", true}});
  to->ask("POST", "/api/v1/project", project.body);
  EXPECT_EQ(answer(*to, "GET", "/api/v1/jobs")["total"], 2);
}

TEST_F(ServerWorkspace, AProjectThatIsNoneIsRefusedByName) {
  const auto fake = serve(place());
  const auto refused = [&](const std::string& body) {
    const auto response = fake->ask("POST", "/api/v1/project", body);
    EXPECT_EQ(response.status, 400) << response.body;
    return response.body;
  };
  const auto png = encode_png(Image(8, 8));
  json job = {{"id", "../../../etc/passwd"},
              {"created", 1},
              {"ended", 2},
              {"seconds", 1},
              {"steps", 4},
              {"evaluations", 4},
              {"factor", {2}},
              {"area", {0, 0, 8, 8}},
              {"offset", {0, 0}},
              {"request", {{"verb", "generate"}}},
              {"results", {{{"picture", "results/a.png"}, {"tokens", {{1, 2}, {3, 4}}}, {"order", {{1, 2}, {3, 4}}}}}}};
  const auto zip = [&](const json& each, const std::string& picture) {
    const json head = {{"format", "tessera-project"}, {"version", 1}, {"jobs", {each}}};
    return stored_zip({{"project.json", head.dump()}, {"results/a.png", picture}});
  };
  refused("PK\x03\x04 and nothing");
  EXPECT_NE(refused(stored_zip({{"a", "b"}})).find("project.json: is not in the archive"), std::string::npos);
  EXPECT_NE(refused(stored_zip({{"project.json", R"({"format": "other"})"}})).find("tessera-project"),
            std::string::npos);
  EXPECT_NE(refused(zip(job, "no picture")).find("results/a.png"), std::string::npos);
  auto wrong = job;
  wrong["results"][0]["order"] = {{1, 2, 3}};
  EXPECT_NE(refused(zip(wrong, png)).find("grids of several sizes"), std::string::npos);
  wrong = job;
  wrong["request"]["verb"] = "conjure";
  EXPECT_NE(refused(zip(wrong, png)).find("verb"), std::string::npos);
  wrong = job;
  wrong["created"] = "yesterday";
  EXPECT_NE(refused(zip(wrong, png)).find("jobs[0].created"), std::string::npos);
  wrong = job;
  wrong["results"][0]["picture"] = "../secret";
  EXPECT_NE(refused(zip(wrong, png)).find("../secret: is not in the archive"), std::string::npos);
  EXPECT_EQ(answer(*fake, "GET", "/api/v1/jobs")["total"], 0);
  // An id that is none becomes one.
  EXPECT_EQ(fake->ask("POST", "/api/v1/project", zip(job, png)).status, 200);
  EXPECT_EQ(answer(*fake, "GET", "/api/v1/jobs")["jobs"][0]["id"].get<std::string>().size(), 32u);
}

TEST_F(ServerWorkspace, AProjectNeedsAWorkspace) {
  FakeService fake;
  EXPECT_EQ(fake.ask("GET", "/api/v1/project").status, 409);
  EXPECT_EQ(fake.ask("POST", "/api/v1/project", "PK").status, 409);
}

TEST_F(ServerWorkspace, OneServerWorksWithAFolder) {
  const Workspace first(place(), {});
  EXPECT_THROW(Workspace(place(), {}), Error);
}

TEST_F(ServerWorkspace, AFolderOfALaterVersionIsLeftAlone) {
  { const Workspace first(place(), {}); }
  Database(place() / "workspace.sqlite").run("PRAGMA user_version = 99");
  try {
    Workspace second(place(), {});
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("later version"), std::string::npos) << error.what();
  }
}

/// All that a folder holds of its jobs, as one text.
std::string told(const fs::path& folder) {
  Workspace workspace(folder, {});
  std::string text;
  for (const auto& id : workspace.list({}).ids) {
    const auto job = workspace.load(id).value();
    text += fmt::format("{} {} {} {} {} {} {} {} {} {} {}\n", job.id, job.client, job.verb, job.model, job.record,
                        job.command, job.format, job.seed, job.count, job.created, job.ended);
    text += fmt::format("{} {} {} {} {}\n", to_string(job.status.state), job.status.effective, job.status.error,
                        job.status.step, job.label.name);
    for (const auto& result : job.status.results) {
      for (const auto code : result->tokens) text += std::to_string(code) + " ";
      for (const auto step : result->order) text += std::to_string(step) + " ";
      text += result->file_bytes();
    }
    const auto request = workspace.request_of(id).value();
    text += request.json;
    for (const auto& file : request.files) text += file.name + file.content;
  }
  for (const auto& each : workspace.unfinished()) text += each.job.id + " goes on\n";
  return text;
}

TEST_F(ServerWorkspace, AFlippedBitAtAnyPlaceIsFoundAndNamed) {
  {
    const auto fake = serve(place());
    const auto image = to_data_uri("image/png", encode_png(noisy(16)));
    done(*fake, {{"verb", "reconstruct"}, {"image", image}});
    done(*fake, {{"verb", "generate"}, {"seed", 4}, {"count", 2}});
  }
  {
    const auto fake = serve(place(), false);
    submitted(*fake, {{"verb", "generate"}, {"seed", 5}});
  }
  const auto sound = told(place());
  EXPECT_EQ(told(place()), sound);
  std::mt19937_64 random(13);
  for (const char* kind : {"workspace.sqlite", "results", "pictures"}) {
    std::vector<fs::path> files = {place() / kind};
    if (fs::is_directory(files[0])) files.assign(fs::directory_iterator(files[0]), fs::directory_iterator());
    int found = 0;
    for (int i = 0; i < 200; ++i) {
      const auto& file = files[random() % files.size()];
      const auto bytes = read_file(file);
      auto flipped = bytes;
      const auto at = random() % bytes.size();
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << (random() % 8)));
      write_file_atomically(file, flipped);
      try {
        EXPECT_EQ(told(place()), sound) << file << " byte " << at << ": found by nothing";
      } catch (const Error& error) {
        ++found;
        EXPECT_NE(
            std::string(error.what()).find(file.parent_path() == place() ? "workspace" : file.filename().string()),
            std::string::npos)
            << error.what();
      }
      // What was not used is as it was.
      for (const auto* rest : {"-wal", "-shm"}) fs::remove(place() / (std::string("workspace.sqlite") + rest));
      write_file_atomically(file, bytes);
    }
    // Much of the table's pages is not in use.
    EXPECT_GE(found, kind == std::string("workspace.sqlite") ? 20 : 200) << kind;
  }
  EXPECT_EQ(told(place()), sound);
}

TEST_F(ServerWorkspace, AFolderOfTheFirstVersionIsTakenOver) {
  {
    const auto fake = serve(place());
    done(*fake, {{"verb", "generate"}, {"seed", 4}, {"count", 2}});
  }
  const auto sound = told(place());
  {
    Database table(place() / "workspace.sqlite");
    for (const char* name : {"jobs", "results", "pictures"}) {
      table.run_all(
          fmt::format("DROP TRIGGER {0}_INSERT; DROP TRIGGER {0}_UPDATE; ALTER TABLE {0} DROP COLUMN sum", name)
              .c_str());
    }
    table.run_all("ALTER TABLE results DROP COLUMN hash; PRAGMA user_version = 1");
  }
  EXPECT_EQ(told(place()), sound);
  Database(place() / "workspace.sqlite").run_all("DROP TRIGGER jobs_UPDATE; UPDATE jobs SET seed = 5");
  EXPECT_THROW(told(place()), Error);
}

TEST_F(ServerWorkspace, FilesThatNoRowKnowsAreSweptAtTheStart) {
  std::string id;
  {
    const auto fake = serve(place());
    id = done(*fake, {{"verb", "generate"}})["id"];
    write_file_atomically(place() / "results" / (std::string(32, 'a') + "-0.png"), "x");
    write_file_atomically(place() / "pictures" / (std::string(64, 'b') + ".png"), "x");
    write_file_atomically(place() / "results" / "mine.txt", "x");
  }
  const auto fake = serve(place());
  EXPECT_EQ(files_in(place() / "pictures"), 0u);
  EXPECT_EQ(files_in(place() / "results"), 2u) << "the job's, and what is not ours";
  EXPECT_EQ(fake->ask("GET", "/api/v1/jobs/" + id + "/images/0").status, 200);
}

TEST_F(ServerWorkspace, AJobThatCannotBeKeptIsNotTakenIn) {
  const auto fake = serve(place());
  Database(place() / "workspace.sqlite").run("DROP TABLE pictures");
  const auto image = to_data_uri("image/png", encode_png(noisy(8)));
  const auto response = fake->ask("POST", "/api/v1/jobs", json({{"verb", "reconstruct"}, {"image", image}}).dump());
  EXPECT_EQ(response.status, 507);
  EXPECT_EQ(response.body.find(folder_.string()), std::string::npos) << "no path of the host";
  EXPECT_TRUE(fake->service.queue().jobs().empty());
}

TEST_F(ServerWorkspace, ARefusedJobLeavesNothingBehind) {
  auto limits = eager();
  limits.queue = 1;
  const auto fake = serve(place(), false, limits);
  submitted(*fake, {{"verb", "generate"}});
  EXPECT_EQ(fake->ask("POST", "/api/v1/jobs", R"({"verb": "generate"})").status, 429);
  EXPECT_EQ(answer(*fake, "GET", "/api/v1/jobs")["total"], 1);
}

}  // namespace workspace_test
}  // namespace tessera::testing
