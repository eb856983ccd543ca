#include "server/workspace.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/sha256.h"
#include "image/image_io.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/printable.h"
#include "server/job_json.h"
#include "text/unicode.h"

namespace tessera::server {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kTableVersion = 2;
constexpr double kSweepSeconds = 60;  // between two sweeps that nobody asked for

// seed and the like are whole numbers below 2^53; times are seconds since 1970; place is JSON.
constexpr const char* kTables = R"(
CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, client TEXT NOT NULL,
  state TEXT NOT NULL, verb TEXT NOT NULL, model TEXT NOT NULL, record TEXT NOT NULL, command TEXT NOT NULL,
  format TEXT NOT NULL, seed INTEGER NOT NULL, count INTEGER NOT NULL, request TEXT NOT NULL,
  notes TEXT NOT NULL DEFAULT '[]', effective TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',
  place TEXT NOT NULL DEFAULT '{}', created REAL NOT NULL, ended REAL NOT NULL DEFAULT 0,
  seconds REAL NOT NULL DEFAULT 0, step INTEGER NOT NULL DEFAULT 0, steps INTEGER NOT NULL DEFAULT 0,
  evaluations INTEGER NOT NULL DEFAULT 0, done_steps INTEGER NOT NULL DEFAULT 0,
  done_evaluations INTEGER NOT NULL DEFAULT 0, stand_first INTEGER NOT NULL DEFAULT 0,
  stand_count INTEGER NOT NULL DEFAULT 0, stand_step INTEGER NOT NULL DEFAULT 0, stand_tokens BLOB, stand_order BLOB,
  name TEXT NOT NULL DEFAULT '', starred INTEGER NOT NULL DEFAULT 0, deleted REAL NOT NULL DEFAULT 0,
  words TEXT NOT NULL);
CREATE INDEX jobs_of_owner ON jobs (owner, seq);
CREATE TABLE results (
  job TEXT NOT NULL, k INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL,
  tokens BLOB NOT NULL, orders BLOB NOT NULL, PRIMARY KEY (job, k));
CREATE TABLE pictures (
  job TEXT NOT NULL, part TEXT NOT NULL, hash TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (job, part));
CREATE INDEX pictures_by_hash ON pictures (hash);
)";

/// Since version 2 each row carries a checksum of its other cells, made anew by triggers whatever changes the row, and
/// each result the hash of its file (empty: of version 1).
struct Summed {
  const char* table;
  const char* key;  // how a row is called
  const char* cells;
};
constexpr Summed kSummed[] = {
    {"jobs", "id",
     "seq, id, owner, client, state, verb, model, record, command, format, seed, count, request, notes, effective, "
     "error, place, created, ended, seconds, step, steps, evaluations, done_steps, done_evaluations, stand_first, "
     "stand_count, stand_step, stand_tokens, stand_order, name, starred, deleted, words"},
    {"results", "job", "job, k, width, height, bytes, tokens, orders, hash"},
    {"pictures", "job", "job, part, hash, bytes"}};

std::string sums_of_version_2() {
  std::string sql = "ALTER TABLE results ADD COLUMN hash TEXT NOT NULL DEFAULT '';";
  for (const auto& [table, key, cells] : kSummed) {
    const auto update = fmt::format("UPDATE {} SET sum = checksum({})", table, cells);
    sql += fmt::format("ALTER TABLE {} ADD COLUMN sum TEXT NOT NULL DEFAULT ''; {};", table, update);
    for (const auto* change : {"INSERT", "UPDATE"}) {
      sql += fmt::format("CREATE TRIGGER {0}_{1} AFTER {1} ON {0} BEGIN {2} WHERE rowid = new.rowid; END;", table,
                         change, update);
    }
  }
  return sql;
}

constexpr const char* kColumns =
    "id, owner, client, state, verb, model, record, command, format, seed, count, notes, effective, error, place, "
    "created, ended, seconds, step, steps, evaluations, name, starred, deleted, request, done_steps, done_evaluations, "
    "stand_first, stand_count, stand_step, stand_tokens, stand_order";

