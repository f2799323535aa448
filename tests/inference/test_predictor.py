"""One way to predict: whatever holds an image gets the model's answer about it, and a bad one costs only itself."""

import gc
import io
import os
import pickle
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.data.loader import Batch
from firstlight.errors import DataError, RecipeError
from firstlight.inference import predictor as module
from firstlight.inference.predictor import Guess, Prediction, Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import save_model


@pytest.fixture
def predictor(model):
    return Predictor(model, top=10)


@pytest.fixture
def expected(model, digit_pixels):
    """The model's own probabilities, float32 [N, 10]."""
    with torch.inference_mode():
        return model.probabilities(torch.from_numpy(digit_pixels)[:, None])


def agrees(prediction: Prediction, probabilities: torch.Tensor) -> bool:
    given = {guess.label: guess.probability for guess in prediction.top}
    return (
        prediction.error is None
        and prediction.label == str(int(probabilities.argmax()))
        and prediction.top[0] == Guess(prediction.label, prediction.probability)
        and [given[str(number)] for number in range(10)] == pytest.approx(probabilities.tolist(), abs=1e-6)
    )


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return file.getvalue()


# What one gray image [H, W] can come as.
ONE = {
    "bytes": png,
    "bytearray": lambda pixels: bytearray(png(pixels)),
    "memoryview": lambda pixels: memoryview(png(pixels)),
    "PIL image": Image.fromarray,
    "PIL image, not yet read": lambda pixels: Image.open(io.BytesIO(png(pixels))),
    "PIL image in color": lambda pixels: Image.fromarray(pixels).convert("RGB"),
    "PIL image, transparent": lambda pixels: Image.fromarray(pixels).convert("LA"),
    "array [H, W]": lambda pixels: pixels,
    "array [H, W, 1]": lambda pixels: pixels[..., None],
    "array [H, W, 3]": lambda pixels: np.repeat(pixels[..., None], 3, axis=2),
    "floats": lambda pixels: pixels / 255,
    "floats of 32 bits": lambda pixels: (pixels / 255).astype(np.float32),
    "uint16": lambda pixels: pixels.astype(np.uint16) * 257,
    "read-only array": lambda pixels: np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape),
    "tensor [1, H, W]": lambda pixels: torch.from_numpy(pixels.copy())[None],
    "tensor [3, H, W]": lambda pixels: torch.from_numpy(pixels.copy())[None].expand(3, -1, -1),
    "tensor of floats": lambda pixels: torch.from_numpy(pixels / 255).float()[None],
    "tensor with a gradient": lambda pixels: torch.from_numpy(pixels / 255).float()[None].requires_grad_(),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_image_gives_one_prediction_however_it_comes(kind, predictor, digit_pixels, expected):
    for row in (0, 57, 119):
        prediction = predictor(ONE[kind](digit_pixels[row]))
        assert isinstance(prediction, Prediction)
        assert prediction.image is None
        assert agrees(prediction, expected[row])


def test_a_path_gives_one_prediction_with_its_name(predictor, digit_files, expected):
    for path in (digit_files[3], Path(digit_files[3])):
        assert predictor(path).image == digit_files[3]
        assert agrees(predictor.predict(path), expected[3])


# What several images [N, H, W] can come as.
SEVERAL = {
    "array [N, H, W]": lambda pixels: pixels,
    "array [N, H, W, 1]": lambda pixels: pixels[..., None],
    "array [N, H, W, 3]": lambda pixels: np.repeat(pixels[..., None], 3, axis=3),
    "floats": lambda pixels: pixels[..., None] / 255,
    "tensor [N, 1, H, W]": lambda pixels: torch.from_numpy(pixels)[:, None],
    "tensor [N, 3, H, W]": lambda pixels: torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1),
    "list of arrays": list,
    "tuple of arrays": tuple,
    "list of bytes": lambda pixels: [png(image) for image in pixels],
    "list of PIL images": lambda pixels: [Image.fromarray(image) for image in pixels],
    "list of stacks": lambda pixels: [pixels[:7, ..., None], pixels[7], pixels[8:, ..., None]],
    "generator": lambda pixels: (image for image in pixels),
    "one of each": lambda pixels: [list(ONE.values())[row % len(ONE)](image) for row, image in enumerate(pixels)],
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_images_give_a_list_in_their_order(kind, predictor, digit_pixels, expected):
    predictions = predictor(SEVERAL[kind](digit_pixels))
    assert isinstance(predictions, list)
    assert len(predictions) == 120
    assert all(agrees(*pair) for pair in zip(predictions, expected, strict=True))


