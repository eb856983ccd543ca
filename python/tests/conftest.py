"""Run with the package on the path: PYTHONPATH=build/release/python pytest python/tests"""

from pathlib import Path

import pytest

import tessera

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
FAST = {"sampler": "confidence", "num_inference_steps": 4}


@pytest.fixture(scope="session")
def emoji():
    """64x64 pixels, 16x16 cells of 512 codes, no condition."""
    return tessera.Pipeline.from_pretrained(MODELS / "emoji64")


@pytest.fixture(scope="session")
def text():
    """The same with sentences."""
    return tessera.Pipeline.from_pretrained(MODELS / "emoji64-text")


@pytest.fixture(scope="session")
def made(emoji):
    return emoji(num_images_per_prompt=2, seed=3, **FAST)


@pytest.fixture
def pictures():
    return MODELS / "emoji64" / "examples"