Blob packed(const std::vector<std::int32_t>& values) {
  return {std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(std::int32_t))};
}

std::vector<std::int32_t> unpacked(const std::string& bytes) {
  std::vector<std::int32_t> values(bytes.size() / sizeof(std::int32_t));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(std::int32_t));
  return values;
}

std::string hash_of(const std::string& bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string place_of(const JobStatus& status) {
  return json({{"h", status.h},
               {"w", status.w},
               {"factor", status.factor},
               {"area", {status.area.x, status.area.y, status.area.width, status.area.height}},
               {"offset", {status.offset_x, status.offset_y}}})
      .dump();
}

void read_place(const std::string& text, JobStatus& status) {
  const auto place = read_json(text, "place");
  if (!place.contains("h")) return;
  status.h = place.at("h");
  status.w = place.at("w");
  status.factor = place.at("factor");
  const auto& area = place.at("area");
  status.area = {area.at(0), area.at(1), area.at(2), area.at(3)};
  status.offset_x = place.at("offset").at(0);
  status.offset_y = place.at("offset").at(1);
}

JobState state_from(const std::string& name) {
  for (const auto state : {JobState::queued, JobState::running, JobState::done, JobState::failed}) {
    if (to_string(state) == name) return state;
  }
  return JobState::cancelled;
}

std::string notes_text(const std::vector<std::string>& notes) {
  return json(notes).dump(-1, ' ', false, json::error_handler_t::replace);
}

/// For LIKE ... ESCAPE '\'.
std::string as_pattern(const std::string& word) {
  std::string pattern = "%";
  for (const char c : word) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern + "%";
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : lower_case(text)) {
    if (c != ' ' && c != '\t' && c != '\n') {
      words.back() += c;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

/// What goes wrong with the disk while jobs run is said in the log: the jobs go on.
template <typename Work>
void or_say(const Job& job, const Work& work) {
  try {
    work();
  } catch (const std::exception& error) {
    log().error("workspace: job {} is not kept: {}", job.id, error.what());
  }
}

}  // namespace

std::string search_words(const std::string& name, const std::string& record) {
  const auto request = json_or_discarded(record);
  std::string text = name;
  for (const char* field : {"prompt", "negative_prompt", "verb", "model", "seed"}) {
    if (!request.is_object() || !request.contains(field)) continue;
    const auto& value = request[field];
    text += "\n" + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return lower_case(text);
}

bool has_words(const std::string& text, const std::string& words) {
  const auto wanted = words_of(words);
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](const auto& word) { return text.find(word) != std::string::npos; });
}

Workspace::Workspace(const fs::path& folder, WorkspaceBounds bounds)
    : folder_(folder), bounds_(bounds), lock_(folder), table_(folder / "workspace.sqlite") {
  fs::create_directories(folder_ / "results");
  fs::create_directories(folder_ / "pictures");
  make_tables();
  check_tables();
  sweep_partial_files(folder_, true);
  sweep_strays();
  sweep();
}

void Workspace::make_tables() {
  table_.run("PRAGMA journal_mode = WAL");
  table_.run("PRAGMA synchronous = FULL");
  const auto version = table_.run("PRAGMA user_version").at(0).whole(0);
  require(version <= kTableVersion, "{}: made by a later version of Tessera (its table is of form {}, expected {})",
          folder_.string(), version, kTableVersion);
  if (version == kTableVersion) return;
  const Database::Transaction together(table_);
  if (version < 1) table_.run_all(kTables);
  table_.run_all(sums_of_version_2().c_str());
  table_.run_all(fmt::format("PRAGMA user_version = {}", kTableVersion).c_str());
}

void Workspace::check_tables() {
  const auto file = folder_ / "workspace.sqlite";
  const auto damage = table_.damage();
  require(damage.empty(), "{}: damaged: {}", file.string(), damage);
  for (const auto& [table, key, cells] : kSummed) {
    const auto rows =
        table_.run(fmt::format("SELECT {} FROM {} WHERE sum <> checksum({}) LIMIT 1", key, table, cells).c_str());
    require(rows.empty(), "{}: damaged: what {} holds of job {} does not have the checksum that it was written with",
            file.string(), table, rows.empty() ? "" : printable(rows.front().text(0)));
  }
}

fs::path Workspace::result_file(const std::string& id, std::size_t index) const {
  return folder_ / "results" / fmt::format("{}-{}.png", id, index);
}

fs::path Workspace::picture_file(const std::string& hash) const {
  return folder_ / "pictures" / (hash + ".png");
}

void Workspace::keep_pictures(const SavedRequest& request) {
  for (const auto& file : request.files) {
    const auto hash = hash_of(file.content);
    const auto path = picture_file(hash);
    if (!fs::exists(path) || hash_of(read_file(path)) != hash) write_file_atomically(path, file.content);
  }
}

void Workspace::insert(const StoredJob& job, const SavedRequest& request) {
  const auto& status = job.status;
  table_.run(
      "INSERT INTO jobs (id, owner, client, state, verb, model, record, command, format, seed, count, request, notes, "
      "effective, error, place, created, ended, seconds, step, steps, evaluations, name, starred, words) VALUES "
      "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {job.id,
       job.owner,
       job.client,
       to_string(status.state),
       job.verb,
       job.model,
       job.record,
       job.command,
       job.format,
       static_cast<std::int64_t>(job.seed),
       job.count,
       request.json,
       notes_text(status.notes),
       status.effective,
       status.error,
       status.h > 0 ? place_of(status) : std::string("{}"),
       job.created,
       job.ended,
       status.seconds,
       status.step,
       status.steps,
       status.evaluations,
       job.label.name,
       std::int64_t{job.label.starred},
       search_words(job.label.name, job.record)});
  for (const auto& file : request.files) {
    table_.run("INSERT INTO pictures (job, part, hash, bytes) VALUES (?, ?, ?, ?)",
               {job.id, file.name, hash_of(file.content), static_cast<std::int64_t>(file.content.size())});
  }
}

