"""The sets of classes that remain possible, on test images: how often they hold the right one, how large they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from firstlight.delivery.report.classes import Score, score_of
from firstlight.delivery.wording import between, counted, percent
from firstlight.evaluation.intervals import proportion
from firstlight.evaluation.softmax import blocks
from firstlight.models.trust import prediction_sets
from firstlight.runs.outputs import Outputs

MOST_SIZES = 8  # rows of the table; what is larger shares one


@dataclass(frozen=True)
class SizeRow:
    """Images whose set has so many classes: how many, their share, and how often the set held the right class."""

    size: str
    count: int
    share: float
    words: str
    coverage: Score


@dataclass(frozen=True)
class PossibleSets:
    """What the page says of prediction sets: a sentence or two, and a row for each size."""

    words: str
    rows: tuple[SizeRow, ...]


def possible_sets(outputs: Outputs, temperature: float, trust: Mapping[str, Any] | None) -> PossibleSets | None:
    """Return how the sets did on these images; None if the model has none.

    Args:
        outputs: of the test images.
        temperature: by which logits are divided.
        trust: the `trust` block of the model file.
    """
    if not trust or not len(outputs):
        return None
    size, held = np.zeros(len(outputs), np.int64), np.zeros(len(outputs), np.bool_)
    for rows in blocks(*outputs.logits.shape):
        probabilities = (torch.from_numpy(outputs.logits[rows]).double() / temperature).softmax(dim=1)
        inside = prediction_sets(probabilities, trust["set_quantile"], trust["coverage"])
        size[rows] = inside.sum(dim=1).numpy()
        held[rows] = inside.gather(1, torch.from_numpy(outputs.labels[rows])[:, None])[:, 0].numpy()
    covered, alone = proportion(int(held.sum()), len(held)), int((size == 1).sum())
    words = (
        f"For each picture the model lists the classes that remain possible. The list held the right class for "
        f"{percent(covered.value)} of {counted(len(held), 'test picture')} (95% interval {between(covered)}; "
        f"the goal is {percent(trust['coverage'], 0)}). It named {size.mean():.2f} classes on average, and only one "
        f"for {alone:,} of the pictures."
    )
    return PossibleSets(words, tuple(_row(each, size, held) for each in _sizes(size)))


def _sizes(size: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Return the sizes of the rows of the table, each as its lowest and its highest."""
    found = np.unique(size).tolist()
    if len(found) <= MOST_SIZES:
        return [(each, each) for each in found]
    return [*((each, each) for each in found[: MOST_SIZES - 1]), (found[MOST_SIZES - 1], found[-1])]


def _row(ends: tuple[int, int], size: np.ndarray[Any, Any], held: np.ndarray[Any, Any]) -> SizeRow:
    low, high = ends
    members = (size >= low) & (size <= high)
    count, share = int(members.sum()), float(members.mean())
    name = counted(low, "class", "classes") if low == high else f"{low:,} to {high:,} classes"
    return SizeRow(name, count, share, percent(share), score_of(proportion(int(held[members].sum()), count)))
