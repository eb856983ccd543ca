/// Pictures of strangers decoded in a process of their own: what an image library does wrong there costs one picture,
/// and whoever takes that process over finds it without files, sockets or other programs (rlimits and, through
/// libseccomp, a short list of system calls). A worker is kept and asked again; after a fault a new one is started.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "image/image_io.h"

namespace tessera {

/// From now on read_image() decodes in up to `workers` processes, started when they are first needed from `program`, a
/// program whose main() begins with decoding_worker(). In: workers >= 1; seconds of a processor that one picture may
/// take.
void decode_apart(const std::filesystem::path& program, int workers, int seconds = 20);
/// Ends the workers; read_image() decodes in this process again.
void decode_here();
bool decodes_apart();
/// true: workers are held to a list of system calls. false: to rlimits alone, as this build has no libseccomp.
bool decoding_is_sandboxed();

/// The whole life of a worker where the program was started as one: true, and the program is to end. To be called first
/// in main(), before threads are started.
bool decoding_worker(int argc, char** argv);

/// For read_image(): what a worker makes of the bytes. Throws Error as read_image() does, and where the worker's
/// process ended or took too long.
Image read_image_apart(std::span<const std::uint8_t> bytes, std::string_view name, const ReadOptions& options);

namespace testing {
/// Where TESSERA_TEST_DECODING is set, a picture of these bytes makes a worker end by SIGSEGV, try to open a file, or
/// go on for ever.
inline constexpr std::string_view kFaultMarks[] = {"tessera-test: fault", "tessera-test: open", "tessera-test: loop"};
}  // namespace testing

}  // namespace tessera
