"""Options on their way to the library: other names for them, values as JSON."""

import json
import os
from typing import Any, Dict, Optional

import numpy as np

from . import _native

# Names that users of other programs know, and ours.
NAMES = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "num_images_per_prompt": "count",
    "class_labels": "class",
    "label": "class",
    "generator": "seed",
}


def native_names(given: Dict[str, Any]) -> Dict[str, Any]:
    """Options under the library's names, without those that are None. Two names of one option are a TypeError."""
    result: Dict[str, Any] = {}
    origin: Dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        native = NAMES.get(name, name)
        if native in result:
            raise TypeError(f"{origin[native]} and {name} are both given, but they are one option")
        result[native] = seed_of(value) if native == "seed" else value
        origin[native] = name
    return result


def seed_of(generator: Any) -> int:
    """A number, or what a torch.Generator was seeded with."""
    if hasattr(generator, "initial_seed"):
        return int(generator.initial_seed())
    return generator


def device_of(device: Any) -> str:
    """ "cuda:0", also of a torch.device."""
    return str(device)


def dtype_of(dtype: Any) -> str:
    """ "float16", also of a torch.dtype."""
    return str(dtype).replace("torch.", "", 1)


def as_json(options: Dict[str, Any]) -> Dict[str, str]:
    """Each value as JSON. A value that is none is a TypeError or UsageError that names the option."""
    return {name: _value(name, value) for name, value in options.items() if value is not None}


def _value(name: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    except ValueError as error:
        raise _native.UsageError(f"{name}: {error}") from None


def _plain(value: Any) -> Any:
    """What json does not know: NumPy's numbers and arrays, paths, sets and other collections."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a {type(value).__name__}, expected a number, a bool, text or a list")


def path_bytes(path: Any) -> bytes:
    """A path as the system has it, also where it is not UTF-8."""
    return os.fsencode(path)


def says_stop(result: Optional[Any]) -> bool:
    """Whether a callback's result ends the work: False does, None and everything else does not."""
    return isinstance(result, (bool, np.bool_)) and not result
