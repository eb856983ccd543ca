"""A model as a pipeline: images from nothing, from a sentence, from another image or from tokens."""

import dataclasses
import json
import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from . import _native
from ._options import as_json, device_of, dtype_of, native_names, path_bytes, says_stop
from ._pixels import box_mask, image_array, mask_of, pil_images, pixels_of, token_array, tokens_of

MASK = -1
"""A cell that is to be filled."""

ImageLike = Union[str, os.PathLike, Image.Image, np.ndarray]
Boxes = Union[Sequence[int], Sequence[Sequence[int]]]


class Step(NamedTuple):
    """How far a fill is."""

    step: int  # 1 .. steps
    steps: int
    evaluations: int  # of the network so far, times images
    tokens: np.ndarray  # int32 [images filled together, h, w]; MASK where a cell is open


class Piece(NamedTuple):
    """A part of an image, and where its corner lies on the canvas, pixels."""

    image: ImageLike
    to: Tuple[int, int] = (0, 0)
    box: Optional[Tuple[int, int, int, int]] = None  # x, y, width, height; None: the whole image


class _Made(NamedTuple):
    """Images where the library holds them."""

    images: "_native.Images"
    record: Dict[str, Any]
    first: int  # number of the first one


@dataclasses.dataclass(eq=False)
class PipelineOutput:
    """What a call has made."""

    images: Union[List[Image.Image], np.ndarray]  # "pil": a list; "np": uint8 [N, H, W, 3 | 4]; "tokens": an empty list
    tokens: np.ndarray  # int32 [N, h, w]
    record: Dict[str, Any]  # the options that were used, "seed", "evaluations", "seconds", "notes"
    _made: List["_Made"] = dataclasses.field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.tokens)

    def save(self, path: Union[str, os.PathLike]) -> List[str]:
        """Writes the images: one to a file .png, .webp or .jpg, more to a folder as 00000.png, 00001.png ... by
        their numbers. A PNG carries its record, which `tessera info` prints. Returns the names."""
        path = os.fspath(path)
        one = len(self) == 1 and os.path.splitext(path)[1] != ""
        if not one:
            os.makedirs(path, exist_ok=True)
        names: List[str] = []
        for made in self._made:
            for i in range(len(made.images)):
                names.append(path if one else os.path.join(path, f"{made.first + i:05}.png"))
                text = json.dumps({**made.record, "image": made.first + i})
                _native.image_write(path_bytes(names[-1]), made.images.image(i), text)
        return names


