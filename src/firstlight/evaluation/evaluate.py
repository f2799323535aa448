"""`Evaluation`, all scores of a classifier on a set of samples, and `evaluate_logits`, which makes one.

Torch is imported where it is used: reading a record does not wait for it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from firstlight.errors import DataError, require_type
from firstlight.evaluation.confusion import Confusion, todays_layout
from firstlight.evaluation.intervals import Estimate
from firstlight.evaluation.reliability import Calibration
from firstlight.tables import Html, data_frame

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

CLASSES_SHOWN = 10  # in a notebook
TOP = 5  # classes: the most probable ones, one of which has to be the label


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores of one class; `auc` is None if no sample, or every sample, is of this class."""

    name: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auc: Estimate | None


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """All scores of a classifier on a set of samples.

    Attributes:
        n: samples.
        accuracy: fraction of samples whose most probable class is their label.
        top5: fraction of samples whose label is among the five most probable classes.
        log_loss: mean negative log probability of the labels, in nats.
        macro_f1: mean F1 over the classes that occur.
        ece: expected calibration error; above 0 even for a perfectly calibrated model, see `calibration`.
        auc: mean area under the classes' ROC curves; None if no class has one.
        per_class: scores of each class.
        confusion: counts by true class (row) and predicted class (column); `confusion[true][predicted]`.
        classes: the K names.
        temperature: by which logits were divided.
        intervals: how the 95% interval of each score is made.
        notes: what a person should know about these scores.
        calibration: how far from accuracy the confidence is, and would be by chance; None in older records.
    """

    n: int
    accuracy: Estimate
    top5: Estimate
    log_loss: Estimate
    macro_f1: Estimate
    ece: Estimate
    auc: Estimate | None
    per_class: tuple[ClassScores, ...]
    confusion: Confusion
    classes: tuple[str, ...]
    temperature: float
    intervals: dict[str, str]
    notes: tuple[str, ...]
    calibration: Calibration | None = None

    def __str__(self) -> str:
        lines = (f"{name:<9} {score}" for name, score in self._scores().items())
        return "\n".join((*lines, *self.notes))

    def __repr__(self) -> str:
        return f"Evaluation(accuracy {self.accuracy}, {len(self.classes):,} classes)"

    def _repr_html_(self) -> str:
        return self.add_to(Html("Evaluation")).text()

    def add_to(self, shown: Html, caption: str = "") -> Html:
        """Add the scores, and the worst classes, to what a notebook shows."""
        shown.facts(self._scores(), caption)
        scored = sum(one.support > 0 for one in self.per_class)
        rows = [
            {
                "class": one.name, "n": one.support, "precision": one.precision.value, "recall": one.recall.value,
                "f1": one.f1.value,
            }
            for one in self.worst_classes(CLASSES_SHOWN)
        ]  # fmt: skip
        title = "classes" if scored <= CLASSES_SHOWN else f"the worst {CLASSES_SHOWN} of {scored:,} classes"
        return shown.table(rows, title).notes(self.notes)

    def _scores(self) -> dict[str, str]:
        """Return the scores as people read them; with five classes or fewer, top5 is always 1 and left out."""
        names = ("accuracy", *["top5"] * (len(self.classes) > TOP), "log_loss", "macro_f1", "ece", "auc")
        scores = {name.replace("_", " "): str(getattr(self, name) or "not defined") for name in names}
        return scores if self.calibration is None else scores | {"ece": str(self.calibration)}

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each class: its name, support, and scores with their 95% intervals.

        Raises:
            UserError: if pandas is not installed.
        """
        return data_frame(map(_class_row, self.per_class))

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and finite numbers; `from_json` reads them back exactly."""
        value: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(self), allow_nan=False))
        return value

    def worst_classes(self, count: int = 10) -> tuple[ClassScores, ...]:
        """Return up to `count` classes that have samples: the lowest F1 first, then those with more samples."""
        scored = [scores for scores in self.per_class if scores.support]
        return tuple(sorted(scored, key=lambda scores: (scores.f1.value, -scores.support))[:count])

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evaluation":
        """Return the evaluation that `to_json` made this of.

        Raises:
            DataError: if a score is missing or of the wrong type.
        """
        try:
            return msgspec.convert(value | {"confusion": todays_layout(value.get("confusion"))}, cls)
        except msgspec.ValidationError as error:
            raise DataError(f"firstlight did not write this evaluation ({error}); evaluate again") from error


