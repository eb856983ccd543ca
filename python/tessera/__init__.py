"""Tessera: discrete diffusion image models. Loaded, sampled, edited, scored and trained, by libtessera.

    from tessera import Pipeline

    pipe = Pipeline.from_pretrained("models/portraits")
    pipe(num_images_per_prompt=4, seed=3).images[0].save("face.png")
"""

import atexit
import json
import logging
import sys

from . import _native
from ._native import Error, OutOfMemory, Stopped, UsageError, set_threads
from .dataset import Dataset
from .pipeline import MASK, Piece, Pipeline, PipelineOutput, Step, make_image_grid
from .training import TrainingStep, train_codec, train_prior

__version__ = _native.version()
__all__ = [
    "MASK",
    "Dataset",
    "Error",
    "OutOfMemory",
    "Piece",
    "Pipeline",
    "PipelineOutput",
    "Step",
    "Stopped",
    "TrainingStep",
    "UsageError",
    "make_image_grid",
    "options_schema",
    "set_threads",
    "train_codec",
    "train_prior",
]


def options_schema() -> dict:
    """All sampling options there are, by name: type, range, default, choices and what they mean."""
    return {option["name"]: option for option in json.loads(_native.options_schema())}


# The library's log is the logger "tessera": warnings are shown unless a program says otherwise.
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
_logger = logging.getLogger(__name__)


def _log(level: int, line: str) -> None:
    if not sys.is_finalizing():
        _logger.log(_LEVELS[level], "%s", line)


_native.set_log(_log)
atexit.register(_native.set_log, None)
