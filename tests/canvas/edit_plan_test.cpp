#include "canvas/edit_plan.h"

#include <gtest/gtest.h>

#include "canvas/fill_canvas.h"
#include "canvas/tiles.h"
#include "canvas/tiny_codec.h"
#include "denoiser/transformer.h"
#include "runtime/error.h"

namespace tessera {
namespace edit_plan_test {

using testing::picture;
using testing::tiny_codec;

constexpr std::int64_t kCodes = 16;

Transformer tiny_prior() {
  TransformerOptions options;
  options.codebook_size = kCodes;
  options.grid = {8, 8};
  options.layers = 1;
  options.heads = 2;
  options.width = 16;
  Transformer network(options, Initialisation::framework, 2);
  network->eval();
  return network;
}

PixelMask boxed(const Image& image, const PixelBox& box) {
  PixelMask mask(image.width, image.height);
  mask.add(box, "box");
  return mask;
}

/// Fills and finishes one plan.
Image edited(Codec codec, const EditPlan& plan, torch::Tensor* tokens = nullptr) {
  auto prior = tiny_prior();
  FillOptions options;
  options.steps = 3;
  const auto filled = fill_canvas(grid_of({plan}), *prior, {8, 8}, options).grid;
  if (tokens) *tokens = filled.codes()[0];
  return finish(plan, decode_tiled(codec, filled)[0]);
}

int difference(const Image& a, const Image& b, int x, int y) {
  int most = 0;
  for (int channel = 0; channel < 3; ++channel)
    most = std::max(most, std::abs(a.at(x, y)[channel] - b.at(x, y)[channel]));
  return most;
}

TEST(Inpaint, OutsideTheFeatheredMaskPixelsAreBitIdentical) {
  auto codec = tiny_codec();
  for (const auto& [width, height] : {std::pair{16, 16}, std::pair{37, 22}, std::pair{90, 120}, std::pair{11, 9}}) {
    const auto image = picture(width, height);
    const PixelBox box{width / 3, height / 3, 4, 3};
    for (const int feather : {1, 2, 5}) {
      RegionOptions options;
      options.feather = feather;
      const auto plan = plan_inpaint(codec, image, boxed(*image, box), options);
      const auto result = edited(codec, plan);
      int changed_inside = 0;
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          const bool near =
              x >= box.x - feather && x < box.right() + feather && y >= box.y - feather && y < box.bottom() + feather;
          if (near) {
            changed_inside += difference(result, *image, x, y) > 0;
          } else {
            ASSERT_EQ(difference(result, *image, x, y), 0) << width << "x" << height << " " << x << "," << y;
          }
        }
      }
      EXPECT_GT(changed_inside, 0);
    }
  }
}

TEST(Inpaint, ASharpEditChangesTheMasksOwnPixelsAlone) {
  auto codec = tiny_codec();
  const auto image = picture(16, 16);
  RegionOptions options;
  options.sharp = true;
  const PixelBox box{3, 5, 6, 4};
  const auto plan = plan_inpaint(codec, image, boxed(*image, box), options);
  torch::Tensor tokens;
  const auto result = edited(codec, plan, &tokens);
  const auto decoded = to_image(codec->decode(TokenGrid(tokens.unsqueeze(0), kCodes))[0]);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      const bool inside = x >= box.x && x < box.right() && y >= box.y && y < box.bottom();
      EXPECT_EQ(difference(result, inside ? decoded : *image, x, y), 0) << x << "," << y;
    }
  }
  options.feather = 2;
  EXPECT_THROW(plan_inpaint(codec, image, boxed(*image, box), options), UsageError);
}

