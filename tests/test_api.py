"""The verbs in Python: the same as on the command line, on whatever people have at hand."""

import signal

import numpy as np
import pytest
import torch
from PIL import Image

import firstlight as fl
from firstlight.errors import DataError, RecipeError


def test_single_choices_replace_those_of_a_recipe(some_digits, tmp_path):
    recipe = fl.Recipe.of(model="mlp", hidden=(8,), epochs=3)
    run = fl.train(some_digits, recipe, out=tmp_path / "run", epochs=1)
    assert (run.recipe.model.hidden, run.recipe.optimization.epochs) == ((8,), 1)


def test_a_choice_that_does_not_exist_is_refused_before_the_work(some_digits, tmp_path):
    with pytest.raises(RecipeError, match="there is no choice epoch; did you mean epochs?"):
        fl.train(some_digits, epoch=3, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_search_can_leave_the_test_split_locked(some_digits, tmp_path):
    run = fl.train(some_digits, model="mlp", hidden=(8,), epochs=1, out=tmp_path / "run", score_test=False)
    assert run.test is None
    assert run.mistakes == ()
    assert run.record.test_evaluations == 0
    assert {path.name for path in run.folder.glob("*.png")} == {"curves.png"}, "the other figures show the test split"


@pytest.mark.parametrize("what", ["run", "folder", "file", "text", "loaded", "model of the run"])
def test_evaluate_takes_a_run_its_folder_its_model_file_or_what_load_returns(what, digit_run, digit_folder, tmp_path):
    given = {"run": digit_run, "folder": digit_run.folder, "file": digit_run.folder / "model.safetensors"}
    given |= {"loaded": fl.load(digit_run.folder), "model of the run": digit_run.model}
    model = given.get(what, str(digit_run.folder))
    assert fl.evaluate(model, digit_folder, split="valid").evaluation.accuracy == digit_run.valid.accuracy


def test_evaluate_reads_any_data(digit_run, digits):
    images, labels = digits
    found = fl.evaluate(digit_run, (images[:50], labels[:50].astype(str)), split="all")
    assert found.evaluation.n == 50
    assert found.test_evaluations is None
    with pytest.raises(DataError, match="the model does not know its class"):
        fl.evaluate(digit_run, (images[:50], np.where(labels[:50] == 0, "zero", "other")), split="all")


def test_predict_gives_the_same_answer_to_an_image_in_any_form(array_run, some_digits, tmp_path):
    pixels = some_digits[0][0]
    file = tmp_path / "digit.png"
    Image.fromarray(pixels).save(file)
    wanted = fl.predict(array_run.model, file)
    forms = [str(file), file.read_bytes(), Image.open(file), pixels, pixels[..., None], torch.from_numpy(pixels)[None]]
    for form in forms:
        found = fl.predict(array_run.model, form)
        assert (found.label, found.top) == (wanted.label, wanted.top), type(form)
    for form in (forms, tuple(forms)):
        assert [found.label for found in fl.predict(array_run.model, form)] == [wanted.label] * len(forms)
    stack = fl.predict(array_run.model, some_digits[0][:3, ..., None])
    assert [found.label for found in stack] == [
        fl.predict(array_run.model, image).label for image in some_digits[0][:3]
    ]


@pytest.mark.parametrize("given", [None, 3, 1.5, {"a": 1}, object(), [None]])
def test_predict_refuses_a_wrong_type_and_says_what_it_takes(given, array_run):
    with pytest.raises(TypeError, match="PIL image"):
        fl.predict(array_run.model, given)


def test_predict_does_not_decode_what_is_too_large(array_run, some_digits, tmp_path):
    file = tmp_path / "digit.png"
    Image.fromarray(some_digits[0][0]).save(file)
    assert "64 pixels, more than the limit of 63" in fl.predict(array_run.model, file, max_pixels=63).error
    assert fl.predict(array_run.model, file, max_pixels=64).error is None


def test_check_is_the_report_of_the_command_line(digit_folder):
    found = fl.check(digit_folder)
    assert isinstance(found, fl.CheckReport)
    assert found.to_json()["n"] == 120


def test_predict_takes_a_run_its_folder_or_its_model_file(digit_run, digits):
    image = digits[0][0]
    models = [digit_run, digit_run.folder, str(digit_run.folder / "model.safetensors")]
    answers = [fl.predict(model, image) for model in [digit_run.model, *models]]
    assert len({(answer.label, answer.probability) for answer in answers}) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fl.predict(3, "x.png"), "model is an int; give a run, its folder, the path"),
        (lambda: fl.train("digits", {"epochs": 1}), "recipe is a dict; give a Recipe, or single choices"),
        (lambda: fl.evaluate(None, "digits"), "model is a NoneType; give a run"),
    ],
)
def test_a_wrong_type_is_refused_with_what_to_give(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("choices", [{"workers": -1}, {"workers": 0}, {"max_pixels": 0}], ids=str)
def test_check_refuses_numbers_out_of_range(choices):
    with pytest.raises(RecipeError, match="choose a number from 1 to"):
        fl.check("digits", **choices)


def test_an_interrupt_waits_until_libraries_are_imported(monkeypatch):
    done, whole = [], fl.import_module

    def interrupted(name):
        found = whole(name)
        if name == "firstlight.training.recipe":
            signal.raise_signal(signal.SIGINT)
            done.append(name)
        return found

    monkeypatch.setattr(fl, "import_module", interrupted)
    monkeypatch.delitem(vars(fl), "Recipe", raising=False)
    with pytest.raises(KeyboardInterrupt):
        fl.Recipe  # noqa: B018
    assert done
