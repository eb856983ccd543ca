"""Training of a bundle's two parts: the codec, then the prior."""

import json
import os
from typing import Any, Callable, Dict, NamedTuple, Optional, Union

from . import _native
from ._options import as_json, device_of, path_bytes, says_stop
from .dataset import Dataset

Path = Union[str, os.PathLike]


class TrainingStep(NamedTuple):
    """How far a training is."""

    step: int  # 1 .. steps
    steps: int
    metrics: Dict[str, float]  # what was measured


def train_codec(
    data: Union[Path, Dataset],
    out: Path,
    *,
    recipe: Optional[Path] = None,
    callback: Optional[Callable[[TrainingStep], Any]] = None,
    device: Any = None,
    **fields: Any,
) -> Optional[TrainingStep]:
    """Trains a codec on images and writes the bundle `out`, which can be used while this runs.

    fields: those of the recipe's table [codec] (image_size, codebook_size, steps, batch_size, learning_rate ...),
    laid over the TOML file `recipe`; also resume, where, split_field, validate_every, save_every. callback(step:
    TrainingStep) is called after each update; where it returns False the state is saved and Stopped is raised.
    Ctrl-C saves it, too; resume=True goes on. Returns the last step.
    """
    return _train("codec", data, out, recipe, callback, device, fields)


def train_prior(
    data: Union[Path, Dataset],
    model: Path,
    *,
    recipe: Optional[Path] = None,
    callback: Optional[Callable[[TrainingStep], Any]] = None,
    device: Any = None,
    **fields: Any,
) -> Optional[TrainingStep]:
    """Trains the prior of the bundle `model`, which has a codec. As train_codec; fields: those of the table
    [prior]."""
    return _train("prior", data, model, recipe, callback, device, fields)


def _train(
    part: str,
    data: Union[Path, Dataset],
    model: Path,
    recipe: Optional[Path],
    callback: Optional[Callable],
    device: Any,
    fields: Dict[str, Any],
) -> Optional[TrainingStep]:
    if isinstance(data, Dataset):
        chosen = {name: data.given.get(name) for name in ("where", "split_field", "caption_field")}
        if part == "codec":
            chosen["image_size"] = data.size
        fields = {**chosen, **fields}
        data = data.path
    options = {**fields, "recipe": recipe, "device": None if device is None else device_of(device)}
    last = None

    def on_step(step: int, steps: int, metrics: str) -> bool:
        nonlocal last
        last = TrainingStep(step, steps, json.loads(metrics))
        return callback is None or not says_stop(callback(last))

    _native.train(part, path_bytes(data), path_bytes(model), as_json(options), on_step)
    return last
