/// Many pictures on one: the form in which samples and reconstructions are looked at.
#pragma once

#include <vector>

#include "image/image.h"

namespace tessera {

struct ContactSheetOptions {
  int columns = 0;    // pictures a row; 0: as many as make the sheet about square
  int padding = 2;    // pixels around and between the pictures; 0: none
  Colour background;  // of the padding and of places left empty
};

/// In: pictures of one size, at least one, row by row. Throws Error naming the picture that differs.
Image contact_sheet(const std::vector<Image>& images, const ContactSheetOptions& options = {});

}  // namespace tessera