def test_a_folder_and_lists_of_paths_give_a_list_in_their_order(predictor, digit_folder, digit_files, expected):
    for given in (digit_folder, str(digit_folder), digit_files, map(Path, digit_files), [digit_folder]):
        predictions = predictor(given)
        assert [prediction.image for prediction in predictions] == digit_files
        assert all(agrees(*pair) for pair in zip(predictions, expected, strict=True))


@pytest.mark.parametrize("nothing", [[], (), np.empty((0, 8, 8, 1), np.uint8), torch.empty(0, 1, 8, 8)])
def test_nothing_gives_an_empty_list(nothing, predictor):
    assert predictor(nothing) == []


@pytest.mark.parametrize(
    "wrong",
    [
        None, 3, 0.5, {"a": 1}, {"a.png"}, object(), [None], [[1, 2]], [["a.png"]],
        np.zeros(8), np.zeros((8, 8, 2, 1, 1)), np.zeros((2, 8, 8, 4)), np.zeros((1, 1, 8, 8, 1)),
        np.zeros((0, 8)), torch.zeros(8, 8), torch.zeros(8, 8, 3), torch.zeros(2, 8, 8, 3), torch.zeros(1, 1, 1, 8, 8),
    ],
    ids=lambda wrong: f"{type(wrong).__name__} {getattr(wrong, 'shape', '')}",
)  # fmt: skip
def test_anything_else_is_a_type_error_that_says_what_is_accepted(wrong, predictor):
    with pytest.raises(TypeError, match=r"give the path of a file or a folder, .*tensor \[C, H, W\]") as raised:
        predictor(wrong)
    assert "\n" not in str(raised.value)


def test_three_layers_of_an_array_are_not_taken_for_three_images(predictor):
    with pytest.raises(TypeError, match="could be three gray images or one in color"):
        predictor(np.zeros((3, 8, 8), np.uint8))


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((8, 8), 2.0), np.full((8, 8), -0.1), np.full((8, 8), np.nan), np.zeros((8, 8), np.int64),
        torch.zeros(1, 8, 8, dtype=torch.bfloat16), torch.full((1, 8, 8), 255.0),
    ],
)  # fmt: skip
def test_values_whose_white_is_unknown_are_refused(wrong, predictor):
    with pytest.raises(DataError, match="give uint8 in 0..255, or floats in 0..1"):
        predictor(wrong)


def test_arrays_are_resized_like_files(model, tmp_path):
    photograph = np.random.default_rng(0).integers(0, 256, (37, 90, 3), dtype=np.uint8)
    Image.fromarray(photograph).save(tmp_path / "a.png")
    for resize in ("crop", "crop:0.5", "pad", "squash"):
        made = Classifier(
            architecture={"name": "mlp", "hidden": [4]}, classes=("a", "b"), input_size=(3, 16, 16), resize=resize
        )
        predictor = Predictor(made)
        tensor = torch.from_numpy(photograph).permute(2, 0, 1)
        probabilities = {
            predictor(given).top for given in (tmp_path / "a.png", photograph, tensor, Image.fromarray(photograph))
        }
        assert len(probabilities) == 1, resize


