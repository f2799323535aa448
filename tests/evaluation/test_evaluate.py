"""From logits and labels to one frozen evaluation, and from that to JSON and back."""

import dataclasses
import doctest
import json

import numpy as np
import pytest
import torch

from firstlight.errors import DataError
from firstlight.evaluation import evaluate
from firstlight.evaluation.evaluate import Evaluation, evaluate_logits
from firstlight.evaluation.metrics import ece, log_loss
from firstlight.runtime.seeds import generator


def drawn(n=300, classes=7):
    rng = generator(0, "test_evaluate", n)
    logits = 2 * torch.randn(n, classes, generator=rng)
    labels = torch.multinomial(logits.softmax(1), 1, generator=rng)[:, 0]
    return logits, labels, [f"class {index}" for index in range(classes)]


def test_an_empty_split_is_said_plainly():
    with pytest.raises(DataError, match="no samples to score"):
        evaluate_logits(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ["a", "b"])


def test_json_has_the_promised_keys_and_reads_back_exactly():
    logits, labels, classes = drawn()
    evaluation = evaluate_logits(logits, labels, classes, temperature=1.5)
    value = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    promised = {"n", "accuracy", "top5", "log_loss", "macro_f1", "ece", "confusion", "classes"}
    assert set(value) == promised | {"auc", "per_class", "temperature", "intervals", "notes", "calibration"}
    for name in ("accuracy", "top5", "log_loss", "macro_f1", "ece", "auc"):
        assert set(value[name]) == {"value", "low", "high", "n"}
    assert value["n"] == sum(count for _, _, count in value["confusion"]["cells"]) == 300
    assert set(value["per_class"][0]) == {"name", "support", "precision", "recall", "f1", "auc"}
    assert set(evaluation.intervals) == (promised | {"auc", "precision", "recall", "f1"}) - {
        "n",
        "confusion",
        "classes",
    }
    assert Evaluation.from_json(value) == evaluation


def test_classes_without_samples_leave_no_hole_in_the_json():
    logits, labels, classes = drawn(classes=3)
    evaluation = evaluate_logits(torch.cat([logits, logits - 99], dim=1), labels, classes + ["x", "y", "z"])
    assert evaluation.per_class[5].auc is None
    assert evaluation.per_class[5].recall.n == 0
    assert evaluation.notes == ("no samples of x, y, z: left out of the AUC, and out of the macro F1 unless predicted",)
    value = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert Evaluation.from_json(value) == evaluation
    lone = evaluate_logits(logits[:1], labels[:1], classes)
    assert lone.auc is None
    assert "auc       not defined" in str(lone)
    assert "top5" not in str(lone), "with so few classes it says nothing"


def test_temperature_moves_probabilities_and_not_answers():
    logits, labels, classes = drawn()
    cold, warm = evaluate_logits(logits, labels, classes), evaluate_logits(logits, labels, classes, temperature=3.0)
    assert (cold.accuracy, cold.confusion, cold.top5) == (warm.accuracy, warm.confusion, warm.top5)
    assert warm.log_loss == log_loss(logits.double() / 3, labels)
    assert warm.ece == ece((logits.double() / 3).softmax(1), labels)


def test_an_evaluation_is_frozen_and_reads_as_lines():
    evaluation = evaluate_logits(*drawn())
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluation.n = 3
    assert str(evaluation).startswith(f"accuracy  {evaluation.accuracy}\ntop5 ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits, labels, classes: (logits[:, :6], labels, classes), "300 x 6.*7 classes"),
        (lambda logits, labels, classes: (logits, labels + 5, classes), "labels run from 5 to 11"),
        (lambda logits, labels, classes: (logits / (labels > 0)[:, None], labels, classes), "no finite number"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change, message):
    with pytest.raises(DataError, match=message) as caught:
        evaluate_logits(*change(*drawn()))
    assert "\n" not in str(caught.value)


def test_a_foreign_json_is_refused():
    value = evaluate_logits(*drawn()).to_json()
    del value["ece"]
    with pytest.raises(DataError, match="`ece`"):
        Evaluation.from_json(value)


def test_the_rows_of_counts_of_earlier_versions_are_read():
    evaluation = evaluate_logits(*drawn())
    older = evaluation.to_json() | {"confusion": np.array(evaluation.confusion).tolist()}
    assert Evaluation.from_json(older) == evaluation


def test_a_record_from_before_calibration_was_compared_with_chance_is_read():
    evaluation = evaluate_logits(*drawn())
    older = evaluation.to_json()
    del older["calibration"]
    read = Evaluation.from_json(older)
    assert read == dataclasses.replace(evaluation, calibration=None)
    assert f"ece       {evaluation.ece}" in str(read)


def test_the_calibration_error_is_read_beside_that_of_chance():
    evaluation = evaluate_logits(*drawn())
    assert evaluation.calibration.ece == pytest.approx(evaluation.ece.value)
    assert f"ece       {evaluation.calibration}" in str(evaluation)
    assert "a perfectly calibrated model would show 0." in str(evaluation)


def test_the_worst_classes_are_those_of_lowest_f1_that_have_samples():
    logits, labels, classes = drawn(classes=4)
    evaluation = evaluate_logits(torch.cat([logits, logits[:, :1] - 99], dim=1), labels, [*classes, "absent"])
    scores = [found.f1.value for found in evaluation.worst_classes(3)]
    assert scores == sorted(found.f1.value for found in evaluation.per_class if found.support)[:3]
    assert len(evaluation.worst_classes()) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": "300"},
        {"accuracy": 0.5},
        {"confusion": [[0.5]]},
        {"confusion": [[1, 2], [3]]},
        {"confusion": None},
        {"classes": [1, 2]},
    ],
)
def test_a_score_of_the_wrong_type_is_refused_in_one_line(wrong):
    with pytest.raises(DataError, match="firstlight did not write this evaluation") as caught:
        Evaluation.from_json(evaluate_logits(*drawn()).to_json() | wrong)
    assert "\n" not in str(caught.value)


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(evaluate) == (0, 5)