void Workspace::add(const Job& job, const SavedRequest& request) {
  StoredJob stored;
  stored.id = job.id;
  stored.owner = job.owner;
  stored.client = job.client;
  stored.verb = job.verb;
  stored.model = job.model;
  stored.record = job.record;
  stored.command = job.command;
  stored.format = job.format;
  stored.seed = job.seed;
  stored.count = job.count;
  stored.created = job.created;
  stored.status = job.status();
  const std::lock_guard lock(pictures_);
  keep_pictures(request);
  const Database::Transaction together(table_);
  insert(stored, request);
}

void Workspace::forget(const std::string& id) {
  remove({id});
}

void Workspace::begun(const Job& job) {
  or_say(job, [&] {
    const auto status = job.status();
    table_.run("UPDATE jobs SET state = 'running', notes = ?, effective = ?, place = ? WHERE id = ?",
               {notes_text(status.notes), status.effective, place_of(status), job.id});
  });
}

void Workspace::insert_result(const std::string& id, std::size_t index, const JobResult& result,
                              const std::string& png) {
  table_.run(
      "INSERT OR REPLACE INTO results (job, k, width, height, bytes, tokens, orders, hash) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      {id, static_cast<std::int64_t>(index), std::int64_t{result.width}, std::int64_t{result.height},
       static_cast<std::int64_t>(png.size()), packed(result.tokens), packed(result.order), hash_of(png)});
}

void Workspace::has_result(const Job& job, std::size_t index, const JobResult& result) {
  or_say(job, [&] {
    const auto status = job.status();
    const auto png = result_bytes(job, status.effective, result, index, "png");
    write_file_atomically(result_file(job.id, index), png);
    const Database::Transaction together(table_);
    insert_result(job.id, index, result, png);
    table_.run("UPDATE jobs SET step = ?, steps = ?, evaluations = ?, seconds = ? WHERE id = ?",
               {status.step, status.steps, status.evaluations, status.seconds, job.id});
  });
}

