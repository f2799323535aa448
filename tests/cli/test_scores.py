"""The table of classes that a person is shown: the worst first, ten at most, with what they are mistaken for."""

from dataclasses import replace

import torch

from firstlight.cli.scores import MAX_CLASSES, class_table, trust_lines
from firstlight.evaluation.conformal import SetScores
from firstlight.evaluation.evaluate import evaluate_logits
from firstlight.evaluation.intervals import Estimate
from firstlight.runs.record import TrustRecord


def scores_of(labels, predicted, classes):
    logits = torch.nn.functional.one_hot(torch.tensor(predicted), len(classes)) * 3.0
    return evaluate_logits(logits, torch.tensor(labels), classes)


def test_the_worst_class_comes_first_with_what_it_is_taken_for():
    heading, names, first, second, third = class_table(
        scores_of([0, 0, 1, 1, 1, 2, 2], [0, 0, 2, 2, 0, 2, 2], ["cat", "red fox", "\x1bdog"])
    )
    assert heading == "by class, worst first:"
    assert names.split() == ["class", "pictures", "precision", "recall", "F1", "most", "often", "mistaken", "for"]
    assert first.split() == ["red", "fox", "3", "0.000", "0.000", "0.000", "\\x1bdog", "(2)"]
    assert second.split()[0] == "\\x1bdog"
    assert third.split() == ["cat", "2", "0.667", "1.000", "0.800"]
    assert len({line.index("0.") for line in (first, second, third)}) == 1, "columns are not aligned"


def test_of_many_classes_ten_are_shown():
    many = [f"class {number}" for number in range(30)]
    heading, _, *rows = class_table(scores_of(list(range(30)), [*range(1, 16), *range(15, 30)], many))
    assert heading == "the 10 worst of 30 classes:"
    assert len(rows) == MAX_CLASSES


def test_a_person_reads_what_probabilities_are_worth_and_how_many_answers_are_sure():
    scores = scores_of([0] * 60 + [1] * 40, [0] * 100, ["cat", "dog"])
    sure, right = Estimate(0.8, 0.7, 0.9, 100), Estimate(0.95, 0.9, 1, 80)
    trust = TrustRecord(coverage=0.9, set_quantile=0.4, measured_on={}, test=SetScores(sure, 1.2, (), sure, right, ()))
    probabilities, answers = trust_lines(scores, trust)
    assert probabilities.startswith("Probabilities are off by 0.3")
    assert answers.startswith(
        "Only one class is likely for 80 of 100 test pictures, and it is the right one for 76 of these (0.950 ["
    )
    assert "too few validation pictures" in trust_lines(scores, replace(trust, set_quantile=1.0))[1]
    assert trust_lines(replace(scores, calibration=None), None) == []
