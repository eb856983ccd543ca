#include "image/image.h"

#include <gtest/gtest.h>

#include <numeric>

#include "image/contact_sheet.h"
#include "image/image_io.h"
#include "runtime/error.h"

namespace tessera {
namespace image_test {

Image counting(int width, int height) {
  Image image(width, height);
  std::iota(image.pixels.begin(), image.pixels.end(), std::uint8_t{0});
  return image;
}

TEST(Colour, IsReadInEveryWrittenForm) {
  EXPECT_EQ(parse_colour("#ff8001"), (Colour{255, 128, 1}));
  EXPECT_EQ(parse_colour("#F0a"), (Colour{255, 0, 170}));
  EXPECT_EQ(parse_colour("white"), (Colour{255, 255, 255}));
  EXPECT_EQ(parse_colour("black"), (Colour{0, 0, 0}));
  EXPECT_EQ(to_string(parse_colour("#Ab00fF")), "#ab00ff");
}

TEST(Colour, RejectsEverythingElse) {
  for (const char* text : {"", "#", "ff8001", "#ff800", "#ff80011", "#gg0000", "red", "# f0000"}) {
    EXPECT_THROW(parse_colour(text), Error) << text;
  }
}

TEST(Image, GoesToTensorsAndBack) {
  const Image image = counting(5, 3);
  const auto tensor = to_tensor(image);
  ASSERT_EQ(tensor.sizes(), (std::vector<std::int64_t>{3, 3, 5}));
  EXPECT_EQ(tensor[1][2][4].item<int>(), image.at(4, 2)[1]);
  EXPECT_EQ(to_image(tensor), image);
  const auto batch = to_tensor(std::vector<Image>{image, counting(5, 3)});
  ASSERT_EQ(batch.sizes(), (std::vector<std::int64_t>{2, 3, 3, 5}));
  EXPECT_EQ(to_images(batch)[1], image);
  EXPECT_EQ(to_image(batch[0].flip({2}).flip({2})), image);  // a view that is not contiguous
}

TEST(Image, RejectsWrongShapesTypesAndSizes) {
  EXPECT_THROW(Image(0, 4), Error);
  EXPECT_THROW(to_image(torch::zeros({1, 4, 4}, torch::kUInt8)), Error);
  EXPECT_THROW(to_image(torch::zeros({3, 4, 4})), Error);
  EXPECT_THROW(to_images(torch::zeros({3, 4, 4}, torch::kUInt8)), Error);
  EXPECT_THROW(to_tensor(std::vector<Image>{}), Error);
  EXPECT_THROW(to_tensor(std::vector<Image>{Image(2, 2), Image(2, 3)}), Error);
  Image torn(4, 4);
  torn.pixels.pop_back();
  EXPECT_THROW(to_tensor(torn), Error);
}

TEST(Image, CropTakesTheNamedPart) {
  const Image image = counting(6, 4);
  const Image part = crop(image, 2, 1, 3, 2);
  for (int y = 0; y < 2; ++y) {
    for (int x = 0; x < 3; ++x) EXPECT_EQ(part.at(x, y)[2], image.at(x + 2, y + 1)[2]);
  }
  EXPECT_THROW(crop(image, 4, 0, 3, 2), Error);
  EXPECT_THROW(crop(image, -1, 0, 3, 2), Error);
  EXPECT_THROW(crop(image, 0, 3, 2, 2), Error);
}

TEST(ContactSheet, PutsEveryPictureInItsPlace) {
  const std::vector<Image> images = {Image(4, 3, {1, 0, 0}), Image(4, 3, {2, 0, 0}), Image(4, 3, {3, 0, 0}),
                                     Image(4, 3, {4, 0, 0}), Image(4, 3, {5, 0, 0})};
  const Image sheet = contact_sheet(images, {.columns = 2, .padding = 1, .background = {9, 9, 9}});
  ASSERT_EQ(sheet.width, 2 * 5 + 1);
  ASSERT_EQ(sheet.height, 3 * 4 + 1);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(sheet.at(1 + i % 2 * 5, 1 + i / 2 * 4)[0], i + 1);
    EXPECT_EQ(sheet.at(4 + i % 2 * 5, 3 + i / 2 * 4)[0], i + 1);
  }
  EXPECT_EQ(sheet.at(0, 0)[0], 9);
  EXPECT_EQ(sheet.at(6, 9)[0], 9);  // the sixth place stays empty
}

TEST(ContactSheet, IsAboutSquareWithoutAColumnCount) {
  const Image sheet =
      contact_sheet(std::vector<Image>(10, Image(4, 4)), {.columns = 0, .padding = 0, .background = {}});
  EXPECT_EQ(sheet.width, 16);
  EXPECT_EQ(sheet.height, 12);
}

TEST(ContactSheet, RejectsNoneAndUnequalPictures) {
  EXPECT_THROW(contact_sheet({}), Error);
  EXPECT_THROW(contact_sheet({Image(2, 2), Image(3, 2)}), Error);
  EXPECT_THROW(contact_sheet({Image(2, 2)}, {.columns = -1, .padding = 0, .background = {}}), Error);
}

}  // namespace image_test
}  // namespace tessera
