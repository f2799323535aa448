"""The table of classes that a person is shown: the worst first, ten at most, with what they are mistaken for."""

import torch

from firstlight.cli.scores import MAX_CLASSES, class_table
from firstlight.evaluation.evaluate import evaluate_logits


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