TEST(Inpaint, TransparencyIsKeptOutsideTheEditAndCoveredInside) {
  auto codec = tiny_codec();
  auto image = std::make_shared<Image>(*picture(16, 16));
  image->rgba.assign(4 * 16 * 16, 0);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      const std::uint8_t pixel[4] = {static_cast<std::uint8_t>(9 * x), 77, 200, static_cast<std::uint8_t>(16 * x)};
      std::copy_n(pixel, 4, image->rgba_at(x, y));
    }
  }
  RegionOptions options;
  options.feather = 1;
  const PixelBox box{6, 6, 4, 4};
  const auto plan = plan_inpaint(codec, image, boxed(*image, box), options);
  EXPECT_EQ(plan.notes, std::vector<std::string>{std::string(kTransparencyNote)});
  const auto result = edited(codec, plan);
  ASSERT_TRUE(result.has_transparency());
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      const bool inside = x >= box.x && x < box.right() && y >= box.y && y < box.bottom();
      const bool near = x >= box.x - 1 && x <= box.right() && y >= box.y - 1 && y <= box.bottom();
      if (inside) {
        EXPECT_EQ(result.rgba_at(x, y)[3], 255);
        EXPECT_TRUE(std::equal(result.at(x, y), result.at(x, y) + 3, result.rgba_at(x, y)));
      } else if (near) {  // half of the edit over what was there
        const int before = image->rgba_at(x, y)[3];
        EXPECT_NEAR(result.rgba_at(x, y)[3], 127.5 + before / 2.0, 1);
      } else {
        EXPECT_TRUE(std::equal(result.rgba_at(x, y), result.rgba_at(x, y) + 4, image->rgba_at(x, y)));
      }
    }
  }
  // An edit of all that is transparent gives an opaque picture.
  options.feather = 0;
  EXPECT_FALSE(edited(codec, plan_inpaint(codec, image, boxed(*image, {0, 0, 16, 16}), options)).has_transparency());
}

TEST(Outpaint, TransparencyOfTheOldPictureStays) {
  auto codec = tiny_codec();
  auto image = std::make_shared<Image>(*picture(16, 16));
  image->rgba.assign(4 * 16 * 16, 100);
  RegionOptions options;
  options.feather = 1;
  const auto result = edited(codec, plan_outpaint(codec, image, {0, 8, 0, 0}, options));
  ASSERT_TRUE(result.has_transparency());
  EXPECT_EQ(result.rgba_at(3, 3)[3], 100);
  EXPECT_EQ(result.rgba_at(20, 3)[3], 255);
}

TEST(Inpaint, OnTheMaskTheDecodeShowsWhole) {
  auto codec = tiny_codec();
  const auto image = picture(16, 16);
  torch::Tensor tokens;
  const auto plan = plan_inpaint(codec, image, boxed(*image, {3, 5, 6, 4}));
  const auto result = edited(codec, plan, &tokens);
  const auto decoded = to_image(codec->decode(TokenGrid(tokens.unsqueeze(0), kCodes))[0]);
  for (int y = 5; y < 9; ++y) {
    for (int x = 3; x < 9; ++x) EXPECT_EQ(difference(result, decoded, x, y), 0);
  }
  RegionOptions raw;
  raw.feather = 0;
  const auto unblended = plan_inpaint(codec, image, boxed(*image, {3, 5, 6, 4}), raw);
  EXPECT_EQ(edited(codec, unblended), decoded);
}

TEST(Inpaint, FixedCellsKeepTheirTokens) {
  auto codec = tiny_codec();
  const auto image = picture(32, 24);
  const auto plan = plan_inpaint(codec, image, boxed(*image, {7, 7, 20, 12}));
  torch::Tensor tokens;
  edited(codec, plan, &tokens);
  EXPECT_TRUE(plan.original.equal(encode_picture(codec, *image)));
  const auto masked = plan.codes == kCodes;
  EXPECT_TRUE(masked.equal(boxed(*image, {7, 7, 20, 12}).cells(2)));
  EXPECT_TRUE(torch::where(masked, tokens, plan.original).equal(tokens));
}

