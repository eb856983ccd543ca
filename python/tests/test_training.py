import pytest

import tessera

CODEC = {
    "image_size": 32,
    "base_channels": 32,
    "codebook_size": 16,
    "embedding_width": 8,
    "adversarial": False,
    "perceptual": "none",
    "batch_size": 2,
    "validation_fraction": 0.2,
    "attention_resolutions": [],
}
PRIOR = {
    "layers": 1,
    "heads": 2,
    "width": 16,
    "batch_size": 2,
    "validation_grids": 1,
    "validation_terms": 1,
    "validation_fraction": 0.2,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from conftest import MODELS

    bundle = tmp_path_factory.mktemp("runs") / "mine"
    data = MODELS / "emoji64" / "examples"
    seen = []
    codec = tessera.train_codec(data, bundle, steps=3, callback=seen.append, **CODEC)
    prior = tessera.train_prior(data, bundle, steps=2, **PRIOR)
    return bundle, data, seen, codec, prior


def test_a_bundle_is_trained_and_used(trained):
    bundle, _, seen, codec, prior = trained
    assert (
        [(step.step, step.steps) for step in seen] == [(1, 3), (2, 3), (3, 3)] and codec == seen[-1] and prior.step == 2
    )
    assert all(isinstance(value, (int, float)) for step in seen for value in step.metrics.values()) and seen[0].metrics
    pipe = tessera.Pipeline(bundle)
    assert pipe(seed=1, steps=2).images[0].size == (32, 32)


def test_false_stops_and_resume_goes_on(trained, tmp_path):
    data = trained[1]
    with pytest.raises(tessera.Stopped):
        tessera.train_codec(data, tmp_path / "mine", steps=4, callback=lambda step: step.step < 2, **CODEC)
    steps = []
    tessera.train_codec(
        data, tmp_path / "mine", steps=4, callback=lambda step: steps.append(step.step), resume=True, **CODEC
    )
    assert steps == [3, 4]


def test_an_exception_comes_out_and_the_state_is_kept(trained, tmp_path):
    data = trained[1]

    def callback(step):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tessera.train_codec(data, tmp_path / "mine", steps=4, callback=callback, **CODEC)
    assert tessera.train_codec(data, tmp_path / "mine", steps=4, resume=True, **CODEC).step == 4


def test_a_data_set_and_a_recipe_are_taken(trained, tmp_path):
    data = tessera.Dataset(trained[1], size=32, split="all")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "[codec]\nsteps = 1\ncodebook_size = 16\nembedding_width = 8\n"
        'adversarial = false\nperceptual = "none"\nattention_resolutions = []\nvalidation_fraction = 0.2\n'
    )
    assert tessera.train_codec(data, tmp_path / "mine", recipe=recipe, batch_size=2).steps == 1
    assert tessera.Pipeline(tmp_path / "mine").config["image_size"] == 32


@pytest.mark.parametrize(
    "fields, error",
    [
        ({"widht": 3}, tessera.UsageError),
        ({"steps": "many"}, tessera.UsageError),
        ({"recipe": "nowhere.toml"}, tessera.Error),
        ({"steps": object()}, TypeError),
    ],
)
def test_wrong_fields_are_named(trained, tmp_path, fields, error):
    with pytest.raises(error, match="|".join(fields) + "|nowhere"):
        tessera.train_codec(trained[1], tmp_path / "mine", **{**CODEC, **fields})


def test_a_model_of_classes_is_asked_for_its_names_or_numbers(trained, tmp_path):
    data = tmp_path / "classes"
    for i, name in enumerate(sorted(trained[1].glob("*.png"))):
        folder = data / ("cat" if i % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name.name).write_bytes(name.read_bytes())
    bundle = tmp_path / "mine"
    tessera.train_codec(data, bundle, steps=1, **CODEC)
    tessera.train_prior(data, bundle, steps=1, condition="class", **PRIOR)
    pipe = tessera.Pipeline(bundle)
    assert pipe.config["condition"] == "class" and pipe.config["classes"] == 2
    both = pipe(class_labels=[0, 1], guidance_scale=2, steps=2, seed=1)
    assert len(both.images) == 2 and both.record["condition"]["class"] == [0, 1]
    assert (pipe(label=1, guidance_scale=2, steps=2, seed=1, first_image=1).tokens == both.tokens[1]).all()
    assert pipe.score(both.tokens[0], label=0, spacing=4).shape == both.tokens[0].shape
    with pytest.raises(tessera.Error, match="class 2: expected 0 to 1"):
        pipe(class_labels=2, steps=2)
    assert pipe.config["class_names"] == ["cat", "dog"] and pipe.labels == {"cat": 0, "dog": 1}
    assert pipe.get_label_ids(["dog", "cat"]) == [1, 0] and pipe.get_label_ids("dog") == [1]
    named = pipe(class_labels=["cat", "dog"], guidance_scale=2, steps=2, seed=1)
    assert (named.tokens == both.tokens).all() and named.record["condition"]["class_name"] == ["cat", "dog"]
    with pytest.raises(tessera.UsageError, match="class is 'dgo', expected one of cat, dog, or a number from 0 to 1"):
        pipe(class_labels="dgo", steps=2)
    with pytest.raises(tessera.UsageError, match="class is 'dgo', expected one of cat, dog"):
        pipe.get_label_ids("dgo")
