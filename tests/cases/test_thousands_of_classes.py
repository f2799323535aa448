"""Case: thousands of classes. Scores, records, and figures grow with the samples, not with all pairs of classes."""

import json

import numpy as np
import pytest
import torch

import firstlight as fl
from firstlight.delivery.figures import draw_run
from firstlight.delivery.report.write import write_run_report
from firstlight.evaluation.confusion import Confusion
from firstlight.runs.record import read_record
from firstlight.training.train import train


def many(classes, each=4):
    """Four noisy copies of a picture for each class, as the generator of the case makes them."""
    dice = np.random.default_rng(0)
    kinds = dice.integers(0, 256, (classes, 8, 8, 1))
    noisy = kinds.repeat(each, 0) + dice.normal(0, 60, (classes * each, 8, 8, 1))
    return np.clip(noisy, 0, 255).astype(np.uint8), np.arange(classes).repeat(each)


def scored(classes, n):
    """An evaluation of random answers: nearly every one falls into a cell of its own."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(n, classes, generator=rng)
    return fl.evaluate_logits(logits, torch.arange(n) % classes, [f"{index:04d}" for index in range(classes)])


def numbers_in(value):
    if isinstance(value, dict | list):
        return sum(map(numbers_in, value.values() if isinstance(value, dict) else value))
    return 1


def refuse_the_whole_matrix(monkeypatch):
    def whole(*_):
        raise AssertionError("all K x K cells were made")

    monkeypatch.setattr(Confusion, "__array__", whole)


def test_the_record_grows_with_samples_and_classes_and_not_with_their_product():
    sizes = {classes: numbers_in(scored(classes, 1200).to_json()) for classes in (100, 200, 400)}
    per_class = (sizes[400] - sizes[200]) / 200
    assert (sizes[200] - sizes[100]) / 100 == pytest.approx(per_class, rel=0.1)
    assert per_class < 30
    more = numbers_in(scored(100, 2400).to_json()) - sizes[100]
    assert more <= 3 * 1200


def test_scores_are_those_of_the_whole_matrix():
    evaluation = scored(300, 500)
    matrix = np.array(evaluation.confusion)
    assert matrix.sum() == 500
    assert [found.support for found in evaluation.per_class] == matrix.sum(axis=1).tolist()
    assert evaluation.accuracy.value == matrix.trace() / 500


def test_no_run_makes_the_whole_matrix(tmp_path, monkeypatch):
    refuse_the_whole_matrix(monkeypatch)
    images, labels = many(150)
    run = train(fl.load_data((images, labels)), fl.Recipe.of(model="mlp", epochs=1, hidden=(16,)), tmp_path / "run")
    text = (run.folder / "evaluation.json").read_text()
    assert len(text) < 150 * 2_000
    assert json.loads(text)["test"]["confusion"]["size"] == 150
    assert read_record(run.folder).test == run.test


@pytest.mark.slow
def test_a_thousand_classes_are_trained_scored_drawn_and_reported(rendered, tmp_path, monkeypatch):
    refuse_the_whole_matrix(monkeypatch)
    recipe = fl.Recipe.of(model="mlp", epochs=1, batch_size=256, hidden=(64,))
    run = train(fl.load_data(many(1_000, each=3)), recipe, tmp_path / "run")
    assert run.test.n >= 1_000
    assert len(run.test.per_class) == 1_000
    assert (run.folder / "evaluation.json").stat().st_size < 1_000 * 2_000
    assert all(path.is_file() for path in draw_run(run.folder))
    assert write_run_report(run.folder).is_file()


@pytest.mark.slow
def test_ten_thousand_classes_are_scored_and_read_back(monkeypatch):
    refuse_the_whole_matrix(monkeypatch)
    evaluation = scored(10_000, 2_000)
    value = evaluation.to_json()
    assert numbers_in(value) < 30 * 10_000
    assert fl.Evaluation.from_json(value) == evaluation
