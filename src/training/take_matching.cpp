#include "training/take_matching.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace tessera {
namespace {

constexpr std::size_t kNamed = 4;  // tensors listed by name

std::string some_of(const std::vector<std::string>& names) {
  const auto shown = static_cast<std::ptrdiff_t>(std::min(kNamed, names.size()));
  auto text = fmt::format("{}", fmt::join(names.begin(), names.begin() + shown, ", "));
  if (names.size() > kNamed) text += fmt::format(" and {} more", names.size() - kNamed);
  return text;
}

}  // namespace

std::string TakenOver::text(const std::string& source) const {
  auto line = fmt::format("start_from: {}: {} of {} tensors taken over", source, taken,
                          static_cast<std::size_t>(taken) + anew.size());
  if (!anew.empty()) line += fmt::format("; anew: {}", some_of(anew));
  if (!unused.empty()) line += fmt::format("; not used: {}", some_of(unused));
  return line;
}

TakenOver take_matching(TensorMap& own, const TensorMap& given) {
  TakenOver result;
  for (auto& [name, tensor] : own) {
    const auto found = given.find(name);
    if (found != given.end() && found->second.sizes() == tensor.sizes()) {
      tensor = found->second;
      ++result.taken;
    } else {
      result.anew.push_back(name);
    }
  }
  for (const auto& [name, tensor] : given) {
    if (own.count(name) == 0) result.unused.push_back(name);
  }
  return result;
}

}  // namespace tessera
