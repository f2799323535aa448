"""A classifier and a data set in, one frozen `Evaluation` out: every number with its interval and its n."""

import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from firstlight.errors import DataError
from firstlight.evaluation import metrics
from firstlight.evaluation.intervals import Estimate
from firstlight.models.classifier import evaluating

if TYPE_CHECKING:
    from firstlight.data.loader import Batch


class Outputs(NamedTuple):
    """What a classifier said about a set: logits float32 [n, K], labels int64 [n], rows int64 [n], on the CPU."""

    logits: Tensor
    labels: Tensor
    rows: Tensor


class Mistake(NamedTuple):
    """One wrong answer: the sample's row, true and predicted class, and the probabilities given to both."""

    row: int
    label: int
    predicted: int
    probability: float
    probability_of_label: float


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores of one class; `auc` is None when no sample, or every sample, is of this class."""

    name: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auc: Estimate | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a set of samples says about a classifier; `intervals` tells how each 95 % interval is made."""

    n: int
    accuracy: Estimate
    top5: Estimate
    log_loss: Estimate
    macro_f1: Estimate
    ece: Estimate
    auc: Estimate | None
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]
    temperature: float
    intervals: dict[str, str]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        names = ("accuracy", "top5", "log_loss", "macro_f1", "ece", "auc")
        lines = (f"{name.replace('_', ' '):<9} {getattr(self, name) or 'not defined'}" for name in names)
        return "\n".join((*lines, *self.notes))

    def to_json(self) -> dict[str, Any]:
        """Give plain dicts, lists, strings and finite numbers; `from_json` reads them back exactly."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evaluation":
        """Rebuild what `to_json` gave.

        Raises:
            DataError: if a number is missing or of the wrong kind.
        """
        estimates = ("accuracy", "top5", "log_loss", "macro_f1", "ece")
        try:
            return cls(
                **{name: Estimate(**value[name]) for name in estimates},
                n=value["n"],
                auc=_estimate_or_none(value["auc"]),
                per_class=tuple(_class_scores(row) for row in value["per_class"]),
                confusion=tuple(tuple(row) for row in value["confusion"]),
                classes=tuple(value["classes"]),
                temperature=value["temperature"],
                intervals=dict(value["intervals"]),
                notes=tuple(value["notes"]),
            )
        except (KeyError, TypeError) as error:
            reason = f"without {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"this is no evaluation that firstlight wrote ({reason}); evaluate again") from error


def collect(classifier: Callable[[Tensor], Tensor], batches: "Iterable[Batch]") -> Outputs:
    """Run `classifier` over every batch without gradients, in eval mode, and keep what it says on the CPU.

    Args:
        classifier: gives logits [B, K] for images uint8 [B, C, H, W]; a module gets its modes back after.
        batches: read once, one at a time.

    Raises:
        DataError: if there is no batch.
    """
    parts = []
    mode = evaluating(classifier) if isinstance(classifier, nn.Module) else nullcontext()
    with mode, torch.inference_mode():
        for batch in batches:
            outputs = (classifier(batch.images).float(), batch.labels, batch.rows)
            parts.append([output.cpu() for output in outputs])
    if not parts:
        raise DataError("there are no samples to score; this split is empty")
    # Outside inference mode, so that the result can be used in any later computation.
    return Outputs(*(torch.cat(column) for column in zip(*parts, strict=True)))


def evaluate(logits: Tensor, labels: Tensor, classes: Iterable[str], *, temperature: float = 1.0) -> Evaluation:
    """Score logits against labels; probabilities are softmax(logits / temperature).

    Args:
        logits: float [n, K], finite.
        labels: int64 [n] in 0..K-1.
        classes: the K names.
        temperature: as fitted on validation; it moves log loss, ECE and AUC, never the answers.

    Raises:
        DataError: if there are no samples, the shapes or labels do not fit, or a logit is not finite.
    """
    classes = tuple(classes)
    _check(logits, labels, classes)
    logits = logits.double()
    probabilities = (logits / temperature).softmax(dim=1)
    confusion = metrics.confusion_matrix(logits.argmax(dim=1), labels, len(classes))
    macro_auc, aucs = metrics.roc_auc(probabilities, labels)
    support = confusion.sum(dim=1).tolist()
    columns = (metrics.precision(confusion), metrics.recall(confusion), metrics.f1(confusion), aucs)
    return Evaluation(
        n=len(labels),
        accuracy=metrics.accuracy(logits, labels),
        top5=metrics.top_k(logits, labels, k=5),
        log_loss=metrics.log_loss(logits / temperature, labels),
        macro_f1=metrics.macro_f1(confusion),
        ece=metrics.ece(probabilities, labels),
        auc=macro_auc,
        per_class=tuple(ClassScores(*row) for row in zip(classes, support, *columns, strict=True)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        classes=classes,
        temperature=temperature,
        intervals=dict(metrics.INTERVALS),
        notes=_notes(classes, support),
    )


def worst_mistakes(
    logits: Tensor, labels: Tensor, rows: Tensor, count: int = 25, *, temperature: float = 1.0
) -> tuple[Mistake, ...]:
    """Give up to `count` wrong answers, the most confident first, then those that left the label the least.

    Args:
        logits: float [n, K].
        labels: int64 [n].
        rows: int64 [n], each sample's row in the store; it settles what is still equal.
        count: how many at most.
        temperature: as fitted on validation.
    """
    probabilities = (logits.double() / temperature).softmax(dim=1)
    predicted = logits.argmax(dim=1)
    wrong = (predicted != labels).nonzero()[:, 0]
    label, guess, row = labels[wrong], predicted[wrong], rows[wrong]
    confidence, left = probabilities[wrong, guess], probabilities[wrong, label]
    order = np.lexsort([row.cpu(), left.cpu(), -confidence.cpu()])[:count].tolist()
    columns = [column[order].tolist() for column in (row, label, guess, confidence, left)]
    return tuple(Mistake(*mistake) for mistake in zip(*columns, strict=True))


def _check(logits: Tensor, labels: Tensor, classes: tuple[str, ...]) -> None:
    if len(labels) == 0:
        raise DataError("there are no samples to score; this split is empty")
    if logits.shape != (len(labels), len(classes)):
        shape = " x ".join(str(size) for size in logits.shape)
        raise DataError(
            f"logits are {shape}, but there are {len(labels):,} labels and {len(classes):,} classes; "
            "they need a row for each label and a column for each class"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}, but {len(classes):,} classes "
            f"allow 0 to {len(classes) - 1}"
        )
    broken = (~logits.isfinite()).any(dim=1)
    if broken.any():
        first = int(broken.nonzero()[0])
        raise DataError(
            f"the model gives no finite number for {int(broken.sum()):,} of {len(labels):,} samples "
            f"(the first is sample {first}); its weights are broken, train again with a smaller --lr"
        )


def _notes(classes: tuple[str, ...], support: list[int]) -> tuple[str, ...]:
    absent = [name for name, count in zip(classes, support, strict=True) if count == 0]
    if not absent:
        return ()
    shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    return (f"no samples of {shown}: left out of the AUC, and of macro F1 unless predicted",)


def _estimate_or_none(value: dict[str, Any] | None) -> Estimate | None:
    return None if value is None else Estimate(**value)


def _class_scores(row: dict[str, Any]) -> ClassScores:
    estimates = {name: Estimate(**row[name]) for name in ("precision", "recall", "f1")}
    return ClassScores(name=row["name"], support=row["support"], auc=_estimate_or_none(row["auc"]), **estimates)