class Pipeline:
    """A model: makes, edits and judges images. It may be used by several threads at once.

    All methods that fill take the sampling options by name (`options` lists them), and "seed", "count", "batch"
    (images filled together), "first_image" (number of the first one), "stride" and "random_windows"; edits also
    "feather", "sharp" and "threshold". num_inference_steps, guidance_scale, num_images_per_prompt, class_labels and
    generator are other names of steps, cfg_scale, count, class and seed. Image i of a seed is always the same, and
    the seed is 0 unless it is given.

    output_type: "pil", "np" (uint8 arrays), or "tokens" ("latent").
    callback(step: Step) is called after each step; where it returns False the call raises Stopped.
    callback_on_step_end(pipe, step_index, timestep, {"tokens": ...}) is the same in the manner of diffusers.
    """

    def __init__(
        self,
        path: Union[str, os.PathLike],
        *,
        dtype: Any = "auto",
        device: Any = "cpu",
        loras: Any = None,
        **options: Any,
    ):
        """path: a bundle's folder, or the name of an installed model. dtype: "auto", "float32", "bfloat16",
        "float16" or "int8". device: "cpu", "cuda", "cuda:1". loras: files, or "FILE:0.8" with a scale."""
        self._path = path
        if isinstance(loras, (str, os.PathLike)):
            loras = [loras]
        self._given = {"dtype": dtype_of(dtype), "device": device_of(device), "loras": loras, **options}
        self._load()

    @classmethod
    def from_pretrained(
        cls,
        path: Union[str, os.PathLike],
        *,
        dtype: Any = None,
        torch_dtype: Any = None,
        device: Any = "cpu",
        loras: Any = None,
        **options: Any,
    ) -> "Pipeline":
        """Loads a model; torch_dtype is another name of dtype."""
        if dtype is not None and torch_dtype is not None:
            raise TypeError("dtype and torch_dtype are both given, but they are one option")
        chosen = dtype if dtype is not None else torch_dtype
        return cls(path, dtype="auto" if chosen is None else chosen, device=device, loras=loras, **options)

    def _load(self) -> None:
        self._model = _native.Model(path_bytes(self._path), as_json(self._given))
        self.config: Dict[str, Any] = json.loads(self._model.info())
        """What the model is: "image_size", "factor" (pixels a cell), "codebook_size", "grid", "condition" ..."""

    @property
    def labels(self) -> Dict[str, int]:
        """The numbers of the model's classes by their names; empty where they have none."""
        return {name: number for number, name in enumerate(self.config.get("class_names", []))}

    def get_label_ids(self, label: Union[str, List[str]]) -> List[int]:
        """The numbers of classes that are given by their names."""
        labels, wanted = self.labels, [label] if isinstance(label, str) else list(label)
        for name in wanted:
            if name not in labels:
                known = ", ".join(labels) if labels else "no names, the model's classes have none"
                raise _native.UsageError(f"class is {name!r}, expected one of {known}")
        return [labels[name] for name in wanted]

    def to(self, *where: Any) -> "Pipeline":
        """Loads the model again on another device or in another number format: to("cuda"), to("float16"). Returns
        itself."""
        given = dict(self._given)
        for each in where:
            device = device_of(each)
            if device.split(":")[0] in ("cpu", "cuda"):
                given["device"] = device
            else:
                given["dtype"] = dtype_of(each)
        if given != self._given:
            before = self._given
            self._given = given
            try:
                self._load()
            except Exception:
                self._given = before
                raise
        return self

    @property
    def device(self) -> str:
        return self._given["device"]

    @property
    def dtype(self) -> str:
        """What it computes in, also where "auto" was asked for."""
        return self.config.get("dtype", self._given["dtype"])

    @property
    def options(self) -> Dict[str, Dict[str, Any]]:
        """All sampling options there are, by name: type, range, default, choices and what they mean."""
        return {option["name"]: option for option in json.loads(_native.options_schema())}

    def __repr__(self) -> str:
        return f"Pipeline({os.fspath(self._path)!r}, dtype={self.dtype!r}, device={self.device!r})"

    # ---- fills ----

    def __call__(
        self,
        prompt: Union[None, str, Sequence[str]] = None,
        *,
        negative_prompt: Any = None,
        num_inference_steps: Optional[int] = None,
        guidance_scale: Optional[float] = None,
        num_images_per_prompt: Optional[int] = None,
        class_labels: Any = None,
        generator: Any = None,
        width: Optional[int] = None,
        height: Optional[int] = None,
        output_type: str = "pil",
        callback: Optional[Callable[[Step], Any]] = None,
        callback_on_step_end: Optional[Callable] = None,
        **options: Any,
    ) -> PipelineOutput:
        """New images. width, height: pixels; the model's own where they are left out. Of a list of prompts (or of
        class labels) each has its own images, one after the other; image i is that of number first_image + i."""
        given = native_names(
            {
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "num_inference_steps": num_inference_steps,
                "guidance_scale": guidance_scale,
                "num_images_per_prompt": num_images_per_prompt,
                "class_labels": class_labels,
                "generator": generator,
                "width": width,
                "height": height,
                **options,
            }
        )
        parts = []
        for part in _by_prompt(given):
            parts.append(self._fill(self._model.generate, (), part, output_type, callback, callback_on_step_end))
        return parts[0] if len(parts) == 1 else _joined(parts, output_type)

    generate = __call__

    def inpaint(
        self,
        image: ImageLike,
        mask: Optional[ImageLike] = None,
        *,
        box: Optional[Boxes] = None,
        mask_image: Optional[ImageLike] = None,
        output_type: str = "pil",
        callback: Optional[Callable[[Step], Any]] = None,
        callback_on_step_end: Optional[Callable] = None,
        **options: Any,
    ) -> PipelineOutput:
        """The cells under the mask are made anew: white pixels of an image of the same size (mask_image is another
        name), or a box (x, y, width, height) or several."""
        pixels = pixels_of(image)
        where = _region(pixels, mask, mask_image, box)
        return self._fill(
            self._model.inpaint, (pixels, where), native_names(options), output_type, callback, callback_on_step_end
        )

    def keep(
        self, image: ImageLike, mask: Optional[ImageLike] = None, *, box: Optional[Boxes] = None, **options: Any
    ) -> PipelineOutput:
        """The cells under the mask stay, all else is made anew."""
        return self.inpaint(image, mask, box=box, keep=True, **options)

    def outpaint(
        self,
        image: ImageLike,
        *,
        left: int = 0,
        right: int = 0,
        top: int = 0,
        bottom: int = 0,
        output_type: str = "pil",
        callback: Optional[Callable[[Step], Any]] = None,
        callback_on_step_end: Optional[Callable] = None,
        **options: Any,
    ) -> PipelineOutput:
        """New surroundings, pixels a side."""
        given = native_names({"left": left, "right": right, "top": top, "bottom": bottom, **options})
        return self._fill(self._model.outpaint, (pixels_of(image),), given, output_type, callback, callback_on_step_end)

    def variations(
        self,
        image: ImageLike,
        mask: Optional[ImageLike] = None,
        *,
        box: Optional[Boxes] = None,
        strength: Optional[float] = None,
        by: Optional[str] = None,
        output_type: str = "pil",
        callback: Optional[Callable[[Step], Any]] = None,
        callback_on_step_end: Optional[Callable] = None,
        **options: Any,
    ) -> PipelineOutput:
        """Images near a given one. strength: share of the cells in (0, 1] that are made anew; by: "random", or
        "likelihood", those that surprise the model. mask, box: where they may differ; everywhere if not given."""
        pixels = pixels_of(image)
        where = None if mask is None and box is None else _region(pixels, mask, None, box)
        given = native_names({"strength": strength, "by": by, **options})
        return self._fill(self._model.variations, (pixels, where), given, output_type, callback, callback_on_step_end)

    def stitch(
        self,
        pieces: Iterable[Union[Piece, Mapping, Tuple]],
        *,
        onto: Optional[ImageLike] = None,
        width: Optional[int] = None,
        height: Optional[int] = None,
        seam: Optional[int] = None,
        output_type: str = "pil",
        callback: Optional[Callable[[Step], Any]] = None,
        callback_on_step_end: Optional[Callable] = None,
        **options: Any,
    ) -> PipelineOutput:
        """Pieces on a canvas of width x height pixels, or on an image; the rest is filled. pieces: Piece(image, to,
        box), such tuples, or {"image", "to": [X, Y], "from": [x, y, w, h]}. seam: pixels around each that are made
        anew."""
        parts = [_piece(piece) for piece in pieces]
        canvas = None if onto is None else pixels_of(onto, "onto")
        given = native_names({"width": width, "height": height, "seam": seam, **options})
        return self._fill(self._model.stitch, (parts, canvas), given, output_type, callback, callback_on_step_end)

    def fill(
        self,
        tokens: Any,
        *,
        onto: Optional[ImageLike] = None,
        output_type: str = "pil",
        callback: Optional[Callable[[Step], Any]] = None,
        callback_on_step_end: Optional[Callable] = None,
        **options: Any,
    ) -> PipelineOutput:
        """The MASK cells of a grid [h, w] of any extent are filled: every job comes to this. onto: an image that the
        decode is laid over where cells changed."""
        canvas = None if onto is None else pixels_of(onto, "onto")
        return self._fill(
            self._model.fill,
            (_one_grid(tokens), canvas),
            native_names(options),
            output_type,
            callback,
            callback_on_step_end,
        )

    # ---- tokens ----

    def encode(self, image: ImageLike) -> np.ndarray:
        """An image's tokens, int32 [h, w]."""
        return self._model.encode(pixels_of(image))

    def decode(self, tokens: Any, *, output_type: str = "pil") -> Union[List[Image.Image], np.ndarray]:
        """The images of whole grids, [h, w] or [N, h, w]."""
        _check_output_type(output_type)
        grids = tokens_of(tokens)
        made = self._model.decode(list(grids) if grids.ndim == 3 else [grids])
        return _images(made, output_type)

    def score(
        self, tokens: Any, *, prompt: Optional[str] = None, spacing: Optional[int] = None, **options: Any
    ) -> np.ndarray:
        """How likely each cell's code is, given the others: nats, float64 [h, w] (or [N, h, w]), 0 where a cell is
        MASK. spacing 0 hides each cell by itself; s hides those that lie s apart together, in s * s looks."""
        given = native_names({"prompt": prompt, "spacing": spacing, **options})
        given = as_json(given)
        grids = tokens_of(tokens)
        if grids.ndim == 2:
            return self._model.score(grids, given)
        return np.stack([self._model.score(grid, given) for grid in grids])

    # ---- how ----

    def _fill(
        self,
        call: Callable,
        inputs: Tuple,
        options: Dict[str, Any],
        output_type: str,
        callback: Optional[Callable],
        callback_on_step_end: Optional[Callable],
    ) -> PipelineOutput:
        _check_output_type(output_type)
        made = call(*inputs, as_json(options), self._on_step(callback, callback_on_step_end))
        record = json.loads(made.record())
        made_so = _Made(made, record, int(options.get("first_image", 0)))
        return PipelineOutput(_images(made, output_type), token_array(made), record, [made_so])

    def _on_step(self, callback: Optional[Callable], at_end: Optional[Callable]) -> Optional[Callable[..., bool]]:
        if callback is None and at_end is None:
            return None

        def on_step(step: int, steps: int, evaluations: int, tokens: np.ndarray) -> bool:
            stop = callback is not None and says_stop(callback(Step(step, steps, evaluations, tokens)))
            if at_end is not None:
                stop = says_stop(at_end(self, step - 1, steps - step, {"tokens": tokens})) or stop
            return not stop

        return on_step


