/// Where C calls come in: no exception leaves, and what was thrown is the calling thread's message.
#pragma once

#include <string>

#include "tessera/tessera.h"

namespace tessera::library {

/// Ends a call with TESSERA_STOPPED: a callback asked for it.
struct Stopped {};

/// To be called first by every function that can fail: forgets the thread's message, and on the first call of all makes
/// the library quiet.
void begin_call();
/// The status of the exception that is being handled; its text becomes the thread's message.
tessera_status end_call_with_exception();
/// Of the calling thread.
std::string& error_message();

/// Runs the work of a call. What is written through out pointers must be set to null before.
template <typename Work>
tessera_status guarded(const Work& work) {
  try {
    begin_call();
    work();
    return TESSERA_OK;
  } catch (...) {
    return end_call_with_exception();
  }
}

/// What the program does as well before it computes, once: one thread a processor unless the caller has chosen, and
/// memory that was freed is kept for the next step.
void prepare_to_compute();
/// Lines of the log go nowhere.
void be_quiet();
/// The caller has set the number of threads.
void choose_threads();

/// Throws UsageError where a pointer that must not be null is.
void require_given(bool given, const char* name);
template <typename Pointee>
void require_given(Pointee* pointer, const char* name) {
  require_given(pointer != nullptr, name);
}

}  // namespace tessera::library
