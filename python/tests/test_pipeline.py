import json
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from conftest import FAST, MODELS, ROOT

import tessera
from tessera import MASK, Pipeline


def same(a, b):
    return np.array_equal(np.asarray(a), np.asarray(b))


# ---- generate ----


def test_a_call_gives_images_tokens_and_record(made):
    assert [image.size for image in made.images] == [(64, 64), (64, 64)] and made.images[0].mode == "RGB"
    assert made.tokens.shape == (2, 16, 16) and made.tokens.dtype == np.int32
    assert made.tokens.min() >= 0 and made.tokens.max() < 512
    assert made.record["seed"] == 3 and made.record["steps"] == 4 and made.record["sampler"] == "confidence"
    assert made.record["evaluations"] == 8 and made.record["seconds"] > 0
    assert len(made) == 2


def test_an_image_depends_on_seed_and_number_alone(emoji, made):
    alone = emoji(seed=3, first_image=1, **FAST)
    assert same(alone.images[0], made.images[1])
    one_by_one = emoji(seed=3, count=2, batch=1, **FAST)
    assert same(one_by_one.tokens, made.tokens)
    assert not same(emoji(seed=4, **FAST).tokens[0], made.tokens[0])


def test_output_types_hold_the_same(emoji, made):
    arrays = emoji(num_images_per_prompt=2, seed=3, output_type="np", **FAST)
    assert arrays.images.shape == (2, 64, 64, 3) and arrays.images.dtype == np.uint8 and arrays.images.flags.writeable
    assert all(same(arrays.images[i], made.images[i]) for i in range(2))
    tokens = emoji(num_images_per_prompt=2, seed=3, output_type="tokens", **FAST)
    assert tokens.images == [] and same(tokens.tokens, made.tokens)
    with pytest.raises(tessera.UsageError, match="output_type is 'jpg', expected one of pil, np, tokens"):
        emoji(output_type="jpg")


def test_names_of_other_programs_mean_ours(emoji, made):
    ours = emoji(steps=4, sampler="confidence", count=2, seed=3)
    assert same(ours.tokens, made.tokens)


class Generator:
    """As torch.Generator."""

    def initial_seed(self):
        return 3


def test_a_generator_stands_for_its_seed(emoji, made):
    assert same(emoji(generator=Generator(), **FAST).tokens[0], made.tokens[0])
    assert same(emoji(generator=np.int64(3), **FAST).tokens[0], made.tokens[0])


@pytest.mark.parametrize(
    "one, other",
    [
        ("num_inference_steps", "steps"),
        ("guidance_scale", "cfg_scale"),
        ("num_images_per_prompt", "count"),
        ("generator", "seed"),
        ("class_labels", "label"),
    ],
)
def test_two_names_of_one_option_are_an_error_that_names_both(emoji, one, other):
    with pytest.raises(TypeError, match=f"{one} and {other} are both given"):
        emoji(**{one: 1, other: 1})


def test_none_is_not_given(emoji, made):
    assert same(
        emoji(None, negative_prompt=None, guidance_scale=None, top_k=None, seed=3, **FAST).tokens[0], made.tokens[0]
    )


def test_a_canvas_may_have_another_size(emoji):
    wide = emoji(width=128, height=64, seed=1, **FAST)
    assert wide.images[0].size == (128, 64) and wide.tokens.shape == (1, 16, 32)


def test_prompts_are_read(text):
    hearts = text("red heart", guidance_scale=3, seed=1, **FAST)
    assert hearts.record["condition"]["prompt"] == "red heart" and hearts.record["condition"]["cfg_scale"] == 3
    assert not same(hearts.tokens, text("judge", guidance_scale=3, seed=1, **FAST).tokens)


