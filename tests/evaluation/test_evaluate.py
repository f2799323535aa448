"""From a classifier and batches to one frozen record, and from the record to JSON and back."""

import dataclasses
import json
from typing import NamedTuple

import pytest
import torch
from torch import nn

from firstlight.errors import DataError
from firstlight.evaluation.evaluate import Evaluation, collect, evaluate, worst_mistakes
from firstlight.evaluation.metrics import ece, log_loss
from firstlight.runtime.seeds import generator


class Batch(NamedTuple):
    images: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor


class Tiny(nn.Module):
    """Dropout and a frozen batch norm, so that a wrong mode shows."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4).eval()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        assert not torch.is_grad_enabled()
        return self.head(self.dropout(self.norm(images.flatten(1).float() / 255)))


def batches(sizes, seed=0):
    rng = generator(seed, "test_evaluate")
    start = 0
    for size in sizes:
        images = torch.randint(0, 256, (size, 1, 2, 2), dtype=torch.uint8, generator=rng)
        yield Batch(images, torch.randint(0, 3, (size,), generator=rng), torch.arange(start, start + size))
        start += size


def drawn(n=300, classes=7):
    rng = generator(0, "test_evaluate", n)
    logits = 2 * torch.randn(n, classes, generator=rng)
    labels = torch.multinomial(logits.softmax(1), 1, generator=rng)[:, 0]
    return logits, labels, [f"class {index}" for index in range(classes)]


def test_collect_gives_the_same_for_any_batches_and_leaves_every_mode_as_it_was():
    torch.manual_seed(0)
    classifier = Tiny()
    before = [module.training for module in classifier.modules()]
    outputs = collect(classifier, batches([8]))
    whole = Batch(*(column[0] for column in zip(*batches([8]), strict=True)))
    pieces = [Batch(*(column[part] for column in whole)) for part in (slice(0, 3), slice(3, 8))]
    again = collect(classifier, pieces)
    assert torch.allclose(outputs.logits, again.logits)
    assert outputs.rows.tolist() == again.rows.tolist() == list(range(8))
    assert (outputs.logits.dtype, outputs.labels.dtype) == (torch.float32, torch.int64)
    assert [module.training for module in classifier.modules()] == before
    assert before.count(False) == 1
    assert not outputs.logits.is_inference()


def test_collect_gives_modes_back_after_a_failure():
    classifier = Tiny()
    with pytest.raises(RuntimeError):
        collect(classifier, [Batch(torch.zeros(2, 1, 5, 5), torch.zeros(2), torch.zeros(2))])
    assert classifier.training


def test_collect_takes_any_function_and_keeps_half_precision_as_float32():
    outputs = collect(lambda images: torch.ones(len(images), 3, dtype=torch.bfloat16), batches([2, 5]))
    assert outputs.logits.shape == (7, 3)
    assert outputs.logits.dtype == torch.float32


def test_an_empty_split_is_said_plainly():
    with pytest.raises(DataError, match="no samples to score"):
        collect(Tiny(), [])
    with pytest.raises(DataError, match="no samples to score"):
        evaluate(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ["a", "b"])


def test_json_has_the_promised_keys_and_reads_back_exactly():
    logits, labels, classes = drawn()
    evaluation = evaluate(logits, labels, classes, temperature=1.5)
    value = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    promised = {"n", "accuracy", "top5", "log_loss", "macro_f1", "ece", "confusion", "classes"}
    assert set(value) == promised | {"auc", "per_class", "temperature", "intervals", "notes"}
    for name in ("accuracy", "top5", "log_loss", "macro_f1", "ece", "auc"):
        assert set(value[name]) == {"value", "low", "high", "n"}
    assert value["n"] == sum(map(sum, value["confusion"])) == 300
    assert set(value["per_class"][0]) == {"name", "support", "precision", "recall", "f1", "auc"}
    assert set(evaluation.intervals) == (promised | {"auc", "precision", "recall", "f1"}) - {
        "n",
        "confusion",
        "classes",
    }
    assert Evaluation.from_json(value) == evaluation


def test_classes_without_samples_leave_no_hole_in_the_json():
    logits, labels, classes = drawn(classes=3)
    evaluation = evaluate(torch.cat([logits, logits - 99], dim=1), labels, classes + ["x", "y", "z"])
    assert evaluation.per_class[5].auc is None
    assert evaluation.per_class[5].recall.n == 0
    assert evaluation.notes == ("no samples of x, y, z: left out of the AUC, and of macro F1 unless predicted",)
    value = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert Evaluation.from_json(value) == evaluation
    lone = evaluate(logits[:1], labels[:1], classes)
    assert lone.auc is None
    assert "auc       not defined" in str(lone)


def test_temperature_moves_probabilities_and_not_answers():
    logits, labels, classes = drawn()
    cold, warm = evaluate(logits, labels, classes), evaluate(logits, labels, classes, temperature=3.0)
    assert (cold.accuracy, cold.confusion, cold.top5) == (warm.accuracy, warm.confusion, warm.top5)
    assert warm.log_loss == log_loss(logits.double() / 3, labels)
    assert warm.ece == ece((logits.double() / 3).softmax(1), labels)


def test_an_evaluation_is_frozen_and_reads_as_lines():
    evaluation = evaluate(*drawn())
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
        evaluate(*change(*drawn()))
    assert "\n" not in str(caught.value)


def test_a_foreign_json_is_refused():
    value = evaluate(*drawn()).to_json()
    del value["ece"]
    with pytest.raises(DataError, match="without 'ece'"):
        Evaluation.from_json(value)


def test_worst_mistakes_come_most_confident_first():
    logits, labels, _ = drawn()
    rows = torch.arange(1000, 1300)
    mistakes = worst_mistakes(logits, labels, rows, count=1000, temperature=2.0)
    probabilities, wrong = (logits.double() / 2).softmax(1), logits.argmax(1) != labels
    assert {mistake.row for mistake in mistakes} == set(rows[wrong].tolist())
    assert [mistake.probability for mistake in mistakes] == sorted(probabilities.amax(1)[wrong].tolist(), reverse=True)
    first = mistakes[0]
    place = first.row - 1000
    assert (first.label, first.predicted) == (labels[place], logits[place].argmax())
    assert first.probability_of_label == probabilities[place, labels[place]].item()
    assert worst_mistakes(logits, labels, rows, count=4, temperature=2.0) == mistakes[:4]


def test_equally_confident_mistakes_are_settled_by_the_label_then_by_the_row():
    logits = torch.tensor([[2.0, 0, 1], [2.0, 1, 0], [2.0, 1, 0], [2.0, 0, 1]])
    mistakes = worst_mistakes(logits, torch.tensor([2, 2, 1, 1]), torch.tensor([7, 5, 3, 1]))
    assert [mistake.row for mistake in mistakes] == [1, 5, 3, 7]


def test_no_mistakes_are_no_mistakes():
    assert worst_mistakes(torch.eye(3), torch.arange(3), torch.arange(3)) == ()
