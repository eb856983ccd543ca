/// Many pictures on one: the form in which samples and reconstructions are looked at.
#pragma once

#include <string_view>
#include <vector>

#include "image/image.h"

namespace tessera {

/// Text of a PNG that holds several pictures or shows a mask: data sets leave such a file out (is_contact_sheet).
inline constexpr const char* kContactSheetKey = "tessera-contact-sheet";
/// Whether a file's bytes are a PNG with that text.
bool is_contact_sheet(std::string_view bytes);

struct ContactSheetOptions {
  int columns = 0;    // pictures a row; 0: as many as make the sheet about square
  int padding = 2;    // pixels around and between the pictures; 0: none
  Colour background;  // of the padding and of places left empty
};

/// In: pictures of one size, at least one, row by row. Throws Error naming the picture that differs.
Image contact_sheet(const std::vector<Image>& images, const ContactSheetOptions& options = {});

/// Pictures beside what they are compared with: each group is a strip, its first picture set off from the others by a
/// gap of a quarter of its width; the strips are laid out as a contact sheet of `columns` strips a row with wide
/// padding. In: groups of equal length >= 2, all pictures of one size. Throws Error naming the group that differs.
Image group_sheet(const std::vector<std::vector<Image>>& groups, int columns);

}  // namespace tessera