void Workspace::filled(const Job& job) {
  or_say(job, [&] {
    table_.run(
        "UPDATE jobs SET done_steps = ?, done_evaluations = ?, stand_count = 0, stand_tokens = NULL, stand_order = "
        "NULL "
        "WHERE id = ?",
        {job.done_steps, job.done_evaluations, job.id});
  });
}

void Workspace::stands(const Job& job, const FillStand& stand) {
  or_say(job, [&] {
    table_.run(
        "UPDATE jobs SET stand_first = ?, stand_count = ?, stand_step = ?, stand_tokens = ?, stand_order = ? "
        "WHERE id = ?",
        {stand.first, stand.count, stand.step, packed(stand.tokens), packed(stand.order), job.id});
  });
}

void Workspace::finished(const Job& job, const JobStatus& status, double ended) {
  or_say(job, [&] {
    if (status.state != JobState::done) drop_results(job.id);
    table_.run(
        "UPDATE jobs SET state = ?, error = ?, ended = ?, seconds = ?, step = ?, steps = ?, evaluations = ?, "
        "stand_count = 0, stand_tokens = NULL, stand_order = NULL WHERE id = ?",
        {to_string(status.state), status.error, ended, status.seconds, status.step, status.steps, status.evaluations,
         job.id});
    sweep();
  });
}

void Workspace::drop_results(const std::string& id) {
  const auto rows = table_.run("SELECT k FROM results WHERE job = ?", {id});
  table_.run("DELETE FROM results WHERE job = ?", {id});
  std::error_code ignored;
  for (const auto& row : rows) fs::remove(result_file(id, static_cast<std::size_t>(row.whole(0))), ignored);
}

StoredJob Workspace::stored(const Row& row, bool codes) {
  StoredJob job;
  job.id = row.text(0);
  job.owner = row.text(1);
  job.client = row.text(2);
  job.verb = row.text(4);
  job.model = row.text(5);
  job.record = row.text(6);
  job.command = row.text(7);
  job.format = row.text(8);
  job.seed = static_cast<std::uint64_t>(row.whole(9));
  job.count = row.whole(10);
  job.created = row.number(15);
  job.ended = row.number(16);
  job.label = {row.text(21), row.whole(22) != 0, row.number(23)};
  auto& status = job.status;
  status.state = state_from(row.text(3));
  for (const auto& note : read_json(row.text(11), "notes")) status.notes.push_back(note);
  status.effective = row.text(12);
  status.error = row.text(13);
  read_place(row.text(14), status);
  status.seconds = row.number(17);
  status.step = row.whole(18);
  status.steps = row.whole(19);
  status.evaluations = row.whole(20);
  if (status.state == JobState::done) status.eta_seconds = 0;
  if (status.seconds > 0) status.rate = static_cast<double>(status.step) / status.seconds;
  const auto results =
      table_.run(codes ? "SELECT k, width, height, tokens, orders, hash FROM results WHERE job = ? ORDER BY k"
                       : "SELECT k, width, height, NULL, NULL, hash FROM results WHERE job = ? ORDER BY k",
                 {job.id});
  for (const auto& each : results) {
    if (each.whole(0) != static_cast<std::int64_t>(status.results.size())) break;  // what follows a gap is made again
    auto result = std::make_shared<JobResult>();
    result->tokens = unpacked(each.text(3));
    result->order = unpacked(each.text(4));
    result->width = static_cast<int>(each.whole(1));
    result->height = static_cast<int>(each.whole(2));
    result->file = result_file(job.id, status.results.size());
    result->hash = each.text(5);
    status.results.push_back(std::move(result));
  }
  return job;
}

SavedRequest Workspace::saved(const std::string& id, const std::string& text) {
  SavedRequest request{text, {}};
  for (const auto& row : table_.run("SELECT part, hash FROM pictures WHERE job = ? ORDER BY part", {id})) {
    const auto path = picture_file(row.text(1));
    auto content = read_file(path);
    require(hash_of(content) == row.text(1), "{}: changed or damaged", path.string());
    request.files.push_back({row.text(0), row.text(0) + ".png", "image/png", std::move(content)});
  }
  return request;
}

