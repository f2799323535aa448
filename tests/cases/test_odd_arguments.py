"""A wrong argument in Python is one line that names it and says what to give, before any work is done."""

import numpy as np
import pytest

import firstlight as fl


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).integers(0, 255, (30, 8, 8), dtype=np.uint8), np.arange(30) % 2


@pytest.fixture(scope="module")
def model():
    return fl.Classifier(architecture={"name": "mlp"}, classes=("cat", "dog"), input_size=(1, 8, 8))


CALLS = {
    "out is an int": lambda data, model: fl.train(data, out=3),
    "score_test is a str": lambda data, model: fl.train(data, score_test="no"),
    "recipe is a str": lambda data, model: fl.train(data, "recipe.toml"),
    "there is no choice learning_rate; did you mean lr?": lambda data, model: fl.train(data, learning_rate=1),
    "there is no choice save_dir; did you mean out?": lambda data, model: fl.train(data, save_dir="runs"),
    "epochs = '5': give a whole number": lambda data, model: fl.train(data, epochs="5"),
    "hidden = 16: give a list": lambda data, model: fl.train(data, model="mlp", hidden=16),
    "split = 0.8: give text": lambda data, model: fl.train(data, split=0.8),
    "give its `samples`": lambda data, model: fl.train(fl.open_dataset(data)),
    "model is a list": lambda data, model: fl.evaluate([model], data),
    "split = ['test']: choose": lambda data, model: fl.evaluate(model, data, split=["test"]),
    "device is an int": lambda data, model: fl.evaluate(model, data, split="all", device=3),
    "top = 'a': give": lambda data, model: fl.predict(model, data[0][0], top="a"),
    "max_pixels = None: give": lambda data, model: fl.check(data, max_pixels=None),
    "label is a float": lambda data, model: fl.view_classify(data[0][0], model, label=1.5),
    "top is a str": lambda data, model: fl.view_classify(data[0][0], model, top="a"),
    "probabilities are a list": lambda data, model: fl.view_classify(data[0][0], ["x", "y"], ["a", "b"]),
    "device is a float": lambda data, model: fl.load("model.safetensors", 3.5),
    "folder is a NoneType": lambda data, model: fl.load_run(None),
    "path is an int": lambda data, model: fl.save(3, model),
    "classifier is an int": lambda data, model: fl.save("model.safetensors", 3),
    "path is a list": lambda data, model: fl.read_model_card([]),
    "a NoneType is not a set of labeled pictures": lambda data, model: fl.open_dataset(None),
    "recipe is a Recipe": lambda data, model: fl.open_dataset(data, fl.Recipe()),
    "split = 'foo': choose": lambda data, model: fl.open_dataset(data).loader("foo"),
    "data_root is an int": lambda data, model: fl.load_data("mnist", data_root=3),
    "the source is empty": lambda data, model: fl.load_data(""),
    "model is a NoneType": lambda data, model: fl.Predictor(None),
    "images is a NoneType": lambda data, model: fl.image_grid(None),
    "nope.csv: the metrics cannot be read": lambda data, model: fl.training_curves("nope.csv"),
    "labels are a NoneType": lambda data, model: fl.split(None),
    "logits is a list": lambda data, model: fl.evaluate_logits([[1, 2]], [0], ["a", "b"]),
    "architecture is a str": lambda data, model: fl.Classifier(
        architecture="mlp", classes=("a",), input_size=(1, 8, 8)
    ),
}


@pytest.mark.parametrize("words", CALLS)
def test_a_wrong_argument_is_one_line(words, data, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fl.UserError) as told:
        CALLS[words](data, model)
    message = str(told.value)
    assert words in message and "\n" not in message, message
    assert list(tmp_path.iterdir()) == [], "nothing was begun"
