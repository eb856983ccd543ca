"""The Python code of the documentation runs as it stands, in a folder that has what a checkout has and some
pictures."""

import json
import os
import sys

import pytest
from PIL import Image
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "docs"))
from markdown_blocks import read_page  # noqa: E402


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for name in ("models", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "pictures").mkdir()
    for i, name in enumerate(sorted((ROOT / "models/emoji64/examples").glob("*.png"))):
        with Image.open(name) as picture:
            picture.convert("RGB").save(tmp_path / "pictures" / f"{i}.png")
        (tmp_path / "pictures" / f"{i}.txt").write_text(f"picture {i}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESSERA_HOME", str(ROOT))  # "portraits" is found as an installed model is
    return tmp_path


def run(code, name, line, variables):
    exec(compile("\n" * line + code, name, "exec"), variables)


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "python/README.md"])
def test_the_code_of_a_page_runs(page, checkout):
    blocks = [b for b in read_page(ROOT / page, page).blocks if b.language == "python" and b.directive("skip") is None]
    assert blocks
    variables = {}
    for block in blocks:
        run(block.text, str(ROOT / page), block.line, variables)
    if page == "docs/python.md":
        assert (
            variables["out"].tokens.shape == (4, 16, 16) and os.path.exists("mine.png") and os.path.exists("mouths.png")
        )


def test_the_notebook_is_one_and_runs(checkout):
    notebook = json.loads((ROOT / "python" / "tutorial.ipynb").read_text())
    assert notebook["nbformat"] == 4 and all(cell["id"] for cell in notebook["cells"])
    try:
        import nbformat
    except ImportError:
        pass
    else:
        nbformat.validate(notebook)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    variables = {}
    for i, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            run("".join(cell["source"]), f"tutorial.ipynb, cell {i}", 0, variables)
    assert variables["mended"].images[0].size == (128, 128)