def test_of_a_list_of_prompts_each_has_its_images(text):
    both = text(["red heart", "judge"], num_images_per_prompt=2, seed=1, **FAST)
    assert len(both.images) == 4 and both.tokens.shape == (4, 16, 16)
    assert both.record["condition"]["prompt"] == ["red heart", "judge"] and both.record["count"] == 4
    second = text("judge", num_images_per_prompt=2, first_image=2, seed=1, **FAST)
    assert same(both.tokens[2:], second.tokens)
    with pytest.raises(tessera.UsageError, match="prompt 2, negative_prompt 1, expected one length"):
        text(["a", "b"], negative_prompt=["c"])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"stepz": 3}, "no option 'stepz', expected of .*steps"),
        ({"steps": -1}, "steps is -1, expected"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"temperature": float("nan")}, "temperature"),
        ({"prompt": "x"}, "prompt"),
        ({"sampler": "eulr"}, "eulr"),
        ({"sampler": "raster", "purity": 3}, "purity is 3, but sampler 'raster'"),
        ({"seed": -1}, "seed is -1"),
        ({"count": 0}, "count is 0"),
        ({"class_labels": "dog"}, "class"),
    ],
)
def test_a_wrong_option_is_named(emoji, options, message):
    with pytest.raises(tessera.UsageError, match=message):
        emoji(**options)


def test_errors_are_of_the_kinds_that_python_knows():
    assert issubclass(tessera.UsageError, (ValueError, tessera.Error))
    assert issubclass(tessera.UsageError, tessera.Error) and issubclass(tessera.Stopped, tessera.Error)
    assert issubclass(tessera.Error, RuntimeError) and issubclass(tessera.OutOfMemory, MemoryError)
    assert tessera.Error.__module__ == "tessera"
    with pytest.raises(TypeError, match="callback"):
        Pipeline(MODELS / "emoji64", callback=print)


# ---- loading ----


def test_what_a_model_is_stands_in_its_config(emoji, text):
    assert emoji.config["image_size"] == 64 and emoji.config["factor"] == 4 and emoji.config["grid"] == [16, 16]
    assert emoji.config["condition"] == "none" and text.config["condition"] == "text"
    assert emoji.dtype in ("float32", "bfloat16") and emoji.device == "cpu"
    assert "emoji64" in repr(emoji)


def test_the_options_are_listed(emoji):
    steps = emoji.options["steps"]
    assert steps["type"] == "integer" and "default" in steps and steps["description"]
    assert {"sampler", "temperature", "prompt", "cfg_scale", "class"} <= set(emoji.options)
    assert emoji.options == tessera.options_schema()


@pytest.mark.parametrize(
    "path, options, error",
    [
        ("no/such/model", {}, tessera.Error),
        (MODELS / "emoji64", {"dtype": "float8"}, tessera.Error),
        (MODELS / "emoji64", {"device": "abacus"}, tessera.Error),
        (MODELS / "emoji64", {"variant": "fp16"}, tessera.UsageError),
        ("a\0b", {}, ValueError),
    ],
)
def test_what_cannot_be_loaded_is_an_error(path, options, error):
    with pytest.raises(error):
        Pipeline.from_pretrained(path, **options)


def test_a_model_may_be_loaded_in_another_format():
    class Dtype:  # as torch.float32
        def __str__(self):
            return "torch.float32"

    pipe = Pipeline.from_pretrained(MODELS / "emoji64", torch_dtype=Dtype())
    assert pipe.dtype == "float32"
    assert pipe.to("cpu") is pipe and pipe.to("int8").dtype == "int8"
    with pytest.raises(tessera.Error):
        pipe.to("float7")
    assert pipe.dtype == "int8" and len(pipe(steps=2, sampler="confidence").images) == 1
    with pytest.raises(TypeError, match="dtype and torch_dtype"):
        Pipeline.from_pretrained(MODELS / "emoji64", dtype="float32", torch_dtype="float32")


# ---- edits ----


def test_inpaint_makes_the_box_anew_and_nothing_else(emoji, made):
    image = made.images[0]
    edited = emoji.inpaint(image, box=(16, 16, 32, 32), seed=5, **FAST)
    before, after = np.asarray(image).astype(int), np.asarray(edited.images[0]).astype(int)
    changed = np.abs(before - after).max(axis=2) > 0
    assert changed[16:48, 16:48].any()
    changed[8:56, 8:56] = False  # a cell and the feather around the box
    assert not changed.any()


