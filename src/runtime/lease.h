/// Work in a shared folder that any number of machines take from: who holds a lease does the piece, and whoever dies
/// gives it back by falling silent.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace tessera {

/// A file `<piece>.lease`, renewed four times within `silence` seconds for as long as this object lives, then removed.
/// The file system's clock alone counts, so machines' clocks need not agree.
class Lease {
 public:
  /// Takes the piece where nobody holds it, or where its holder has been silent for longer than it said it would be.
  /// silence > 0: seconds. Throws Error naming the file where the folder cannot be written.
  Lease(std::filesystem::path piece, double silence);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  /// Whether it was taken; if not, `holder` says who has it ("process 17 on host").
  bool is_held() const { return held_; }
  const std::string& holder() const { return holder_; }

 private:
  bool create();
  bool take_over();
  void renew();

  std::filesystem::path file_;
  double silence_;
  std::string mark_, holder_;  // what this process writes into the file; what was found there
  bool held_ = false, ended_ = false;
  std::mutex mutex_;
  std::condition_variable end_;
  std::thread beats_;
};

}  // namespace tessera
