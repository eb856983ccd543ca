#include "runtime/failure.h"

#include <c10/util/Exception.h>

#include <exception>
#include <filesystem>
#include <new>

#include "runtime/error.h"
#include "runtime/out_of_memory.h"
#include "runtime/stop_signal.h"

namespace tessera {
namespace {

/// LibTorch's message without its trace; being out of memory is the user's to mend, anything else is not.
Failure failure_of(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  const auto memory = find_out_of_memory(text);
  const bool is_memory = memory != std::string::npos;
  const auto begin = is_memory ? memory : 0;
  return {is_memory ? FailureKind::memory : FailureKind::failed,
          one_line(fmt::format("{}: {}", is_memory ? "out of memory" : "internal error",
                               text.substr(begin, text.find('\n', begin) - begin)))};
}

}  // namespace

std::string one_line(std::string text) {
  constexpr std::size_t kMost = 16 << 10, kEnd = 512;
  if (text.size() > kMost) text = text.substr(0, kMost - kEnd) + " [...] " + text.substr(text.size() - kEnd);
  for (auto& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

Failure current_failure() {
  try {
    throw;
  } catch (const UsageError& error) {
    return {FailureKind::usage, one_line(error.what())};
  } catch (const Interrupted& error) {
    return {FailureKind::interrupted, one_line(error.what())};
  } catch (const Error& error) {
    return {FailureKind::failed, one_line(error.what())};
  } catch (const std::filesystem::filesystem_error& error) {
    return {FailureKind::failed, one_line(fmt::format("{}: {}", error.path1().string(), error.code().message()))};
  } catch (const std::bad_alloc&) {
    return {FailureKind::memory, "out of memory"};
  } catch (const c10::Error& error) {
    return failure_of(error);
  } catch (const std::exception& error) {
    return {FailureKind::failed, one_line(fmt::format("internal error: {}", error.what()))};
  } catch (...) {
    return {FailureKind::failed, "internal error"};
  }
}

}  // namespace tessera