def test_a_pil_image_is_turned_upright_as_its_file_is(predictor, digit_pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("turned.png", "turned.tif"):
        Image.fromarray(digit_pixels[20]).save(tmp_path / name, exif=exif)
        with Image.open(tmp_path / name) as image:
            assert predictor(image).top == predictor(tmp_path / name).top
        assert predictor(tmp_path / name).top == predictor(np.rot90(digit_pixels[20], -1)).top


def test_a_bad_image_gets_an_error_and_the_rest_goes_on(predictor, digit_files, digit_pixels, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.jpg").write_text("no picture")
    cut = Image.open(io.BytesIO(png(digit_pixels[0])[:60]))
    files = [digit_files[5], tmp_path / "empty.png", tmp_path / "words.jpg", tmp_path / "gone.png", b"no picture", cut]
    rows = predictor([*files, digit_files[5]])
    assert [row.image for row in rows] == [*(str(file) for file in files[:4]), None, None, digit_files[5]]
    assert [row.error is None for row in rows] == [True, False, False, False, False, False, True]
    assert rows[0] == rows[6]
    assert rows[1].to_json() == {"image": str(files[1]), "error": rows[1].error}
    assert rows[3].error == "cannot be read: No such file or directory"
    doubt = {"unsure", "reason", "set", "strangeness"}
    assert set(rows[0].to_json()) == {"image", "label", "probability", "top", *doubt}
    assert predictor(tmp_path / "gone.png") == rows[3], "alone it is no exception either"


def test_images_of_too_many_pixels_are_not_decoded_however_they_come(model, digit_files, digit_pixels):
    predictor = Predictor(model, max_pixels=63)
    kinds = [digit_files[0], png(digit_pixels[0]), Image.fromarray(digit_pixels[0]), digit_pixels[0]]
    for prediction in predictor(kinds):
        assert "more than the limit of 63; make it smaller" in prediction.error
    assert Predictor(model, max_pixels=64)(digit_files[0]).error is None


def test_the_answer_does_not_depend_on_company_or_workers(model, predictor, digit_files, monkeypatch):
    together = list(predictor.predict_files(digit_files, workers=3))
    assert together == predictor(digit_files)
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 1)
    alone = list(Predictor(model, workers=1).predict_files(digit_files))
    assert [row.label for row in together] == [row.label for row in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_a_pipe_is_not_waited_for(predictor, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert predictor(tmp_path / "pipe.png").error == "is not a regular file"


@pytest.mark.parametrize("choice", [{"top": 0}, {"workers": -1}, {"max_pixels": 0}])
def test_a_number_below_one_is_refused(model, choice):
    with pytest.raises(RecipeError, match="give a whole number from 1") as raised:
        Predictor(model, **choice)
    assert {raised.value.field: raised.value.value} == choice


def test_workers_below_one_are_refused_before_the_first_file(predictor):
    with pytest.raises(RecipeError, match="workers = 0: give a whole number from 1"):
        predictor.predict_files([], workers=0)


def test_only_so_many_classes_are_listed(model, digit_files):
    assert len(Predictor(model)(digit_files[0]).top) == 5
    assert len(Predictor(model, top=1)(digit_files[0]).top) == 1
    assert len(Predictor(model, top=99)(digit_files[0]).top) == 10


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "cnn", "width": 4, "tta": "mirror"},
        {"name": "timm:test_resnet", "head": "linear", "side": 32},
        {"name": "torchvision:mobilenet_v3_small", "head": "linear", "side": 32},
        {"name": "timm:test_vit", "head": "linear", "side": 32},
        {"name": "timm:test_convnext", "head": "linear", "side": 32},
        pytest.param({"name": "timm:mobilenetv3_small_100", "head": "linear", "side": 32}, marks=pytest.mark.slow),
        pytest.param({"name": "timm:convnext_atto", "head": "linear", "side": 32}, marks=pytest.mark.slow),
    ],
    ids=lambda architecture: architecture["name"],
)
def test_a_pickled_predictor_answers_the_same(architecture, digit_files):
    torch.manual_seed(0)
    made = Classifier(architecture=architecture, classes=("a", "b"), input_size=(1, 8, 8))
    predictor = Predictor(made, top=1, workers=2)
    again = pickle.loads(pickle.dumps(predictor))
    assert again(digit_files) == predictor(digit_files)


