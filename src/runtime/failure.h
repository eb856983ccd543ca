/// Whatever was thrown, as one line and a status: what the program prints, and what its library returns.
#pragma once

#include <string>

namespace tessera {

enum class FailureKind { failed, usage, interrupted, memory };

struct Failure {
  FailureKind kind = FailureKind::failed;
  std::string text;  // one line without control characters, at most 16 KiB
};

/// To be called where an exception is being handled (in a catch block).
Failure current_failure();

/// One line, whatever the text holds (names of files are strangers' too) and however long that is.
std::string one_line(std::string text);

}  // namespace tessera
