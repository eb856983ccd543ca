/// The program's version, in one file: a new one compiles nothing else anew.
#pragma once

namespace tessera {

/// "0.2.0": semantic (https://semver.org). docs/stability.md says what it promises.
const char* version();

}  // namespace tessera