def evaluate_logits(
    logits: "Tensor", labels: "Tensor", classes: Iterable[str], *, temperature: float = 1.0
) -> Evaluation:
    """Return all scores of logits against labels; probabilities are softmax(logits / temperature).

    Args:
        logits: float `[n, K]`, finite.
        labels: int64 `[n]` in 0..K-1.
        classes: the K names.
        temperature: as fitted on validation; it changes log loss, ECE and AUC, but never the answers.

    Raises:
        DataError: if there are no samples, shapes or labels do not match, or a logit is not finite.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.5, 1.5]])
        >>> evaluation = evaluate_logits(logits, torch.tensor([0, 1, 1, 1]), ["cat", "dog"])
        >>> print(evaluation.accuracy)
        0.750 [0.301, 0.954], n = 4
        >>> evaluation.confusion[1]
        (1, 2)
    """
    from firstlight.evaluation import metrics
    from firstlight.evaluation.intervals import mean
    from firstlight.evaluation.reliability import calibration_error, calibration_of
    from firstlight.evaluation.roc import areas
    from firstlight.evaluation.softmax import Softmax

    classes = tuple(classes)
    _check(logits, labels, classes)
    predicted, softmax = logits.argmax(dim=1), Softmax.of(logits, temperature)
    confusion = metrics.confusion_matrix(predicted, labels, len(classes))
    macro_auc, aucs = areas(softmax.columns(), labels)
    support = confusion.true_counts.tolist()
    columns = (metrics.precision(confusion), metrics.recall(confusion), metrics.f1(confusion), aucs)
    return Evaluation(
        n=len(labels),
        accuracy=metrics.accuracy(logits, labels),
        top5=metrics.top_k(logits, labels, k=TOP),
        log_loss=mean(softmax.log_loss(labels)),
        macro_f1=metrics.macro_f1(confusion),
        ece=calibration_error(softmax.confidence, predicted == labels),
        auc=macro_auc,
        per_class=tuple(map(ClassScores, classes, support, *columns)),
        confusion=confusion,
        classes=classes,
        temperature=temperature,
        intervals=dict(metrics.INTERVALS),
        notes=_notes(classes, support),
        calibration=calibration_of(softmax.confidence, predicted == labels),
    )


def _class_row(scores: ClassScores) -> dict[str, Any]:
    row: dict[str, Any] = {"class": scores.name, "support": scores.support}
    for name in ("precision", "recall", "f1", "auc"):
        estimate = getattr(scores, name)
        for end in ("value", "low", "high"):
            row[name if end == "value" else f"{name}_{end}"] = None if estimate is None else getattr(estimate, end)
    return row


def _check(logits: "Tensor", labels: "Tensor", classes: tuple[str, ...]) -> None:
    import torch

    from firstlight.evaluation.softmax import blocks

    for name, given in (("logits", logits), ("labels", labels)):
        require_type(given, torch.Tensor, name, "a torch tensor")
    if len(labels) == 0:
        raise DataError("there are no samples to score; this split is empty")
    if logits.shape != (len(labels), len(classes)):
        shape = " x ".join(str(size) for size in logits.shape)
        raise DataError(
            f"logits are {shape}, but there are {len(labels):,} labels and {len(classes):,} classes; "
            "give one row per label and one column per class"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}, but {len(classes):,} classes "
            f"allow 0 to {len(classes) - 1}"
        )
    broken = torch.cat([~logits[rows].isfinite().all(dim=1) for rows in blocks(*logits.shape)])
    if broken.any():
        first = int(broken.nonzero()[0])
        raise DataError(
            f"the model gives no finite number for {int(broken.sum()):,} of {len(labels):,} samples "
            f"(the first is sample {first}); its weights are broken, train again with a smaller `lr`"
        )


def _notes(classes: tuple[str, ...], support: list[int]) -> tuple[str, ...]:
    absent = [name for name, count in zip(classes, support, strict=True) if count == 0]
    if not absent:
        return ()
    shown = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    return (f"no samples of {shown}: left out of the AUC, and out of the macro F1 unless predicted",)
