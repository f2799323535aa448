"""Pictures of 9 to 16 bits that are dark keep their gray levels, in training as in use."""

import numpy as np
import pytest
from PIL import Image

import firstlight as fl
from firstlight.data import packing
from firstlight.data.sources import load_data
from firstlight.data.store import pack
from firstlight.delivery.check import check
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model, read_model_card, save_model
from firstlight.white import White


@pytest.fixture
def thermal(tmp_path, some_digits):
    """120 pictures of 10 bits in 16, with values of 400..650, in ten classes."""
    for number, (pixels, label) in enumerate(zip(*some_digits, strict=True)):
        if number < 120:
            folder = tmp_path / "thermal" / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((400 + pixels * (250 / 255)).astype(np.uint16)).save(folder / f"{number}.png")
    return tmp_path / "thermal"


def test_dark_pictures_are_spread_and_a_note_says_so(thermal):
    found = check(load_data(thermal)).to_json()
    assert found["duplicates"] == [] and list(found["notes"]) == [
        "integers taken as 0..1023, by the brightest of the set"
    ]
    store = pack(load_data(thermal))
    assert store.white == White(1023, None) and len(np.unique(store.pixels)) > 10


def test_a_model_keeps_white_and_uses_it(thermal, tmp_path):
    run = fl.train(thermal, model="mlp", hidden=(64,), epochs=30, batch_size=16, out=tmp_path / "run")
    file = run.folder / "model.safetensors"
    assert read_model_card(file).white == load_model(file).white == White(1023, None)
    rows = run.data.split.train[:5]
    paths = [str(thermal / run.data.samples.names[row]) for row in rows]
    probabilities = fl.Predictor(load_model(file)).probabilities
    by_file = probabilities(paths)
    arrays = np.stack([np.asarray(Image.open(path)) for path in paths])[..., None]
    np.testing.assert_allclose(by_file, probabilities(arrays), atol=1e-6)
    assert by_file.argmax(1).tolist() == run.data.samples.labels[rows].tolist()
    scored = fl.evaluate(file, thermal, split="train").evaluation
    assert scored.accuracy.value > 0.9


def test_pictures_that_differ_in_their_own_values_are_no_exact_copies(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
    pixels = np.tile(np.arange(64, dtype=np.uint16) * 1000, (64, 1))
    Image.fromarray(pixels).save(tmp_path / "a" / "1.png")
    Image.fromarray(pixels + np.uint16(1)).save(tmp_path / "a" / "2.png")
    Image.fromarray(pixels).save(tmp_path / "b" / "3.png", compress_level=1)
    found = check(load_data(tmp_path)).to_json()
    assert found["duplicates"] == [["a/1.png", "b/3.png"]]


def test_a_bright_picture_that_was_not_among_the_sample_changes_white(thermal, monkeypatch):
    monkeypatch.setattr(packing, "SIZE_SAMPLE_IMAGES", 2)
    Image.fromarray(np.full((8, 8), 5000, np.uint16)).save(thermal / "5" / "bright.png")
    assert pack(load_data(thermal)).white == White(8191, None)


def test_what_is_brighter_than_the_model_knows_is_clipped(thermal, tmp_path):
    model = Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 8, 8), white=White(1023, None))
    Image.fromarray(np.full((8, 8), 5000, np.uint16)).save(tmp_path / "bright.png")
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "white.png")
    first, second = fl.Predictor(model).probabilities([str(tmp_path / "bright.png"), str(tmp_path / "white.png")])
    np.testing.assert_array_equal(first, second)


def test_uint16_arrays_keep_their_levels(tmp_path):
    arrays = np.random.default_rng(0).integers(0, 120, (30, 8, 8)).astype(np.uint16)
    samples = load_data((arrays, np.arange(30) % 3))
    np.testing.assert_array_equal(samples.images.images[..., 0], arrays)
    assert samples.notes[0] == "uint16 was taken as 0..255, by the brightest value, 119"
    assert samples.images.with_white(White(65535, None)).images.max() == 0
    assert pack(samples).white == White(255, None)


def test_the_limit_of_pixels_and_white_are_in_the_header(tmp_path):
    model = Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 8, 8), max_pixels=7)
    save_model(tmp_path / "model.safetensors", model)
    card = read_model_card(tmp_path / "model.safetensors")
    assert (card.max_pixels, card.white) == (7, White())
