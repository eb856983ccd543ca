/// A folder that is replaced as a whole: either the old one or the new one is there, never some of each.
#pragma once

#include <filesystem>
#include <functional>

namespace tessera {

/// Calls write(staged) on a folder beside `folder` that begins with what lies in it (as links to the same files, so
/// that it costs no room; replacing a file there leaves the old one alone), then exchanges the two in one step and
/// removes the old one. Where something fails, or the process is killed, the old folder stays as it was; what such a
/// process left behind is swept away by the next. Where the file system cannot exchange folders, or the program works
/// inside this one, write(folder) itself is called. Throws what `write` throws, in which the staged folder's name is
/// replaced by the folder's.
void write_folder_whole(const std::filesystem::path& folder,
                        const std::function<void(const std::filesystem::path& staged)>& write);

}  // namespace tessera