TEST(Inpaint, KnownCodesStandInForEncoding) {
  auto codec = tiny_codec();
  const auto image = picture(32, 24);
  auto known = encode_picture(codec, *image);
  known[0][0] = (known[0][0] + 1) % kCodes;  // the picture alone would not give this one
  const auto plan = plan_inpaint(codec, image, boxed(*image, {7, 7, 20, 12}), {}, known);
  EXPECT_TRUE(plan.original.equal(known));
  EXPECT_TRUE(plan_keep(codec, image, boxed(*image, {0, 0, 8, 8}), {}, "image", known).original.equal(known));
  // Of a small region, the part that is cut out on cells' corners.
  const auto large = picture(300, 200);
  const auto codes = encode_picture(codec, *large);
  const auto part = plan_inpaint(codec, large, boxed(*large, {150, 90, 5, 5}), {}, codes);
  ASSERT_EQ(part.area.x % 2 + part.area.y % 2, 0);
  EXPECT_TRUE(part.original.equal(codes.narrow(0, part.area.y / 2, 8).narrow(1, part.area.x / 2, 8)));
  EXPECT_THROW(plan_inpaint(codec, image, boxed(*image, {7, 7, 4, 4}), {}, codes), Error);
  EXPECT_THROW(plan_inpaint(codec, image, boxed(*image, {7, 7, 4, 4}), {}, known.clone().fill_(kCodes)), Error);
}

TEST(Inpaint, ASmallRegionOfALargePictureIsCutOutAtTheCodecsSize) {
  auto codec = tiny_codec();
  const auto image = picture(300, 200);
  for (const auto& box : {PixelBox{150, 90, 5, 5}, PixelBox{0, 0, 5, 5}, PixelBox{297, 197, 3, 3}}) {
    const auto plan = plan_inpaint(codec, image, boxed(*image, box));
    EXPECT_EQ(plan.extent(), (Extent{8, 8}));
    EXPECT_EQ(plan.area.width, 16);
    EXPECT_TRUE(plan.area.x >= 0 && plan.area.right() <= 300 && plan.area.y >= 0 && plan.area.bottom() <= 200);
    EXPECT_TRUE(plan.area.x <= box.x && plan.area.right() >= box.right());
    ASSERT_EQ(plan.notes.size(), 1U);
  }
  // A large region is seen with half the codec's size more than it needs.
  const auto wide = plan_inpaint(codec, image, boxed(*image, {100, 90, 60, 4}));
  EXPECT_EQ(wide.extent().h, 8);
  EXPECT_GE(wide.area.width, 60 + 8);
  EXPECT_LT(wide.area.width, 60 + 20);
}

TEST(Inpaint, BadMasksAreErrors) {
  auto codec = tiny_codec();
  const auto image = picture(16, 16);
  EXPECT_THROW(plan_inpaint(codec, image, PixelMask(16, 16)), Error);
  EXPECT_THROW(plan_inpaint(codec, image, boxed(*picture(8, 8), {0, 0, 2, 2})), Error);
  RegionOptions strict;
  strict.threshold = 1;
  EXPECT_THROW(plan_inpaint(codec, image, boxed(*image, {3, 3, 2, 2}), strict), Error);
  EXPECT_NO_THROW(plan_inpaint(codec, image, boxed(*image, {4, 4, 2, 2}), strict));
  strict.threshold = 1.5;
  EXPECT_THROW(plan_inpaint(codec, image, boxed(*image, {3, 3, 2, 2}), strict), UsageError);
  strict = {0, -2};
  EXPECT_THROW(plan_inpaint(codec, image, boxed(*image, {3, 3, 2, 2}), strict), UsageError);
}

TEST(Outpaint, TheOldPictureStaysWithinItsFeather) {
  auto codec = tiny_codec();
  const auto image = picture(21, 18);
  const Borders borders{5, 12, 0, 7};  // left, right, top, bottom
  RegionOptions options;
  options.feather = 3;
  const auto plan = plan_outpaint(codec, image, borders, options);
  EXPECT_EQ(plan.base->width, 38);
  EXPECT_EQ(plan.base->height, 25);
  const auto result = edited(codec, plan);
  ASSERT_EQ(result.width, 38);
  ASSERT_EQ(result.height, 25);
  for (int y = 0; y < 18 - 3; ++y) {
    for (int x = 3; x < 21 - 3; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        ASSERT_EQ(result.at(x + 5, y)[channel], image->at(x, y)[channel]) << x << "," << y;
      }
    }
  }
}

