"""One inference path: what it says is what the model says of the packed picture; a bad file costs only itself."""

import subprocess
import sys
from itertools import pairwise
from statistics import median

import numpy as np
import pytest
import torch
from PIL import Image

import firstlight as fl
from firstlight.delivery import predict as predict_module
from firstlight.delivery.predict import find_files, predict, predict_files
from firstlight.errors import ImageError, RecipeError


@pytest.fixture
def model(digit_run):
    return fl.load(digit_run.folder / "model.safetensors")


def test_a_file_gets_the_probabilities_of_its_packed_image(digit_run, digit_folder, model):
    names = digit_run.data.samples.names
    predictions = list(predict_files(model, [str(digit_folder / name) for name in names], top=10))
    images = torch.from_numpy(np.array(digit_run.data.store.pixels)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = model.predict_proba(images)
    for row, prediction in enumerate(predictions):
        assert prediction.label == model.classes[expected[row].argmax()]
        given = {guess.label: guess.probability for guess in prediction.top}
        assert [given[name] for name in model.classes] == pytest.approx(expected[row].tolist(), abs=1e-6)


def test_a_bad_file_gets_a_row_with_its_reason_and_the_rest_goes_on(digit_folder, model, tmp_path):
    good = sorted((digit_folder / "5").iterdir())[0]
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.jpg").write_text("no picture")
    files = [str(good), str(tmp_path / "empty.png"), str(tmp_path / "words.jpg"), str(tmp_path / "gone.png"), str(good)]
    rows = list(predict_files(model, files))
    assert [row.image for row in rows] == files
    assert [row.error is None for row in rows] == [True, False, False, False, True]
    assert rows[0].label == rows[4].label
    assert rows[1].to_json() == {"image": files[1], "error": rows[1].error}
    assert set(rows[0].to_json()) == {"image", "label", "probability", "top"}


def test_the_answer_does_not_depend_on_company_or_workers(digit_folder, model, monkeypatch):
    files = [str(path) for path in sorted(digit_folder.rglob("*.png"))]
    together = list(predict_files(model, files, workers=3))
    monkeypatch.setattr(predict_module, "BATCH", 1)
    alone = list(predict_files(model, files, workers=1))
    assert [row.label for row in together] == [row.label for row in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_a_folder_gives_its_images_in_order_and_nothing_hidden(tmp_path):
    for name in ("b/2.png", "b/1.JPG", "a.webp", ".hidden.png", "notes.txt", "b/.git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [name[len(str(tmp_path)) + 1 :] for name in find_files([str(tmp_path)])]
    assert found == ["a.webp", "b/1.JPG", "b/2.png"]


def test_a_path_that_does_not_exist_gets_a_row_and_the_rest_goes_on(digit_folder, model):
    good = str(sorted((digit_folder / "5").iterdir())[0])
    rows = list(predict_files(model, find_files(["nowhere", good])))
    assert rows[0].to_json() == {"image": "nowhere", "error": "cannot be read: No such file or directory"}
    assert rows[1].error is None


def test_a_link_in_a_folder_is_not_followed(digit_folder, tmp_path):
    (tmp_path / "linked.png").symlink_to(sorted((digit_folder / "5").iterdir())[0])
    assert list(find_files([str(tmp_path)])) == []


@pytest.mark.parametrize("choice", [{"top": 0}, {"workers": -1}])
def test_a_number_below_one_is_refused(model, choice):
    with pytest.raises(RecipeError, match="from 1"):
        list(predict_files(model, [], **choice))


def test_in_python_one_file_gives_one_prediction_and_several_a_list(digit_folder, model):
    files = sorted((digit_folder / "5").iterdir())
    one = predict(model, files[0])
    assert one.image == str(files[0])
    assert [row.image for row in predict(model, files[:3])] == [str(path) for path in files[:3]]
    assert len(predict(model, digit_folder)) == 120


MEASURE = """
import gc, sys, tracemalloc
import firstlight as fl
from firstlight.delivery.predict import predict_files

model, file = fl.load(sys.argv[1]), sys.argv[2]
tracemalloc.start()
for number, _ in enumerate(predict_files(model, (file for _ in range(6001)), workers=2)):
    if number % 1000 == 0:
        gc.collect()
        print(tracemalloc.get_traced_memory()[0])
"""


def test_memory_does_not_grow_with_the_number_of_files(digit_run, digit_folder):
    file = sorted((digit_folder / "5").iterdir())[0]
    # a process of its own, since what other tests left behind would be counted too; after collecting garbage, which
    # comes and goes by the megabyte; and the median step, since a library may fill a cache of its own once
    words = [sys.executable, "-c", MEASURE, str(digit_run.folder / "model.safetensors"), str(file)]
    sizes = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert median(after - before for before, after in pairwise(sizes)) < 1000 * 20, "20 bytes a file are too many"


def test_view_classify_shows_the_file_beside_the_models_probabilities(digit_folder, model):
    file = sorted((digit_folder / "5").iterdir())[0]
    image, bars = fl.view_classify(file, model, label="5")
    assert np.array_equal(np.asarray(image.images[0].get_array()).squeeze(), np.asarray(Image.open(file)))
    assert max(bar.get_width() for bar in bars.patches) == pytest.approx(predict(model, file).probability, abs=1e-6)


def test_view_classify_names_a_file_it_cannot_use(model, tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="empty.png"):
        fl.view_classify(tmp_path / "empty.png", model)
