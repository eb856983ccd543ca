#include "data/pack_shards.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "data/decode.h"
#include "data/pack_file.h"
#include "runtime/error.h"

namespace tessera {
namespace {

struct Part {
  std::filesystem::path file;
  DatasetContent content;
};

void check(const std::vector<Part>& parts) {
  const auto& first = parts.front();
  const auto count = first.content.shard.count;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& [file, content] = parts[i];
    require(!content.shard.is_whole(), "{}: is no part of a pack, but whole", file.string());
    require(content.shard.count == count, "{}: is part {}, {} is part {}: expected parts of one division",
            file.string(), content.shard.text(), first.file.string(), first.content.shard.text());
    require(content.images.size(2) == first.content.images.size(2), "{}: images of {} pixels, those of {} have {}",
            file.string(), content.images.size(2), first.file.string(), first.content.images.size(2));
    const auto index = static_cast<std::int64_t>(i);
    require(content.shard.index >= index, "{}: part {} is there twice", file.string(), content.shard.text());
    require(content.shard.index == index, "part {}/{} is missing, the next one is {}", index, count, file.string());
  }
  require(static_cast<std::int64_t>(parts.size()) == count, "part {}/{} is missing, the last one is {}", parts.size(),
          count, parts.back().file.string());
}

bool are_numbers_from_zero(const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] != std::to_string(i)) return false;
  }
  return true;
}

/// As decode.cpp numbers the classes of all.
std::vector<std::string> class_names_of(const std::vector<Part>& parts) {
  const auto longest = std::max_element(parts.begin(), parts.end(), [](const auto& a, const auto& b) {
    return a.content.class_names.size() < b.content.class_names.size();
  });
  if (std::all_of(parts.begin(), parts.end(),
                  [](const auto& part) { return are_numbers_from_zero(part.content.class_names); }))
    return longest->content.class_names;
  std::vector<std::string> used;
  for (const auto& part : parts) {
    std::set<std::int64_t> labels;
    for (const auto& item : part.content.items) labels.insert(item.label);
    labels.erase(-1);
    for (const auto label : labels) used.push_back(part.content.class_names.at(static_cast<std::size_t>(label)));
  }
  return ordered_class_names(std::move(used));
}

void add_items(DatasetContent& whole, const DatasetContent& part) {
  for (auto item : part.items) {
    if (item.label >= 0) {
      const auto& name = part.class_names.at(static_cast<std::size_t>(item.label));
      item.label = std::find(whole.class_names.begin(), whole.class_names.end(), name) - whole.class_names.begin();
    }
    whole.items.push_back(std::move(item));
  }
}

}  // namespace

std::filesystem::path shard_file(const std::filesystem::path& whole, const Shard& shard) {
  return whole.parent_path() / fmt::format("{}-{:05}-of-{:05}{}", whole.stem().string(), shard.index, shard.count,
                                           whole.extension().string());
}

DatasetContent join_packs(const std::vector<std::filesystem::path>& files, const DatasetOptions& options) {
  constexpr std::size_t kKeptMessages = 1000;
  require(!files.empty(), "no parts to join");
  std::vector<Part> parts;
  for (const auto& file : files) parts.push_back({file, read_pack(file)});
  std::stable_sort(parts.begin(), parts.end(),
                   [](const auto& a, const auto& b) { return a.content.shard.index < b.content.shard.index; });
  check(parts);

  DatasetContent whole;
  whole.class_names = class_names_of(parts);
  std::int64_t count = 0;
  for (const auto& part : parts) count += part.content.images.size(0);
  auto room = options;
  room.size = parts.front().content.images.size(2);
  whole.images = room_for_images(count, room);
  auto* to = whole.images.data_ptr<std::uint8_t>();
  for (const auto& [file, content] : parts) {
    if (content.checks) content.checks->require_whole(0, content.images.nbytes());
    std::memcpy(to, content.images.data_ptr(), content.images.nbytes());
    to += content.images.nbytes();
    add_items(whole, content);
    whole.skipped_count += content.skipped_count;
    for (const auto& line : content.skipped) {
      if (whole.skipped.size() < kKeptMessages) whole.skipped.push_back(line);
    }
    whole.files += content.files;
    whole.companions += content.companions;
    for (const auto& [reason, number] : content.reasons) whole.reasons[reason] += number;
    whole.notes.insert(whole.notes.end(), content.notes.begin(), content.notes.end());
  }
  compute_key(whole);
  return whole;
}

}  // namespace tessera
