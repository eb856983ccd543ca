#include "runtime/stop_signal.h"

#include <csignal>

namespace tessera {
namespace {

volatile std::sig_atomic_t stop_requested = 0;

void handle(int signal) {
  stop_requested = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

StopSignal::StopSignal() {
  stop_requested = 0;
  std::signal(SIGINT, handle);
  std::signal(SIGTERM, handle);
  takes_hangup_ = std::signal(SIGHUP, handle) != SIG_IGN;
  if (!takes_hangup_) std::signal(SIGHUP, SIG_IGN);
}

StopSignal::~StopSignal() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  if (takes_hangup_) std::signal(SIGHUP, SIG_DFL);
}

bool StopSignal::requested() const {
  return stop_requested != 0;
}

}  // namespace tessera
