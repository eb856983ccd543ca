/// Who has had how much of the worker's time: whose turn it is among clients with small and large work.
#pragma once

#include <map>
#include <string>

namespace tessera::server {

/// Start-time fair queuing: a client's clock runs by the seconds that were spent for it; who comes new begins at the
/// least clock of those that wait, and neither pays for the past nor draws on it.
class FairShare {
 public:
  /// A client has something waiting now.
  void arrives(const std::string& client) {
    auto [place, fresh] = used_.try_emplace(client, now_);
    if (!fresh && place->second < now_) place->second = now_;
    if (used_.size() > kMostClients) forget();
  }
  /// Seconds were spent for a client.
  void charge(const std::string& client, double seconds) { used_[client] += seconds; }
  /// The client's clock; those that were never seen stand at the present.
  double of(const std::string& client) const {
    const auto found = used_.find(client);
    return found == used_.end() ? now_ : found->second;
  }
  /// The client of the least clock is served: the present is its clock.
  void serve(const std::string& client) {
    const auto own = of(client);
    if (own > now_) now_ = own;
  }

 private:
  static constexpr std::size_t kMostClients = 4096;

  /// Those that are not ahead of the present stand where a new one would.
  void forget() {
    std::erase_if(used_, [this](const auto& each) { return each.second <= now_; });
    if (used_.size() > kMostClients) used_.clear();
  }

  std::map<std::string, double> used_;
  double now_ = 0;
};

}  // namespace tessera::server
