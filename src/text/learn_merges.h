/// Learns a byte-pair vocabulary from texts, in the form that ClipTokenizer reads. Sennrich et al., arXiv:1508.07909,
/// algorithm 1, over bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/clip_tokenizer.h"

namespace tessera {

/// At most `merges` pairs, each the most frequent of its time (of equal ones the first in byte order), as long as one
/// occurs twice. The same texts give the same vocabulary. Cleaning: original.
ClipTokenizer learn_tokenizer(const std::vector<std::string>& texts, std::int64_t merges);

}  // namespace tessera