def make_image_grid(images: Sequence[Image.Image], rows: int, cols: int) -> Image.Image:
    """Images of one size on one sheet, row by row."""
    images = list(images)
    if len(images) != rows * cols:
        raise _native.UsageError(f"{len(images)} images, expected {rows} x {cols}")
    width, height = images[0].size
    sheet = Image.new(images[0].mode, (cols * width, rows * height))
    for i, image in enumerate(images):
        sheet.paste(image, (i % cols * width, i // cols * height))
    return sheet


def _by_prompt(options: Dict[str, Any]) -> List[Dict[str, Any]]:
    """One set of options for each prompt or class of a list; a negative prompt goes with the prompt in its place."""
    lists = {
        name: list(options[name])
        for name in ("prompt", "negative_prompt", "class")
        if isinstance(options.get(name), (list, tuple, np.ndarray))
    }
    if not lists:
        return [options]
    lengths = {name: len(values) for name, values in lists.items()}
    number = max(lengths.values())
    if number == 0 or len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise _native.UsageError(f"lists of {said}, expected one length, 1 or more")
    first, count = options.get("first_image", 0), options.get("count", 1)
    return [
        {**options, **{name: values[i] for name, values in lists.items()}, "first_image": first + i * count}
        for i in range(number)
    ]


def _joined(parts: List[PipelineOutput], output_type: str) -> PipelineOutput:
    """The parts one after the other. record: that of the first, with sums, and lists where they differ."""
    tokens = np.concatenate([part.tokens for part in parts])
    if output_type == "np":
        images: Any = np.concatenate([part.images for part in parts])
    else:
        images = [image for part in parts for image in part.images]
    record = dict(parts[0].record)
    conditions = [part.record.get("condition", {}) for part in parts]
    record["condition"] = {
        name: value if all(each.get(name) == value for each in conditions) else [each.get(name) for each in conditions]
        for name, value in conditions[0].items()
    }
    for name in ("count", "evaluations", "seconds"):
        if name in record:
            record[name] = sum(part.record[name] for part in parts)
    return PipelineOutput(images, tokens, record, [made for part in parts for made in part._made])


def _check_output_type(output_type: str) -> None:
    if output_type not in ("pil", "np", "tokens", "latent"):
        raise _native.UsageError(f"output_type is {output_type!r}, expected one of pil, np, tokens")


def _images(made: "_native.Images", output_type: str) -> Union[List[Image.Image], np.ndarray]:
    if output_type == "np":
        return image_array(made)
    return pil_images(made) if output_type == "pil" else []


def _region(pixels: np.ndarray, mask: Any, mask_image: Any, box: Any) -> np.ndarray:
    given = [name for name, value in (("mask", mask), ("mask_image", mask_image), ("box", box)) if value is not None]
    if len(given) != 1:
        raise TypeError(f"{' and '.join(given) or 'neither mask nor box'} given, expected one of mask and box")
    if box is not None:
        return box_mask(pixels.shape[1], pixels.shape[0], box)
    return mask_of(mask if mask is not None else mask_image)


def _piece(piece: Any) -> Tuple[np.ndarray, int, int, int, int, int, int]:
    if isinstance(piece, Mapping):
        unknown = set(piece) - {"image", "to", "from", "box"}
        if unknown or "image" not in piece:
            raise TypeError(f"piece: {', '.join(sorted(piece))}, expected image, to, from")
        piece = Piece(piece["image"], piece.get("to", (0, 0)), piece.get("from", piece.get("box")))
    image, to, box = Piece(*piece)
    pixels = pixels_of(image, "piece")
    x, y, width, height = (0, 0, pixels.shape[1], pixels.shape[0]) if box is None else box
    return (pixels, int(x), int(y), int(width), int(height), int(to[0]), int(to[1]))


def _one_grid(tokens: Any) -> np.ndarray:
    grid = tokens_of(tokens)
    if grid.ndim == 3 and len(grid) == 1:
        grid = grid[0]
    if grid.ndim != 2:
        raise TypeError(f"tokens: an array of shape {grid.shape}, expected [h, w]")
    return grid
