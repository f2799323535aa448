"""Evaluating again: the same scores, classes by name, every evaluation of the test split counted."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from firstlight.data.sources import load_data
from firstlight.delivery.evaluate import evaluate_model
from firstlight.errors import DataError, RecipeError, RunError
from firstlight.inference.predictor import Predictor
from firstlight.models.model_file import load_model, save_model
from firstlight.runs.record import read_record

CPU = torch.device("cpu")
BEFORE = Path(__file__).parents[1] / "before"  # run folders of the version before


@pytest.fixture
def run_folder(digit_run, tmp_path) -> Path:
    return Path(shutil.copytree(digit_run.folder, tmp_path / "run"))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_scores_of_a_split_are_those_of_the_run(digit_run, run_folder, digit_folder, split):
    found = evaluate_model(run_folder / "model.safetensors", load_data(digit_folder), split=split, device=CPU)
    assert found.evaluation == getattr(digit_run, split)


def test_evaluating_and_predicting_cut_the_same_share(digit_run, digit_folder, tmp_path):
    model = load_model(digit_run.folder / "model.safetensors")
    model.resize = "crop:0.5"
    save_model(tmp_path / "m", model)
    scored = evaluate_model(tmp_path / "m", load_data(digit_folder), split="all", device=CPU).evaluation
    answers = Predictor(load_model(tmp_path / "m"))(digit_folder)
    right = [answer.label == Path(answer.image).parent.name for answer in answers]
    assert scored.accuracy.value == pytest.approx(sum(right) / len(right))
    assert scored.accuracy.value < digit_run.test.accuracy.value  # half a digit is hard to tell


def test_every_further_evaluation_of_the_test_split_is_counted(run_folder, digit_folder):
    counts = [
        evaluate_model(
            run_folder / "model.safetensors", load_data(digit_folder), split=split, device=CPU
        ).test_evaluations
        for split in ("test", "valid", "test")
    ]
    assert counts == [2, None, 3]
    assert json.loads((run_folder / "evaluation.json").read_text())["test_evaluations"] == 3


def test_the_test_split_of_a_run_without_a_record_is_not_scored(run_folder, digit_folder):
    (run_folder / "evaluation.json").unlink()
    samples, model = load_data(digit_folder), run_folder / "model.safetensors"
    with pytest.raises(RunError, match=r"evaluation\.json is missing, so evaluations of this run's test split"):
        evaluate_model(model, samples, split="test", device=CPU)
    assert evaluate_model(model, samples, split="valid", device=CPU).evaluation.n


def test_classes_go_by_name_whatever_their_number(digit_run, run_folder, digit_folder, tmp_path):
    partial = tmp_path / "partial"
    for name in ("3", "7", "9"):
        shutil.copytree(digit_folder / name, partial / name)
    whole = evaluate_model(
        run_folder / "model.safetensors", load_data(digit_folder), split="all", device=CPU
    ).evaluation
    found = evaluate_model(run_folder / "model.safetensors", load_data(partial), split="all", device=CPU).evaluation
    assert found.classes == digit_run.model.classes
    for label in (3, 7, 9):
        assert found.confusion[label] == whole.confusion[label]


def test_a_class_the_model_does_not_know_is_an_error(run_folder, digit_folder, tmp_path):
    strange = Path(shutil.copytree(digit_folder, tmp_path / "strange"))
    (strange / "3").rename(strange / "three")
    with pytest.raises(DataError, match="does not know its class three"):
        evaluate_model(run_folder / "model.safetensors", load_data(strange), device=CPU)


def test_an_unsplit_set_that_the_run_does_not_know_is_not_scored_unasked(run_folder, digits):
    images, labels = digits
    with pytest.raises(DataError, match="set `split` to all"):
        evaluate_model(
            run_folder / "model.safetensors", load_data((images, [str(label) for label in labels])), device=CPU
        )


def test_a_damaged_record_is_an_error_and_stays_as_it_is(run_folder, digit_folder):
    (run_folder / "evaluation.json").write_text("{")
    with pytest.raises(RunError, match="not a record that firstlight wrote"):
        evaluate_model(run_folder / "model.safetensors", load_data(digit_folder), device=CPU)
    assert (run_folder / "evaluation.json").read_text() == "{"


def test_a_foreign_set_with_some_equal_names_is_foreign(run_folder, digit_folder, tmp_path):
    foreign = tmp_path / "foreign"
    for label in ("3", "7"):
        (foreign / label).mkdir(parents=True)
        for number, path in enumerate(sorted((digit_folder / label).iterdir())):
            shutil.copy(path, foreign / label / (path.name if number < 3 else f"new-{path.name}"))
    with pytest.raises(DataError, match="no test split of its own, and none from the model"):
        evaluate_model(run_folder / "model.safetensors", load_data(foreign), device=CPU)
    assert json.loads((run_folder / "evaluation.json").read_text())["test_evaluations"] == 1


def test_a_set_that_has_grown_is_scored_on_its_old_test_split(digit_run, run_folder, digit_folder, tmp_path):
    grown = Path(shutil.copytree(digit_folder, tmp_path / "grown"))
    shutil.copy(sorted((grown / "3").iterdir())[0], grown / "3" / "new.png")
    found = evaluate_model(run_folder / "model.safetensors", load_data(grown), device=CPU)
    assert found.evaluation.accuracy == digit_run.test.accuracy
    assert found.test_evaluations == 2


@pytest.mark.parametrize("name", ["mlp-run", "backbone-run"])
def test_a_run_of_the_version_before_is_evaluated_with_the_same_scores(digit_folder, tmp_path, name):
    run = Path(shutil.copytree(BEFORE / name, tmp_path / name))
    record = read_record(run)
    for split, scores in (("valid", record.valid), ("test", record.test)):
        found = evaluate_model(run / "model.safetensors", load_data(digit_folder), split=split, device=CPU)
        assert found.evaluation.confusion == scores.confusion
        assert found.evaluation.log_loss.value == pytest.approx(scores.log_loss.value, rel=1e-5)
    assert found.test_evaluations == 2
    assert read_record(run).test_evaluations == 2


def test_pictures_of_too_many_pixels_are_not_decoded(run_folder, digit_folder):
    with pytest.raises(DataError, match="cannot be used"):
        evaluate_model(run_folder / "model.safetensors", load_data(digit_folder), device=CPU, max_pixels=63)


def test_a_split_that_does_not_exist_is_refused(run_folder, digit_folder):
    with pytest.raises(RecipeError, match="choose train, valid, test or all") as refused:
        evaluate_model(run_folder / "model.safetensors", load_data(digit_folder), split="tests", device=CPU)
    assert (refused.value.field, refused.value.value) == ("split", "tests")
