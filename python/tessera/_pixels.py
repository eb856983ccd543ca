"""Images on their way to the library and back: files, PIL images, arrays."""

import os
from typing import Any, List

import numpy as np
from PIL import Image

from . import _native
from ._options import path_bytes


def pixels_of(image: Any, what: str = "image") -> np.ndarray:
    """uint8 [H, W] or [H, W, 1 | 3 | 4]: the array itself where its rows are dense, else a copy."""
    if isinstance(image, (str, bytes, os.PathLike)):
        return _native.image_read(path_bytes(image)).image(0)
    if isinstance(image, Image.Image):
        return _from_pil(image)
    return _dense(_checked(np.asarray(image), what))


def mask_of(mask: Any, what: str = "mask") -> np.ndarray:
    """The same; truth values are white where True."""
    if isinstance(mask, Image.Image) and mask.mode in ("1", "L"):
        return np.asarray(mask.convert("L"))
    if not isinstance(mask, (str, bytes, os.PathLike, Image.Image)):
        array = np.asarray(mask)
        if array.dtype == np.bool_:
            mask = array.astype(np.uint8) * 255
    return pixels_of(mask, what)


def box_mask(width: int, height: int, boxes: Any) -> np.ndarray:
    """White in the boxes (x, y, width, height): one, or a list of them."""
    mask = np.zeros((height, width), np.uint8)
    table = np.asarray(boxes)
    if table.ndim == 1:
        table = table[None]
    if table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iu":
        raise TypeError(f"box: {boxes!r}, expected (x, y, width, height) in pixels, or a list of such")
    for x, y, w, h in table.tolist():
        mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = 255
    return mask


def tokens_of(tokens: Any, what: str = "tokens") -> np.ndarray:
    """int32 [h, w] or [N, h, w], C-contiguous; the array itself where it is that."""
    array = np.asarray(tokens)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{what}: an array of {array.dtype}, expected whole numbers")
    if array.ndim not in (2, 3):
        raise TypeError(f"{what}: an array of shape {array.shape}, expected [h, w] or [N, h, w]")
    bounds = np.iinfo(np.int32)
    if array.dtype != np.int32 and array.size and (array.min() < bounds.min or array.max() > bounds.max):
        raise _native.UsageError(f"{what}: {array.min()} to {array.max()}, expected codes from 0, or -1 for MASK")
    return np.ascontiguousarray(array, np.int32)


def pil_images(images: "_native.Images") -> List[Image.Image]:
    return [Image.fromarray(images.image(i)) for i in range(len(images))]


def image_array(images: "_native.Images") -> np.ndarray:
    """uint8 [N, H, W, 3 | 4]."""
    return np.stack([images.image(i) for i in range(len(images))])


def token_array(images: "_native.Images") -> np.ndarray:
    """int32 [N, h, w]."""
    return np.stack([images.tokens(i) for i in range(len(images))])


def _from_pil(image: Image.Image) -> np.ndarray:
    if image.mode in ("RGB", "RGBA"):
        return np.asarray(image)
    transparent = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if transparent else "RGB"))


def _checked(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype != np.uint8:
        hint = "; (255 * array).round().astype('uint8') makes them of 0 to 1" if array.dtype.kind == "f" else ""
        raise TypeError(f"{what}: an array of {array.dtype}, expected uint8 of 0 to 255{hint}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        raise TypeError(f"{what}: an array of shape {array.shape}, expected [H, W] or [H, W, 1, 3 or 4]")
    return array


def _dense(array: np.ndarray) -> np.ndarray:
    """The array, or a copy where a row's bytes do not follow each other or rows run backwards or overlap."""
    channels = array.shape[2] if array.ndim == 3 else 1
    within = (channels, 1)[: array.ndim - 1]
    dense = array.strides[1:] == within and array.strides[0] >= channels * array.shape[1]
    return array if dense else np.ascontiguousarray(array)
