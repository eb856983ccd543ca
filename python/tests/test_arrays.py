"""Arrays on their way in and out: which are taken as they lie, which are copied, which are refused."""

import gc

import numpy as np
import pytest
from PIL import Image
from conftest import MODELS

import tessera
from tessera import _native
from tessera._pixels import mask_of, pixels_of


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)


def test_dense_arrays_are_taken_as_they_lie(picture):
    wide = np.zeros((64, 96, 3), np.uint8)
    for array in (picture, picture[8:40], wide[:, 16:80], picture[::2], picture[..., :1].copy(), picture[:1]):
        assert np.shares_memory(pixels_of(array), array)


def test_others_are_copied_to_the_same_pixels(emoji, picture):
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., :3] = picture
    backwards = picture[::-1][::-1].copy()[::-1]
    for array in (
        picture[:, ::2],
        picture[..., ::-1],
        rgba[..., :3],
        backwards,
        np.asfortranarray(picture),
        picture.transpose(1, 0, 2),
        np.broadcast_to(picture[0], (64, 64, 3)),
    ):
        taken = pixels_of(array)
        assert not np.shares_memory(taken, array) and np.array_equal(taken, array)
    assert np.array_equal(emoji.encode(rgba[..., :3]), emoji.encode(picture))
    assert np.array_equal(emoji.encode(backwards), emoji.encode(backwards.copy()))


def test_a_part_of_an_array_means_that_part(emoji, picture):
    wide = np.zeros((80, 112, 3), np.uint8)
    wide[8:72, 24:88] = picture
    assert np.array_equal(emoji.encode(wide[8:72, 24:88]), emoji.encode(picture))


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((8, 8, 3), np.float32), "float32, expected uint8.*255 \\* array"),
        (np.zeros((8, 8, 3), np.int64), "int64, expected uint8"),
        (np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\), expected \[H, W\]"),
        (np.zeros((2, 8, 8, 3), np.uint8), "shape"),
        (np.zeros(8, np.uint8), "shape"),
        (np.zeros((0, 8, 3), np.uint8), "shape"),
        (None, "object"),
        (3, "expected uint8"),
    ],
)
def test_what_is_no_image_is_an_error(emoji, array, message):
    with pytest.raises(TypeError, match=message):
        emoji.encode(array)


def test_the_binding_itself_takes_no_array_that_it_would_misread(emoji, picture):
    for array in (
        picture[:, ::2],
        picture[::-1],
        picture.astype(np.int8),
        picture[None],
        np.broadcast_to(picture[:1], picture.shape),
    ):
        with pytest.raises(TypeError):
            emoji._model.encode(array)


def test_pil_images_of_every_mode_are_read(emoji, picture):
    image = Image.fromarray(picture)
    assert np.array_equal(emoji.encode(image), emoji.encode(picture))
    for mode in ("1", "L", "P", "CMYK", "YCbCr", "LA", "RGBA", "I", "F"):
        assert emoji.encode(image.convert("L" if mode in ("LA", "I", "F") else "RGB").convert(mode)).shape == (16, 16)
    clear = image.convert("P", palette=Image.ADAPTIVE)
    clear.info["transparency"] = 0
    assert pixels_of(clear).shape == (64, 64, 4)


def test_transparency_goes_through_an_edit(emoji, picture):
    rgba = np.dstack([picture, np.full((64, 64), 255, np.uint8)])
    rgba[:8, :, 3] = 0
    edited = emoji.inpaint(rgba, box=(32, 32, 16, 16), sampler="confidence", steps=2)
    assert edited.images[0].mode == "RGBA" and np.asarray(edited.images[0])[0, 0, 3] == 0


def test_masks_of_truth_values_are_white_where_true():
    assert mask_of(np.array([[True, False]])).tolist() == [[255, 0]]
    assert mask_of([[True, False]]).tolist() == [[255, 0]]


def test_an_image_read_from_a_file_is_that_of_pil(pictures):
    name = pictures / "emoji_u1f9d0.png"
    with Image.open(name) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(pixels_of(name)[..., :3], expected)
    assert np.array_equal(pixels_of(str(name)), pixels_of(name))
    with pytest.raises(tessera.Error, match="nowhere.png"):
        pixels_of("nowhere.png")


def test_pixels_outlive_what_they_were_made_by(emoji):
    made = emoji._model.generate({"steps": "2", "sampler": '"confidence"'}, None)
    view = made.image(0)
    assert np.shares_memory(view, made.image(0)) and not view.flags.writeable
    before = view.copy()
    del made
    gc.collect()
    assert np.array_equal(view, before)
    with pytest.raises(ValueError):
        view[0] = 0


def test_results_outlive_the_model():
    pipe = tessera.Pipeline(MODELS / "emoji64")
    made = pipe(sampler="confidence", steps=2, output_type="np")
    native = made._made[0].images
    del pipe
    gc.collect()
    assert np.array_equal(native.image(0), made.images[0])


def test_an_image_that_is_not_there_is_an_error(emoji):
    made = emoji._model.generate({"steps": "2", "sampler": '"confidence"'}, None)
    for call in (made.image, made.tokens):
        with pytest.raises(tessera.UsageError, match="no image 1"):
            call(1)
    with pytest.raises(tessera.UsageError, match="tokens alone|no tokens"):
        _native.image_read(bytes(MODELS / "emoji64/examples/emoji_u1f9d0.png")).tokens(0)