std::vector<Workspace::Unfinished> Workspace::unfinished() {
  std::vector<Unfinished> all;
  const auto sql = fmt::format("SELECT {} FROM jobs WHERE state IN ('queued', 'running') ORDER BY seq", kColumns);
  for (const auto& row : table_.run(sql.c_str())) {
    Unfinished each{stored(row, true), {}, {}, row.whole(25), row.whole(26)};
    each.stand = {row.whole(27), row.whole(28), row.whole(29), unpacked(row.text(30)), unpacked(row.text(31))};
    if (each.stand.first != static_cast<std::int64_t>(each.job.status.results.size())) each.stand = {};
    try {
      each.request = saved(each.job.id, row.text(24));
    } catch (const Error& error) {
      log().error("workspace: job {} cannot go on: {}", each.job.id, error.what());
    }
    all.push_back(std::move(each));
  }
  return all;
}

void Workspace::give_up(const std::string& id, const std::string& error) {
  drop_results(id);
  table_.run("UPDATE jobs SET state = 'failed', error = ?, ended = ?, stand_count = 0 WHERE id = ?",
             {error, seconds_now(), id});
}

std::optional<StoredJob> Workspace::load(const std::string& id, bool codes) {
  const auto rows = table_.run(fmt::format("SELECT {} FROM jobs WHERE id = ?", kColumns).c_str(), {id});
  if (rows.empty()) return {};
  return stored(rows.front(), codes);
}

std::optional<SavedRequest> Workspace::request_of(const std::string& id) {
  const auto rows = table_.run("SELECT request FROM jobs WHERE id = ?", {id});
  if (rows.empty()) return {};
  return saved(id, rows.front().text(0));
}

void Workspace::set_label(const std::string& id, const JobLabel& label, const std::string& record) {
  table_.run("UPDATE jobs SET name = ?, starred = ?, deleted = ?, words = ? WHERE id = ?",
             {label.name, std::int64_t{label.starred}, label.deleted, search_words(label.name, record), id});
}

JobPage Workspace::list(const JobQuery& query) {
  if (seconds_now() - swept_ > kSweepSeconds) sweep();
  std::string where = "owner = ? AND deleted " + std::string(query.deleted ? "> 0" : "= 0");
  std::vector<Cell> values = {query.owner};
  if (!query.state.empty()) {
    where += " AND state = ?";
    values.emplace_back(query.state);
  }
  if (query.starred) where += " AND starred = 1";
  for (const auto& word : words_of(query.words)) {
    where += " AND words LIKE ? ESCAPE '\\'";
    values.emplace_back(as_pattern(word));
  }
  JobPage page;
  page.total = table_.run(("SELECT COUNT(*) FROM jobs WHERE " + where).c_str(), values).at(0).whole(0);
  if (query.before > 0) {
    where += " AND seq < ?";
    values.emplace_back(query.before);
  }
  values.emplace_back(query.limit + 1);
  const auto rows =
      table_.run(("SELECT seq, id FROM jobs WHERE " + where + " ORDER BY seq DESC LIMIT ?").c_str(), values);
  for (const auto& row : rows) {
    if (static_cast<std::int64_t>(page.ids.size()) == query.limit) break;
    page.ids.push_back(row.text(1));
    page.next = row.whole(0);
  }
  if (static_cast<std::int64_t>(rows.size()) <= query.limit) page.next = 0;
  return page;
}

bool Workspace::holds(const std::string& id) {
  return !table_.run("SELECT 1 FROM jobs WHERE id = ?", {id}).empty();
}

void Workspace::take_in(const StoredJob& job, const SavedRequest& request) {
  const Job whole(job);
  const std::lock_guard lock(pictures_);
  keep_pictures(request);
  std::vector<std::string> pngs;
  for (std::size_t k = 0; k < job.status.results.size(); ++k) {
    pngs.push_back(result_bytes(whole, job.status.effective, *job.status.results[k], k, "png"));
    write_file_atomically(result_file(job.id, k), pngs.back());
  }
  const Database::Transaction together(table_);
  insert(job, request);
  for (std::size_t k = 0; k < pngs.size(); ++k) insert_result(job.id, k, *job.status.results[k], pngs[k]);
}

