"""A picture in memory is predicted by the same path as its file, by every door, or refused in one line."""

import io

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import firstlight as fl

SIDE = 32


def picture(kind: int, number: int) -> np.ndarray:
    rng = np.random.default_rng([kind, number])
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    wave = np.sin((0.5 + 0.6 * kind) * (x * np.cos(kind) + y * np.sin(kind)) + rng.uniform(0, 6.3))
    return np.clip(127 + 70 * wave[..., None] + rng.normal(0, 22, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "photos"
    for kind, name in enumerate(("cat", "dog")):
        for number in range(12):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(kind, number)).save(root / name / f"{number:03d}.png")
    return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return fl.train(photos, model="mlp", hidden=(16,), epochs=2, out=tmp_path_factory.mktemp("runs") / "run")


FORMS = {
    "text": str,
    "bytes": lambda file: file.read_bytes(),
    "PIL image": Image.open,
    "array": lambda file: np.asarray(Image.open(file)),
    "floats": lambda file: np.asarray(Image.open(file)) / 255,
    "tensor": lambda file: torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_door_gives_the_answer_about_the_file(form, photos, run):
    files = [photos / "cat" / "000.png", photos / "dog" / "001.png"]
    wanted = [fl.predict(run, file) for file in files]
    one, several = FORMS[form](files[0]), [FORMS[form](file) for file in files]
    assert fl.predict(run.model, one).top == wanted[0].top
    assert [found.top for found in fl.predict(run, several)] == [found.top for found in wanted]
    assert run.model.predict(several).tolist() == [found.label for found in wanted]
    assert run.model.predict(one).tolist() == [wanted[0].label]
    probabilities = run.model.predict_proba(several)
    assert probabilities.shape == (2, 2) and probabilities.dtype == np.float32
    assert probabilities.max(axis=1).tolist() == pytest.approx([found.probability for found in wanted], abs=1e-6)
    _, bars = fl.view_classify(one, run)
    assert max(bar.get_width() for bar in bars.patches) == pytest.approx(wanted[0].probability, abs=1e-6)


def test_a_tensor_of_another_size_gets_the_answer_of_its_file(run, tmp_path):
    large = np.kron(picture(1, 40), np.ones((3, 2, 1), np.uint8))
    Image.fromarray(large).save(tmp_path / "large.png")
    wanted = fl.predict(run, tmp_path / "large.png")
    tensor = torch.from_numpy(large).permute(2, 0, 1)
    for given in (tensor, tensor[None], [tensor, large]):
        assert set(run.model.predict(given)) == {wanted.label}
        assert run.model.predict_proba(given).max(axis=1) == pytest.approx(wanted.probability, abs=1e-6)


def test_a_loaded_model_and_one_in_training_answer_too(run, photos):
    loaded = fl.load(run.folder)
    assert np.array_equal(loaded.predict_proba(photos), run.model.predict_proba(photos))
    loaded.train()
    assert np.array_equal(loaded.predict_proba(photos), run.model.predict_proba(photos)), "without dropout"
    assert loaded.training
    images = torch.from_numpy(np.stack([picture(0, 1), picture(1, 1)])).permute(0, 3, 1, 2)
    assert torch.equal(run.model(images), fl.load(run)(images)), "it is an ordinary module"


def test_a_new_classifier_answers_as_well():
    model = fl.Classifier(architecture={"name": "mlp"}, classes=("cat", "dog"), input_size=(3, 8, 8))
    assert set(model.predict(np.zeros((5, 20, 30, 3), np.uint8))) <= {"cat", "dog"}
    assert model.predict_proba([]).shape == (0, 2)
    assert model.predict([]).shape == (0,)


def test_an_array_with_transparency_is_no_stack_of_rows(run):
    with pytest.raises(fl.UserError, match=r"shape \(9, 30, 4\) looks like one image with transparency"):
        fl.predict(run, np.zeros((9, 30, 4), np.uint8))
    assert len(fl.predict(run, np.zeros((9, 30, 4, 1), np.uint8))) == 9


def test_columns_and_arrays_of_paths_are_read_as_lists(run, tmp_path):
    Image.fromarray(picture(0, 0)).save(tmp_path / "a.png")
    paths = [str(tmp_path / "a.png")] * 2
    wanted = fl.predict(run, paths)
    for given in (np.array(paths), np.array(paths, object), pandas.Series(paths, index=[7, 9])):
        assert list(fl.predict(run, given)) == list(wanted)
        assert run.model.predict_proba(given).shape == (2, len(run.model.classes))


def test_a_picture_that_cannot_be_used_is_named(run, tmp_path):
    with pytest.raises(fl.UserError, match=r"nowhere.png: cannot be read"):
        run.model.predict([str(tmp_path / "nowhere.png")])
    with pytest.raises(fl.UserError, match="image 1: holds text, not a picture"):
        run.model.predict_proba([picture(0, 0), b"no picture"])


ODD = [
    None, 3, 1.5, object(), {"a": 1}, {"image.png"}, [None], [[1, 2]], io.BytesIO(b""), np.zeros(7),
    torch.zeros(4, 4), torch.zeros(2, 8, 8, 3), np.zeros((8, 8), "datetime64[s]"), lambda: 0, int,
    np.full((8, 8), np.nan), np.zeros((8, 8), complex), np.zeros((0, 8, 3)), [b"", 3], Image, np.zeros((3, 9, 9)),
    np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 2), np.uint8),
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: f"{type(odd).__name__} {getattr(odd, 'shape', '')}")
def test_anything_else_is_one_line(odd, run):
    for ask in (lambda: fl.predict(run, odd), lambda: run.model.predict(odd), lambda: fl.view_classify(odd, run)):
        with pytest.raises(fl.UserError) as told:
            ask()
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 500