def test_a_mask_may_be_given_in_many_ways(emoji, made):
    image = made.images[0]
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[16:48, 16:48] = 255
    expected = emoji.inpaint(image, box=[(16, 16, 32, 16), (16, 32, 32, 16)], seed=5, **FAST).tokens
    for given in (
        mask,
        mask > 0,
        mask[..., None],
        np.stack([mask] * 3, 2),
        rgba,
        Image.fromarray(mask),
        Image.fromarray(mask).convert("1"),
        Image.fromarray(rgba),
        Image.fromarray(mask).convert("RGB"),
    ):
        assert same(emoji.inpaint(image, given, seed=5, **FAST).tokens, expected), getattr(given, "shape", given)
    assert same(emoji.inpaint(image, mask_image=mask, seed=5, **FAST).tokens, expected)


def test_one_of_mask_and_box_is_asked_for(emoji, made):
    with pytest.raises(TypeError, match="neither mask nor box"):
        emoji.inpaint(made.images[0])
    with pytest.raises(TypeError, match="mask and box given"):
        emoji.inpaint(made.images[0], np.ones((64, 64), bool), box=(0, 0, 8, 8))
    with pytest.raises(TypeError, match=r"expected \(x, y, width, height\)"):
        emoji.inpaint(made.images[0], box=(1, 2, 3))


def test_keep_is_inpaint_turned_round(emoji, made):
    box = (16, 16, 32, 32)
    kept = emoji.keep(made.images[0], box=box, seed=5, **FAST)
    outside = np.ones((64, 64), bool)
    outside[16:48, 16:48] = False
    assert same(kept.tokens[0][4:12, 4:12], emoji.encode(made.images[0])[4:12, 4:12])
    assert same(kept.tokens, emoji.inpaint(made.images[0], outside, seed=5, **FAST).tokens)


def test_outpaint_adds_the_pixels_asked_for(emoji, made):
    wide = emoji.outpaint(made.images[0], left=32, right=16, seed=1, **FAST)
    assert wide.images[0].size == (112, 64)
    with pytest.raises(tessera.Error):
        emoji.outpaint(made.images[0])


def test_variations_change_a_share_of_the_cells(emoji, made):
    near = emoji.variations(made.images[0], strength=0.25, num_images_per_prompt=2, seed=1, **FAST)
    given = emoji.encode(made.images[0])
    share = [(tokens != given).mean() for tokens in near.tokens]
    assert all(0 < each <= 0.25 for each in share)
    part = emoji.variations(made.images[0], box=(0, 0, 32, 64), strength=1, seed=1, **FAST)
    assert same(part.tokens[0][:, 8:], given[:, 8:])
    assert len(emoji.variations(made.images[0], strength=0.1, by="likelihood", **FAST).images) == 1


def test_pieces_are_stitched(emoji, made):
    left, right = made.images
    pieces = [
        tessera.Piece(left, to=(0, 0), box=(0, 0, 32, 64)),
        {"image": right, "from": (32, 0, 32, 64), "to": (64, 0)},
    ]
    both = emoji.stitch(pieces, width=96, height=64, seed=1, **FAST)
    assert both.images[0].size == (96, 64) and both.tokens.shape == (1, 16, 24)
    assert same(emoji.stitch([tuple(pieces[0]), pieces[1]], width=96, height=64, seed=1, **FAST).tokens, both.tokens)
    laid = emoji.stitch([tessera.Piece(right, (16, 16), (0, 0, 32, 32))], onto=left, seam=8, seed=1, **FAST)
    assert laid.images[0].size == (64, 64)
    with pytest.raises(TypeError, match="expected image, to, from"):
        emoji.stitch([{"picture": left}])
    with pytest.raises(tessera.Error):
        emoji.stitch([])


