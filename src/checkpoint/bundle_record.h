/// What model_index.json records of a bundle's small files, so that a bit that flipped in one is found: under
/// `tessera`, `files`: "sha256:..." by name (configurations and the tokenizer's files), and `sha256`, of the index
/// itself. An index that has neither (of the hub, or of an earlier version) is taken as it is.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/bundle.h"

namespace tessera {

/// How much load_bundle compares with what is recorded. Who says more of what is wrong in a configuration than that it
/// was changed asks for the weights alone, and calls require_recorded afterwards.
enum class BundleCheck { none, weights, all };
Bundle load_bundle(const std::filesystem::path& folder, BundleCheck check);

/// Throws Error where the index or a file that it records is not what was written, naming it. In: the index as read.
void require_recorded(const std::filesystem::path& folder, const nlohmann::json& index);

/// Says in an index which texts come next, before any is written: whichever is found is known.
/// In: new texts by name ("vqvae/config.json").
void announce_files(nlohmann::json& index, const std::map<std::string, std::string>& texts);
/// Records the files that lie in the folder now, and these alone.
void record_files(nlohmann::json& index, const std::filesystem::path& folder);
/// The index's text with its own checksum.
std::string index_text(nlohmann::json index);

/// Replaces one small file of a bundle, and what is recorded of it.
void replace_bundle_file(const std::filesystem::path& folder, const std::string& name, const std::string& text);
/// Records the small files as they lie there now: they were changed on purpose. Throws Error where it is no bundle.
void record_bundle(const std::filesystem::path& folder);

}  // namespace tessera
