"""Data sets as trainings read them."""

import json
import operator
import os
from typing import Any, Dict, Iterator, List, Optional, Sequence, Union

import numpy as np
from PIL import Image

from . import _native
from ._options import as_json, path_bytes


class Dataset:
    """A folder, zip, tar shards or .tessera-pack of images with captions and labels.

    An item is a dict as of Hugging Face's datasets: "image" (PIL, size x size), "name", "text" (its caption, or
    None), "captions" (all of them), "label" (a number, or None), "class" (its name, or None), "fields" (other
    metadata). A slice is a dict of lists, and dataset["text"] the column.

    path: as above. size: pixels a side; a pack has its own. split: "train", "validation", "test" or "all". where: a
    list such as ["style=flat", "license!=..."]. More options: split_field, caption_field, seed, validation_fraction,
    upscale, background. output_type: "pil", or "np": images are uint8 arrays [size, size, 3], of a slice [n, size,
    size, 3].
    """

    column_names = ["image", "name", "text", "captions", "label", "class", "fields"]

    def __init__(
        self,
        path: Union[str, os.PathLike],
        size: Optional[int] = None,
        split: str = "train",
        where: Union[None, str, Sequence[str]] = None,
        *,
        output_type: str = "pil",
        **options: Any,
    ):
        if output_type not in ("pil", "np"):
            raise _native.UsageError(f"output_type is {output_type!r}, expected one of pil, np")
        self.path = path
        self.output_type = output_type
        self.given = {"size": size, "split": split, "where": where, **options}
        self._data = _native.Dataset(path_bytes(path), as_json(self.given))

    def __reduce__(self):  # for the workers of a loader
        return _opened, (self.path, self.given, self.output_type)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self._data.side()

    @property
    def num_rows(self) -> int:
        return len(self)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, key: Union[int, slice, str]) -> Any:
        if isinstance(key, str):
            if key not in self.column_names:
                raise KeyError(f"{key}: expected one of {', '.join(self.column_names)}")
            return self._column(key, range(len(self)))
        if isinstance(key, slice):
            rows = range(*key.indices(len(self)))
            records = [self._record(i) for i in rows]
            columns: Dict[str, Any] = {name: [record[name] for record in records] for name in self.column_names[1:]}
            return {"image": self._column("image", rows), **columns}
        index = operator.index(key)
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"item {index} of a data set of {len(self)}")
        return {"image": self._image(row), **self._record(row)}

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def iter(self, batch_size: int) -> Iterator[Dict[str, Any]]:
        """Slices of batch_size items, the last perhaps of fewer."""
        return (self[i : i + batch_size] for i in range(0, len(self), batch_size))

    def __repr__(self) -> str:
        return (
            f"Dataset({os.fspath(self.path)!r}, size={self.size}, split={self.given['split']!r}, num_rows={len(self)})"
        )

    def _column(self, name: str, rows: Sequence[int]) -> Union[List[Any], np.ndarray]:
        if name != "image":
            return [self._record(i)[name] for i in rows]
        images = [self._image(i) for i in rows]
        if self.output_type == "pil":
            return images
        return np.stack(images) if images else np.zeros((0, self.size, self.size, 3), np.uint8)

    def _image(self, row: int) -> Union[Image.Image, np.ndarray]:
        pixels = self._data.image(row)
        return Image.fromarray(pixels) if self.output_type == "pil" else pixels

    def _record(self, row: int) -> Dict[str, Any]:
        record = json.loads(self._data.record(row))
        captions = record.get("captions", [])
        return {
            "name": record["name"],
            "text": captions[0] if captions else None,
            "captions": captions,
            "label": record.get("label"),
            "class": record.get("class"),
            "fields": record.get("fields", {}),
        }


def _opened(path: Any, given: Dict[str, Any], output_type: str) -> Dataset:
    return Dataset(path, output_type=output_type, **given)