def test_fill_keeps_what_is_given(emoji, made):
    tokens = made.tokens[0].copy()
    tokens[4:8, 4:8] = MASK
    filled = emoji.fill(tokens, seed=2, count=2, **FAST)
    known = tokens != MASK
    assert filled.tokens.shape == (2, 16, 16) and (filled.tokens != MASK).all()
    assert all(same(each[known], tokens[known]) for each in filled.tokens)
    assert emoji.fill(np.full((20, 18), MASK), seed=2, **FAST).images[0].size == (72, 80)
    tokens = emoji.encode(made.images[0])
    tokens[4:8, 4:8] = MASK
    over = emoji.fill(tokens, onto=made.images[0], seed=2, output_type="np", **FAST).images[0]
    assert same(over[48:], np.asarray(made.images[0])[48:])


# ---- tokens ----


def test_decode_gives_the_images_that_were_made(emoji, made):
    assert all(same(a, b) for a, b in zip(emoji.decode(made.tokens), made.images))
    assert same(emoji.decode(made.tokens[0])[0], made.images[0])
    assert emoji.decode(made.tokens, output_type="np").shape == (2, 64, 64, 3)
    assert same(emoji.decode(made.tokens.astype(np.int64).tolist())[1], made.images[1])


@pytest.mark.parametrize(
    "tokens, error",
    [
        (np.full((16, 16), MASK), tessera.UsageError),
        (np.full((16, 16), 512), tessera.UsageError),
        (np.full((16, 16), 2**40), tessera.UsageError),
        (np.zeros((16, 16)), TypeError),
        (np.zeros(256, int), TypeError),
        (np.zeros((0, 16), int), tessera.Error),
        ("tokens", TypeError),
    ],
)
def test_what_is_no_grid_is_an_error(emoji, tokens, error):
    with pytest.raises(error):
        emoji.decode(tokens)


def test_encode_gives_a_grid(emoji, pictures):
    tokens = emoji.encode(pictures / "emoji_u1f9d0.png")
    assert tokens.shape == (32, 32) and tokens.dtype == np.int32 and tokens.flags.writeable


def test_score_gives_log_probabilities(emoji, made):
    tokens = made.tokens.copy()
    tokens[0, 0, 0] = MASK
    scores = emoji.score(tokens[0], spacing=4)
    assert scores.shape == (16, 16) and scores.dtype == np.float64
    assert scores[0, 0] == 0 and (scores[0, 1:] < 0).all() and math.isfinite(scores.sum())
    assert same(emoji.score(tokens[:1], spacing=4)[0], scores)
    with pytest.raises(tessera.UsageError, match="spacings"):
        emoji.score(tokens[0], spacings=3)


def test_a_score_depends_on_the_sentence(text):
    heart = text("red heart", seed=1, **FAST)
    assert not same(text.score(heart.tokens[0], prompt="red heart", spacing=4), text.score(heart.tokens[0], spacing=4))


# ---- files ----


def test_a_saved_png_carries_its_record(made, tmp_path):
    names = made.save(tmp_path / "sheet")
    assert [name.rsplit("/", 1)[1] for name in names] == ["00000.png", "00001.png"]
    with Image.open(names[1]) as image:
        assert same(image, made.images[1])
        record = json.loads(image.text["tessera"])
    assert record["seed"] == 3 and record["image"] == 1 and record["steps"] == 4


def test_one_image_is_saved_to_a_file(emoji, tmp_path):
    one = emoji(seed=3, first_image=4, output_type="tokens", **FAST)
    assert one.save(tmp_path / "one.webp") == [str(tmp_path / "one.webp")]
    one.save(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert json.loads(image.text["tessera"])["image"] == 4
    with pytest.raises(tessera.Error):
        one.save(tmp_path / "one.bmp")


def test_a_grid_of_images(made):
    sheet = tessera.make_image_grid(made.images, rows=1, cols=2)
    assert sheet.size == (128, 64) and same(np.asarray(sheet)[:, 64:], made.images[1])
    with pytest.raises(tessera.UsageError, match="expected 2 x 2"):
        tessera.make_image_grid(made.images, 2, 2)


def test_the_examples_run(tmp_path):
    subprocess.run([sys.executable, ROOT / "examples" / "edit.py", MODELS / "emoji64", tmp_path], check=True, cwd=ROOT)
    assert len(list(tmp_path.glob("*.png"))) >= 2
