/// The parts of a data set: what is trained on, what is held out while training, what is kept for the end.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tessera {

enum class Split { train, validation, test, all };

/// In: "train", "validation", "test" or "all". Throws Error listing these on another name.
Split parse_split(const std::string& name);
/// "train", "validation", "test" or "all".
std::string_view split_name(Split split);
/// The part that a folder's name or a field's value stands for, in either case: train, training; val, valid,
/// validation, dev; test, testing, eval, evaluation. Nothing: another word.
std::optional<Split> split_of_word(std::string_view word);
/// The same for a file that is named by its part and a number: train-000.tar, val_1.zip.
std::optional<Split> split_of_archive(std::string_view file_name);

}  // namespace tessera
