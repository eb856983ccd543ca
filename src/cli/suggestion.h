/// "Did you mean": the known word nearest to one that was mistyped.
#pragma once

#include <string>
#include <vector>

namespace tessera::cli {

/// Letters to insert, delete, exchange or swap with their neighbour (optimal string alignment).
std::size_t edit_distance(const std::string& a, const std::string& b);

/// The word that is meant, as far as that can be said: at most a third of its letters (at least one, at most three)
/// differ, or it is the only one that begins so. Empty: none.
std::string nearest_word(const std::string& typed, const std::vector<std::string>& words);

/// "; did you mean WORD?", or nothing.
std::string did_you_mean(const std::string& typed, const std::vector<std::string>& words);

}  // namespace tessera::cli