void Workspace::remove(const std::vector<std::string>& ids) {
  const std::lock_guard lock(pictures_);
  std::vector<fs::path> files;
  std::set<std::string> hashes;
  {
    const Database::Transaction together(table_);
    for (const auto& id : ids) {
      for (const auto& row : table_.run("SELECT k FROM results WHERE job = ?", {id})) {
        files.push_back(result_file(id, static_cast<std::size_t>(row.whole(0))));
      }
      for (const auto& row : table_.run("SELECT hash FROM pictures WHERE job = ?", {id})) hashes.insert(row.text(0));
      for (const char* sql : {"DELETE FROM results WHERE job = ?", "DELETE FROM pictures WHERE job = ?",
                              "DELETE FROM jobs WHERE id = ?"}) {
        table_.run(sql, {id});
      }
    }
  }
  for (const auto& hash : hashes) {
    if (table_.run("SELECT 1 FROM pictures WHERE hash = ? LIMIT 1", {hash}).empty())
      files.push_back(picture_file(hash));
  }
  std::error_code ignored;  // what stays is swept at the next start
  for (const auto& file : files) fs::remove(file, ignored);
}

std::int64_t Workspace::bytes() {
  return table_
      .run(
          "SELECT (SELECT COALESCE(SUM(bytes), 0) FROM results) + (SELECT COALESCE(SUM(bytes), 0) FROM "
          "(SELECT hash, MAX(bytes) AS bytes FROM pictures GROUP BY hash))")
      .at(0)
      .whole(0);
}

void Workspace::sweep(double now) {
  swept_ = now;
  std::vector<std::string> gone;
  const auto collect = [&](const char* sql, const std::vector<Cell>& values) {
    for (const auto& row : table_.run(sql, values)) gone.push_back(row.text(0));
  };
  constexpr const char* kEnded = "state NOT IN ('queued', 'running')";
  collect(fmt::format("SELECT id FROM jobs WHERE deleted > 0 AND deleted < ? AND {}", kEnded).c_str(),
          {now - kUndoSeconds});
  if (bounds_.days > 0) {
    collect(fmt::format("SELECT id FROM jobs WHERE starred = 0 AND ended > 0 AND ended < ? AND {}", kEnded).c_str(),
            {now - static_cast<double>(bounds_.days) * 86400});
  }
  if (!gone.empty()) remove(gone);
  if (bounds_.mib == 0) return;
  for (auto held = bytes(); held > bounds_.mib << 20; held = bytes()) {
    // Those that can be brought back go before those that were never removed.
    const auto rows = table_.run(
        fmt::format("SELECT id FROM jobs WHERE starred = 0 AND {} AND (id IN (SELECT job FROM results) OR id IN "
                    "(SELECT job FROM pictures)) ORDER BY deleted = 0, seq LIMIT 8",
                    kEnded)
            .c_str());
    if (rows.empty()) return;  // what is left is starred or under way
    for (const auto& row : rows) {
      if (bytes() > bounds_.mib << 20) remove({row.text(0)});
    }
  }
}

void Workspace::sweep_strays() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_ / "results")) {
    const auto name = entry.path().stem().string();
    const auto dash = name.rfind('-');
    const auto known = [&] {
      return !table_
                  .run("SELECT 1 FROM results WHERE job = ? AND k = ?",
                       {name.substr(0, dash), std::int64_t{std::atoll(name.substr(dash + 1).c_str())}})
                  .empty();
    };
    if (entry.path().extension() == ".png" && dash != std::string::npos && !known()) fs::remove(entry.path(), ignored);
  }
  for (const auto& entry : fs::directory_iterator(folder_ / "pictures")) {
    const auto hash = entry.path().stem().string();
    if (entry.path().extension() == ".png" && hash.size() == 64 &&
        table_.run("SELECT 1 FROM pictures WHERE hash = ? LIMIT 1", {hash}).empty()) {
      fs::remove(entry.path(), ignored);
    }
  }
}

}  // namespace tessera::server
