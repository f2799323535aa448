"""The most confident mistakes of a classifier, and which images a run's figures show."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from firstlight.escaping import escape_name
from firstlight.evaluation.softmax import Softmax
from firstlight.tables import Bar, Html, data_frame

if TYPE_CHECKING:
    from pandas import DataFrame

ROWS_SHOWN, FEW = 10, 3  # in a notebook, and in plain text
MISTAKES_SHOWN = 24  # in the figure of a run's worst mistakes


class Mistake(NamedTuple):
    """A wrong answer: the sample's row, its true and its predicted class, both probabilities, and the image's name."""

    row: int
    label: int
    predicted: int
    probability: float
    probability_of_label: float
    image: str = ""


class Mistakes(tuple[Mistake, ...]):
    """Wrong answers, the most confident first: a tuple that becomes a data frame, JSON, or a table in a notebook.

    Attributes:
        classes: what the numbers of classes in it stand for.
    """

    classes: tuple[str, ...]

    def __new__(cls, mistakes: Iterable[Mistake], classes: tuple[str, ...]) -> Self:
        """Return these mistakes, with the names of the classes."""
        made = super().__new__(cls, mistakes)
        made.classes = classes
        return made

    def __repr__(self) -> str:
        shown = [f"{row['image']} is {row['label']}, predicted as {row['predicted']}" for row in self.to_json()[:FEW]]
        return f"Mistakes({len(self)}: {'; '.join(shown)}{'; ...' * (len(self) > FEW)})"

    def __str__(self) -> str:
        """Return one line for each mistake, as `print` shows them."""
        lines = (
            f"{escape_name(row['image'])} is {escape_name(row['label'])}, "
            f"predicted as {escape_name(row['predicted'])} ({row['probability']:.1%})"
            for row in self.to_json()
        )
        return "\n".join(lines) or "no mistakes"

    def to_json(self) -> list[dict[str, Any]]:
        """Return each as plain values: image, label and predicted class by name, and the probabilities of both."""
        return [
            {
                "image": mistake.image,
                "label": self.classes[mistake.label],
                "predicted": self.classes[mistake.predicted],
                "probability": mistake.probability,
                "probability_of_label": mistake.probability_of_label,
            }
            for mistake in self
        ]

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each, see `to_json`."""
        return data_frame(self.to_json(), ("image", "label", "predicted", "probability", "probability_of_label"))

    def _repr_html_(self) -> str:
        bars = ("probability", "probability_of_label")
        rows = [row | {name: Bar(row[name]) for name in bars} for row in self.to_json()[:ROWS_SHOWN]]
        title = "Mistakes, the most confident first" if self else "No mistakes"
        return Html(title).table(rows, more=len(self) - ROWS_SHOWN).text()


def worst_mistakes(
    logits: Tensor, labels: Tensor, rows: Tensor | None = None, count: int = 25, *, temperature: float = 1.0
) -> tuple[Mistake, ...]:
    """Return up to `count` wrong answers, the most confident first, then those with the least left for the label.

    Args:
        logits: float `[n, K]`.
        labels: int64 `[n]`.
        rows: int64 `[n]`, each sample's row in the set, which decides what is still equal; its position if None.
        count: how many at most.
        temperature: as fitted on validation.
    """
    rows = torch.arange(len(labels), device=labels.device) if rows is None else rows
    predicted = logits.argmax(dim=1)
    wrong = (predicted != labels).nonzero()[:, 0]
    label, guess, row = labels[wrong], predicted[wrong], rows[wrong]
    softmax = Softmax.of(logits[wrong], temperature)
    confidence, left = softmax.confidence, softmax.probability(label)
    order = np.lexsort([row.cpu(), left.cpu(), -confidence.cpu()])[:count].tolist()
    columns = [column[order].tolist() for column in (row, label, guess, confidence, left)]
    return tuple(Mistake(*mistake) for mistake in zip(*columns, strict=True))


def shown_positions(logits: Tensor, labels: Tensor, *, temperature: float) -> list[int]:
    """Return the positions of the images that a run's figures show: the first, then the worst mistakes.

    Args:
        logits: of the test split, float `[n, K]` with n >= 1.
        labels: int64 `[n]`.
        temperature: as fitted on validation.
    """
    mistakes = worst_mistakes(logits, labels, count=MISTAKES_SHOWN, temperature=temperature)
    return [0, *(mistake.row for mistake in mistakes if mistake.row != 0)]
