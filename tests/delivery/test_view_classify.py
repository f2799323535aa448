"""One function shows an image beside its probabilities, whatever holds the image, and whoever has the probabilities."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import firstlight as fl
from firstlight.errors import ImageError, WrongTypeError
from firstlight.inference.predictor import Predictor
from firstlight.models.trust import Trust


@pytest.fixture
def model():
    torch.manual_seed(0)
    return fl.Classifier(architecture={"name": "mlp"}, classes=tuple("0123456789"), input_size=(1, 8, 8))


@pytest.fixture
def file(digit_folder):
    return sorted((digit_folder / "5").iterdir())[0]


FORMS = {
    "path": lambda file: file,
    "text": str,
    "bytes": lambda file: file.read_bytes(),
    "PIL image": Image.open,
    "array": lambda file: np.asarray(Image.open(file)),
    "tensor": lambda file: torch.from_numpy(np.array(Image.open(file)))[None],
    "a stream's bytes": lambda file: io.BytesIO(file.read_bytes()).getbuffer(),
}


@pytest.mark.parametrize("form", FORMS)
def test_any_image_is_shown_beside_the_models_probabilities(form, file, model):
    image, bars = fl.view_classify(FORMS[form](file), model, label="5")
    assert np.array_equal(np.asarray(image.images[0].get_array()).squeeze(), np.asarray(Image.open(file)))
    assert max(bar.get_width() for bar in bars.patches) == pytest.approx(Predictor(model)(file).probability, abs=1e-6)


def test_a_run_is_as_good_as_its_model_and_probabilities_as_good_as_a_model(digit_run, file):
    widths = []
    probabilities = digit_run.model.predict_proba(file)[0]
    for answer in ((digit_run,), (digit_run.folder,), (digit_run.model,), (probabilities, digit_run.model.classes)):
        _, bars = fl.view_classify(file, *answer)
        widths.append([bar.get_width() for bar in bars.patches])
    assert all(one == pytest.approx(widths[0], abs=1e-6) for one in widths)


def test_a_figure_says_why_the_model_is_unsure(model, file):
    def words():
        _, bars = fl.view_classify(file, model)
        return [text.get_text() for text in bars.figure.texts]

    assert not any("unsure" in text for text in words())
    model.trust = Trust(set_quantile=1.0)
    assert "unsure: could be any of 10 classes" in words()


def test_what_cannot_be_shown_is_named(model, file, tmp_path):
    (tmp_path / "empty.png").touch()
    for name in ("empty.png", "gone.png"):
        with pytest.raises(ImageError, match=name):
            fl.view_classify(tmp_path / name, model)
    with pytest.raises(WrongTypeError, match="shows one image"):
        fl.view_classify([file, file], model)
    with pytest.raises(WrongTypeError, match="model is an ndarray"):
        fl.view_classify(file, np.ones(10) / 10)
