"""Every run lists the labels that are probably wrong; corrections are applied, respected, and reopened with the run."""

import csv

import numpy as np
import pytest

import firstlight as fl
from firstlight.data.sources import load_data
from firstlight.runs.outputs import Outputs, read_outputs
from firstlight.runs.suspects import read_suspects
from firstlight.training.recipe import Recipe
from firstlight.training.suspects import as_suspects
from firstlight.training.train import train

RECIPE = Recipe.of(model="mlp", hidden=(128,), epochs=12, batch_size=32)


@pytest.fixture(scope="module")
def noisy(digits):
    """600 digits of which every 20th has a wrong label, and whether it has."""
    images, labels = digits[0][:600], digits[1][:600].copy()
    wrong = np.arange(600) % 20 == 7
    labels[wrong] = (labels[wrong] + 3) % 10
    return (images, [str(label) for label in labels]), wrong, digits[1][:600]


@pytest.fixture(scope="module")
def run(noisy, tmp_path_factory):
    return train(load_data(noisy[0]), RECIPE, tmp_path_factory.mktemp("runs") / "noisy")


def test_wrong_labels_are_flagged_by_what_the_network_said_on_the_way(run, noisy):
    _, wrong, truth = noisy
    suspects = read_suspects(run.folder)
    row_of = {name: row for row, name in enumerate(run.data.samples.names)}
    flagged = [row_of[each.image] for each in suspects if each.flagged]
    assert len(flagged) == run.record.suspects >= 3
    assert wrong[flagged].mean() >= 0.8
    assert (truth[flagged] == [int(each.suggested) for each in suspects if each.flagged])[wrong[flagged]].all()
    assert set(flagged) <= set(run.data.split.train.tolist()), "the test split is never judged"
    assert set(read_outputs(run.folder, "train").names) == {run.data.samples.names[row] for row in run.data.split.train}


def test_a_set_without_wrong_labels_gives_hardly_any_flags(digits, tmp_path):
    clean = digits[0][:600], [str(label) for label in digits[1][:600]]
    assert train(load_data(clean), RECIPE, tmp_path / "clean", score_test=False).record.suspects <= 3


def test_corrections_of_a_run_are_applied_recorded_and_reopened(run, noisy, tmp_path):
    first, second = read_suspects(run.folder)[:2]
    with (tmp_path / "c.csv").open("w", newline="") as file:
        rows = [("image", "label", "action"), (first.image, first.suggested, "relabel"), (second.image, "", "keep")]
        csv.writer(file).writerows(rows)
    again = train(load_data(noisy[0]), RECIPE.replace(corrections=str(tmp_path / "c.csv")), tmp_path / "run")
    (tmp_path / "c.csv").unlink()  # the run has its own copy
    row_of = {name: row for row, name in enumerate(again.data.samples.names)}
    assert {first.image, second.image}.isdisjoint(each.image for each in read_suspects(again.folder))
    reopened = fl.load_run(again.folder, data=noisy[0])
    for samples in (again.data.samples, reopened.data.samples):
        assert samples.classes[samples.labels[row_of[first.image]]] == first.suggested
        assert samples.classes[samples.labels[row_of[second.image]]] == second.label
    assert np.array_equal(reopened.data.split.test, run.data.split.test)


def test_an_image_whose_outputs_are_no_numbers_is_left_out():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    logits = 4 * np.eye(2, dtype=np.float32)[labels] + rng.normal(size=(40, 2)).astype(np.float32)
    logits[3] = logits[3, ::-1] * 2  # labeled wrong
    logits[5] = np.nan
    names = tuple(f"{number}.png" for number in range(40))
    suspects = as_suspects(Outputs(names, labels, logits), np.arange(40), ("a", "b"))
    assert (suspects[0].image, suspects[0].label, suspects[0].suggested) == ("3.png", "a", "b")
    assert "5.png" not in {each.image for each in suspects}
    reviewed = as_suspects(Outputs(names, labels, logits), np.arange(40), ("a", "b"), frozenset({"3.png"}))
    assert "3.png" not in {each.image for each in reviewed}
