#include "checkpoint/tensor_mapping.h"

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {

TensorMap map_tensors(const TensorMap& file, const ShapeMap& native, const SourceOf& source_of,
                      const std::function<bool(const std::string&)>& unneeded, const std::string& where) {
  std::map<std::string, TensorSource> sources;
  ShapeMap expected;
  for (const auto& [name, shape] : native) {
    auto source = source_of(name, shape);
    for (const auto& used : source.names) expected[used] = source.shape;
    sources.emplace(name, std::move(source));
  }
  TensorMap used;
  for (const auto& [name, tensor] : file) {
    if (expected.contains(name) || !unneeded(name)) used.emplace(name, tensor);
  }
  match_parameters(used, expected, where);
  TensorMap tensors;
  for (const auto& [name, source] : sources) {
    std::vector<torch::Tensor> pieces;
    for (const auto& piece : source.names) pieces.push_back(used.at(piece));
    const auto joined = pieces.size() == 1 ? pieces.front() : torch::cat(pieces, 0);
    tensors.emplace(name, joined.reshape(native.at(name)));
  }
  return tensors;
}

TensorMap strip_prefix(const TensorMap& file, const std::string& prefix) {
  TensorMap tensors;
  for (auto entry = file.lower_bound(prefix); entry != file.end() && entry->first.starts_with(prefix); ++entry) {
    tensors.emplace(entry->first.substr(prefix.size()), entry->second);
  }
  return tensors;
}

bool has_prefix(const TensorMap& file, const std::string& prefix) {
  const auto entry = file.lower_bound(prefix);
  return entry != file.end() && entry->first.starts_with(prefix);
}

const torch::Tensor& needed(const TensorMap& file, const std::string& name, std::int64_t dimensions,
                            const std::string& where) {
  const auto found = file.find(name);
  require(found != file.end(), "{}: holds no tensor '{}'", where, name);
  require(found->second.dim() == dimensions && found->second.numel() > 0,
          "{}: tensor '{}' is {}, expected {} dimensions", where, name, shape_text(found->second), dimensions);
  return found->second;
}

std::int64_t count_numbered(const TensorMap& file, const std::string& prefix) {
  std::int64_t count = 0;
  while (has_prefix(file, fmt::format("{}{}.", prefix, count))) ++count;
  return count;
}

}  // namespace tessera
