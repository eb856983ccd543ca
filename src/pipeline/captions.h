/// Captions of pictures, by a model of both directions (denoiser/joint.h): the words are filled given the codes, as the
/// codes are given the words.
#pragma once

#include <string>
#include <vector>

#include "pipeline/pipeline.h"

namespace tessera {

struct CaptionChoice {
  std::string begins;         // the caption's known beginning; empty: nothing is known
  std::int64_t steps = 0;     // of the fill; 0: one a word
  double temperature = 0;     // 0: the likeliest word each time
  double guidance_scale = 1;  // 1: what the picture says; above: away from captions of no picture
  std::uint64_t seed = 0;
  std::uint64_t first_picture = 0;  // number of the first one, for the draws

  /// Throws UsageError naming the field that is out of range.
  void validate() const;
};

/// Whether the model can.
bool can_caption(Pipeline& pipeline);

/// One caption for each picture. In: the pictures' codes, of the prior's own grid; MASK where a picture is not known.
/// Words are filled in reading order. Throws UsageError where the model cannot, or the beginning is too long for it.
std::vector<std::string> captions_of(Pipeline& pipeline, const TokenGrid& pictures, const CaptionChoice& choice = {});

/// `count` captions of one picture. In: [3 or 4, H, W] uint8, of the codec's size.
std::vector<std::string> captions_of(Pipeline& pipeline, const torch::Tensor& picture, std::int64_t count,
                                     const CaptionChoice& choice);

}  // namespace tessera