def test_threads_may_share_one_predictor(predictor, digit_files, digit_pixels):
    expected, alone = predictor(digit_files), predictor(digit_files[7])
    batch = Batch(torch.from_numpy(digit_pixels)[:, None], torch.zeros(120).long(), torch.arange(120))
    collected = predictor.collect([batch], features=True)

    def use(number: int) -> bool:
        if number % 3 == 0:
            found = predictor.collect([batch], features=True)
            return torch.equal(found.logits, collected.logits) and torch.equal(found.features, collected.features)
        if number % 3 == 1:
            return predictor(digit_files) == expected
        return predictor(digit_files[7]) == alone

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(use, range(60)))


def test_it_is_quiet_and_leaves_the_model_alone(digit_files, capfd, recwarn):
    made = Classifier(architecture={"name": "cnn"}, classes=("a", "b"), input_size=(1, 8, 8)).train()
    state = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    Predictor(made)(digit_files)
    assert made.training
    torch.testing.assert_close(made.state_dict(), state, rtol=0, atol=0)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_files_are_read_only_a_little_ahead_and_nothing_of_them_is_kept(predictor, digit_files, monkeypatch):
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 4)
    given, pixels = [], []
    guess = predictor.answers

    def watched(images):
        pixels.extend(weakref.ref(image) for image in images)
        return guess(images)

    monkeypatch.setattr(predictor, "answers", watched)

    def endless():
        while True:
            given.append(None)
            yield digit_files[len(given) % len(digit_files)]

    def alive():
        gc.collect()
        return sum(type(thing) is Prediction for thing in gc.get_objects())

    before = alive()
    predictions = predictor.predict_files(endless(), workers=2)
    for taken in range(1, 201):
        assert next(predictions).error is None
        assert len(given) - taken <= 4 * (2 * 2 + 1), "two chunks for each worker wait, and one is answered"
    assert alive() - before <= 4, "a chunk"
    assert len(pixels) == 200
    assert sum(image() is not None for image in pixels) <= 4
    predictions.close()


MEASURE = """
import gc, sys, tracemalloc
from firstlight.inference.predictor import Predictor
from firstlight.models.model_file import load_model

predictor, file = Predictor(load_model(sys.argv[1])), sys.argv[2]
tracemalloc.start()
for number, _ in enumerate(predictor.predict_files((file for _ in range(6001)), workers=2)):
    if number % 1000 == 0:
        gc.collect()
        print(tracemalloc.get_traced_memory()[0])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_files(model, digit_files, tmp_path):
    save_model(tmp_path / "model.safetensors", model)
    # a process of its own, since what other tests left behind would be counted too; after collecting garbage, which
    # comes and goes by the megabyte; and the median step, since a library may fill a cache of its own once
    words = [sys.executable, "-c", MEASURE, str(tmp_path / "model.safetensors"), digit_files[0]]
    sizes = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert median(after - before for before, after in pairwise(sizes)) < 1000 * 20, "20 bytes a file are too many"


@pytest.mark.parametrize("top", ["3", 2.5, 0, True])
def test_a_number_of_classes_that_is_none_is_refused(top, model):
    with pytest.raises(RecipeError, match="top = .*: give a whole number from 1"):
        Predictor(model, top=top)


def test_paths_that_cannot_be_looked_at_cost_only_themselves(predictor, digit_files):
    zero, long, good = predictor(["a\0b", "x" * 5000, digit_files[0]])
    assert zero.error == "is not a path: it holds a zero byte; write one path per line"
    assert long.error.startswith("cannot be read: ")
    assert good.error is None


def test_an_open_file_is_refused_since_it_would_be_read_line_by_line(predictor, digit_files):
    with (
        Path(digit_files[0]).open("rb") as file,
        pytest.raises(TypeError, match="BufferedReader cannot be classified; give"),
    ):
        predictor(file)
