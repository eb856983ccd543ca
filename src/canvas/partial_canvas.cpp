#include "canvas/partial_canvas.h"

#include <charconv>

#include "checkpoint/safetensors.h"
#include "runtime/error.h"

namespace tessera {

void PartialCanvas::require_same(const TokenGrid& grid, const std::string& options, const std::string& where) const {
  require(made_by == options, "{}: was begun with {}, expected {}", where, made_by, options);
  require(start.sizes() == grid.codes().sizes() && start.equal(grid.codes()),
          "{}: was begun from another grid than this command's", where);
}

void save_partial(const std::filesystem::path& path, const PartialCanvas& partial) {
  TensorMap tensors = {{"start", partial.start}, {"tokens", partial.now.tokens}};
  for (std::size_t i = 0; i < partial.finished.size(); ++i) {
    tensors[fmt::format("finished.{}", i)] = partial.finished[i];
  }
  save_safetensors(path, tensors,
                   {{"format", "tessera-partial-canvas 1"},
                    {"made_by", partial.made_by},
                    {"finished", std::to_string(partial.finished.size())},
                    {"step", std::to_string(partial.now.step)}});
}

PartialCanvas load_partial(const std::filesystem::path& path) {
  Metadata metadata;
  const auto tensors = load_safetensors(path, &metadata);
  const auto name = path.string();
  require(metadata["format"] == "tessera-partial-canvas 1", "{}: not a partial canvas of this program", name);
  const auto tensor = [&](const std::string& key, std::int64_t dimensions) {
    const auto found = tensors.find(key);
    require(found != tensors.end() && found->second.dim() == dimensions && found->second.scalar_type() == torch::kInt64,
            "{}: expected a tensor '{}' of {} dimensions, int64", name, key, dimensions);
    return found->second;
  };
  const auto number = [&](const std::string& key) {
    std::int64_t value = -1;
    const auto& text = metadata[key];
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    require(parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && value >= 0,
            "{}: {} is '{}', expected a whole number", name, key, text);
    return value;
  };
  PartialCanvas partial;
  partial.made_by = metadata["made_by"];
  partial.start = tensor("start", 3);
  partial.now = {tensor("tokens", 3), number("step")};
  const auto finished = number("finished");
  require(finished <= static_cast<std::int64_t>(tensors.size()), "{}: {} finished grids, found {} tensors", name,
          finished, tensors.size());
  for (std::int64_t i = 0; i < finished; ++i) partial.finished.push_back(tensor(fmt::format("finished.{}", i), 2));
  return partial;
}

}  // namespace tessera
