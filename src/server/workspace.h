/// The jobs of a server on the disk: one table that says what was asked, how far it came and what it is called, in
/// SQLite; pictures beside it as files that are written whole. A program that is killed at any moment finds in it what
/// was done, and goes on from there.
///
///   FOLDER/workspace.sqlite   jobs, results (codes and orders), pictures (by hash)
///   FOLDER/results/ID-K.png   result K of a job, with its recipe
///   FOLDER/pictures/HASH.png  what requests brought along: pictures and masks, each once
///
/// Rows carry a checksum of all their cells, which is compared when the folder is opened, as is what holds them
/// together; files are compared with their hashes when they are read.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/folder_lock.h"
#include "server/database.h"
#include "server/job.h"
#include "server/saved_request.h"

namespace tessera::server {

/// Which jobs are wanted.
struct JobQuery {
  std::string owner;        // empty: those that are nobody's own
  std::string words;        // each must be in the job's name, prompts, verb, model or seed; empty: all
  std::string state;        // empty: any
  bool starred = false;     // true: those alone
  bool deleted = false;     // those alone that can be brought back
  std::int64_t before = 0;  // JobPage::next of the page before; 0: from the newest
  std::int64_t limit = 50;
};

struct JobPage {
  std::vector<std::string> ids;  // newest first
  std::int64_t next = 0;         // for the next page; 0: there is none
  std::int64_t total = 0;        // on all pages
};

struct WorkspaceBounds {
  std::int64_t mib = 4096;  // of results and pictures; the oldest without a star go first; 0: no bound
  std::int64_t days = 0;    // after which a job without a star goes; 0: no bound
};

/// What jobs are searched by: lower case, one line a thing.
std::string search_words(const std::string& name, const std::string& record);
/// Whether each of the words is in the text.
bool has_words(const std::string& text, const std::string& words);

class Workspace : public JobLedger {
 public:
  /// How long a deleted job can be brought back.
  static constexpr double kUndoSeconds = 600;

  /// Makes the folder where it is missing. Throws Error: another server works with it, it was made by a later version,
  /// its table is damaged, it cannot be written.
  Workspace(const std::filesystem::path& folder, WorkspaceBounds bounds);

  /// A job that waits. Throws Error where it cannot be kept.
  void add(const Job& job, const SavedRequest& request);
  /// It was refused after all.
  void forget(const std::string& id);

  void begun(const Job& job) override;
  void has_result(const Job& job, std::size_t index, const JobResult& result) override;
  void filled(const Job& job) override;
  void stands(const Job& job, const FillStand& stand) override;
  void finished(const Job& job, const JobStatus& status, double ended) override;

  /// One that waits or ran when the program ended.
  struct Unfinished {
    StoredJob job;
    SavedRequest request;
    FillStand stand;  // of the images that come next; count 0: none
    std::int64_t done_steps = 0, done_evaluations = 0;
  };
  std::vector<Unfinished> unfinished();
  /// One of them cannot go on.
  void give_up(const std::string& id, const std::string& error);

  /// A job as it stands in the table, its results' pictures left in their files. codes: with tokens and orders. None:
  /// there is no such job.
  std::optional<StoredJob> load(const std::string& id, bool codes = true);
  /// None: there is no such job.
  std::optional<SavedRequest> request_of(const std::string& id);
  void set_label(const std::string& id, const JobLabel& label, const std::string& record);
  JobPage list(const JobQuery& query);

  /// A job from elsewhere that has ended, with all its pictures in memory. Throws Error.
  void take_in(const StoredJob& job, const SavedRequest& request);
  bool holds(const std::string& id);

  /// Removes for good what was deleted long ago and what is beyond the bounds.
  void sweep(double now = seconds_now());
  /// Bytes of results and pictures.
  std::int64_t bytes();

 private:
  std::filesystem::path result_file(const std::string& id, std::size_t index) const;
  std::filesystem::path picture_file(const std::string& hash) const;
  void make_tables();
  void check_tables();
  void insert(const StoredJob& job, const SavedRequest& request);
  void insert_result(const std::string& id, std::size_t index, const JobResult& result, const std::string& png);
  void remove(const std::vector<std::string>& ids);
  void drop_results(const std::string& id);
  void sweep_strays();
  StoredJob stored(const Row& row, bool codes);
  SavedRequest saved(const std::string& id, const std::string& json);
  void keep_pictures(const SavedRequest& request);

  const std::filesystem::path folder_;
  const WorkspaceBounds bounds_;
  const FolderLock lock_;
  Database table_;
  std::mutex pictures_;  // between a picture's file and its row
  std::atomic<double> swept_{0};
};

}  // namespace tessera::server