TEST(Outpaint, KeepsThePicturesTokensAndMasksTheRest) {
  auto codec = tiny_codec();
  const auto image = picture(17, 16);  // the last column of cells is half beyond the picture
  const auto own = encode_picture(codec, *image);
  const auto right = plan_outpaint(codec, image, {3, 4, 0, 0});
  EXPECT_EQ(right.codes.sizes(), (std::vector<std::int64_t>{8, 13}));
  EXPECT_EQ(right.offset_x, 1);
  EXPECT_TRUE(right.codes.narrow(1, 2, 8).equal(own.narrow(1, 0, 8)));
  EXPECT_EQ((right.codes == kCodes).sum().item<std::int64_t>(), 8 * (2 + 3));
  const auto left = plan_outpaint(codec, image, {4, 0, 0, 0});
  EXPECT_TRUE(left.codes.narrow(1, 2, 9).equal(own));
  EXPECT_THROW(plan_outpaint(codec, image, {0, 0, 0, 0}), UsageError);
  EXPECT_THROW(plan_outpaint(codec, image, {-1, 5, 0, 0}), UsageError);
  EXPECT_THROW(plan_outpaint(codec, image, {0, 1 << 20, 0, 0}), UsageError);
}

TEST(Generate, SizesAreRoundedUpToCellsAndCroppedBack) {
  auto codec = tiny_codec();
  for (const auto& [width, height] : {std::pair{33, 17}, std::pair{5, 7}, std::pair{16, 16}}) {
    const auto plan = plan_generate(codec, width, height);
    EXPECT_EQ(plan.extent(), (Extent{(height + 1) / 2, (width + 1) / 2}));
    const auto result = edited(codec, plan);
    EXPECT_EQ(result.width, width);
    EXPECT_EQ(result.height, height);
  }
  EXPECT_THROW(plan_generate(codec, 0, 5), UsageError);
  EXPECT_THROW(plan_generate(codec, 60000, 60000), UsageError);
}

TEST(EditPlan, SeveralMasksFillInOneBatch) {
  auto codec = tiny_codec();
  const auto image = picture(16, 16), other = picture(16, 16, 40);
  const std::vector<EditPlan> plans = {plan_inpaint(codec, image, boxed(*image, {0, 0, 6, 6})),
                                       plan_inpaint(codec, image, boxed(*image, {8, 8, 8, 8})),
                                       plan_inpaint(codec, other, boxed(*other, {2, 2, 3, 9}))};
  auto prior = tiny_prior();
  FillOptions options;
  options.steps = 4;
  const auto together = fill_canvas(grid_of(plans), *prior, {8, 8}, options).grid.codes();
  for (std::size_t i = 0; i < plans.size(); ++i) {
    options.first_image = i;
    EXPECT_TRUE(fill_canvas(grid_of({plans[i]}), *prior, {8, 8}, options)
                    .grid.codes()[0]
                    .equal(together[static_cast<std::int64_t>(i)]));
  }
  EXPECT_THROW(grid_of({plans[0], plan_generate(codec, 20, 16)}), Error);
}

TEST(EditPlan, OverlayTintsWhatIsRegenerated) {
  auto codec = tiny_codec();
  const auto image = std::make_shared<Image>(16, 16, Colour{0, 255, 0});
  const auto overlay = mask_overlay(plan_inpaint(codec, image, boxed(*image, {4, 4, 2, 2})), 2);
  EXPECT_EQ(overlay.at(5, 5)[0], (0 + 2 * 232) / 3);
  EXPECT_EQ(overlay.at(9, 9)[1], 255);
  EXPECT_EQ(overlay.at(8, 9)[1], 255 * 3 / 4);
}

}  // namespace edit_plan_test
}  // namespace tessera
