import json
import pickle

import numpy as np
import pytest
from PIL import Image

import tessera


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """12 pictures of one colour each with a caption, a style and a split."""
    path = tmp_path_factory.mktemp("pictures")
    lines = []
    for i in range(12):
        Image.new("RGB", (40, 40), (20 * i, 0, 0)).save(path / f"{i:02}.png")
        lines.append(
            {
                "file_name": f"{i:02}.png",
                "text": f"picture {i}",
                "style": "flat" if i % 2 else "round",
                "split": "test" if i >= 10 else "train",
            }
        )
    (path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def data(folder):
    return tessera.Dataset(folder, size=32, split="all")


def test_it_counts_and_sizes(data):
    assert len(data) == data.num_rows == 12 and data.size == 32
    assert repr(data).startswith("Dataset(") and "num_rows=12" in repr(data)


def test_an_item_is_a_dict(data):
    item = data[3]
    assert item["name"] == "03.png" and item["text"] == "picture 3" and item["captions"] == ["picture 3"]
    assert item["label"] is None and item["class"] is None
    assert item["image"].size == (32, 32) and item["image"].getpixel((5, 5)) == (60, 0, 0)
    assert list(item) == data.column_names


def test_it_is_indexed_like_a_list(data):
    assert data[-1]["name"] == "11.png" and data[np.int64(2)]["name"] == "02.png"
    for index in (12, -13):
        with pytest.raises(IndexError):
            data[index]
    with pytest.raises(TypeError):
        data[1.5]


def test_a_slice_is_a_dict_of_lists(data):
    part = data[2:8:2]
    assert part["name"] == ["02.png", "04.png", "06.png"] and len(part["image"]) == 3
    assert data[::-1]["name"][0] == "11.png" and data[20:]["image"] == []
    assert data["text"][1] == "picture 1"
    with pytest.raises(KeyError):
        data["style"]


def test_it_is_iterated(data):
    assert [item["name"] for item in data] == data["name"]
    assert [len(batch["name"]) for batch in data.iter(batch_size=5)] == [5, 5, 2]


def test_arrays_in_place_of_pil(folder):
    data = tessera.Dataset(folder, 32, split="all", output_type="np")
    assert (
        data[4]["image"].shape == (32, 32, 3) and data[4]["image"].dtype == np.uint8 and data[4]["image"][0, 0, 0] == 80
    )
    assert data[:3]["image"].shape == (3, 32, 32, 3) and data[12:]["image"].shape == (0, 32, 32, 3)


def test_parts_are_chosen(folder):
    assert len(tessera.Dataset(folder, 32, split="all", where=["style=flat"])) == 6
    assert len(tessera.Dataset(folder, 32, split="test")) == 2
    train = tessera.Dataset(folder, 32, validation_fraction=0.2)
    held = tessera.Dataset(folder, 32, split="validation", validation_fraction=0.2)
    assert len(train) + len(held) == 10 and not set(train["name"]) & set(held["name"])


def test_folders_are_classes(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (40, 40), (0, i, 0)).save(tmp_path / name / f"{i}.png")
    items = list(tessera.Dataset(tmp_path, 32, split="all"))
    assert {(item["class"], item["label"]) for item in items} == {("cat", 0), ("dog", 1)}


def test_it_travels_to_other_processes(folder):
    data = tessera.Dataset(folder, 32, split="all", where="style=flat")
    copy = pickle.loads(pickle.dumps(data))
    assert copy["name"] == data["name"] and copy.size == 32


@pytest.mark.parametrize("options", [{"splt": "train"}, {"split": "tst"}, {"size": "big"}, {"output_type": "torch"}])
def test_wrong_options_are_named(folder, options):
    with pytest.raises(tessera.Error):
        tessera.Dataset(folder, **{"size": 32, **options})


def test_what_is_not_there_is_an_error():
    with pytest.raises(tessera.Error, match="nowhere"):
        tessera.Dataset("nowhere", 32)
