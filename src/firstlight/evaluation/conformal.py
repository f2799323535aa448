"""Prediction sets: quantiles of validation images, so that a set of classes holds the right one as often as promised.

The quantile has a finite-sample correction: over all draws of n validation images and one more image, the set of that
image holds its label with a probability of at least the coverage, whatever the model. Nothing is drawn at random, so an
image always has the same set; where many probabilities are equal, sets cover a little more.

Torch is imported where it is used: reading a record does not wait for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from firstlight.evaluation.intervals import Estimate, proportion
from firstlight.models.trust import COVERAGE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClassSets:
    """The prediction sets of one class's images: how many hold it, and how many classes they hold on average."""

    name: str
    coverage: Estimate
    size: float


@dataclass(frozen=True, slots=True)
class SetScores:
    """How prediction sets did on images that nothing was learned from.

    Attributes:
        coverage: of the images, the fraction whose set holds the right class.
        size: the mean number of classes in a set.
        sizes: how many images have a set of each size, as pairs of a size and a count, smallest size first.
        single: the fraction of images whose set holds one class, so that its answer is accepted.
        single_accuracy: of these, the fraction whose answer is right.
        per_class: the same of each class, in the order of the classes; with 0 images where there are none.
    """

    coverage: Estimate
    size: float
    sizes: tuple[tuple[int, int], ...]
    single: Estimate
    single_accuracy: Estimate
    per_class: tuple[ClassSets, ...]

    @property
    def worst_class(self) -> ClassSets | None:
        """The class whose images are covered least; None if there are no images."""
        measured = [one for one in self.per_class if one.coverage.n]
        return min(measured, key=lambda one: one.coverage.value, default=None)


def conformal_quantile(scores: "Tensor", coverage: float = COVERAGE) -> float:
    """Return the score that at least `coverage` of all images stay below or reach, from a sample of them.

    It is the k-th smallest of n scores, with k = ceil((n + 1) coverage), or 1, the highest score there is, if n is too
    small for that: below 9 for a coverage of 0.9.

    Args:
        scores: 1 - the probability of the label, float `[n]` in 0..1; one that is no number counts as 1.
        coverage: above 0 and below 1.

    Source: V. Vovk, A. Gammerman and G. Shafer, Algorithmic learning in a random world, 2005, chapter 2.
    """
    exact = Fraction(str(coverage)) * (len(scores) + 1)
    place = -(-exact.numerator // exact.denominator)  # rounded up, without the errors of floating point
    if place > len(scores):
        return 1.0
    return float(scores.double().nan_to_num(nan=1.0).kthvalue(place).values)


def set_quantiles(
    logits: "Tensor", labels: "Tensor", temperature: float, coverage: float = COVERAGE
) -> "tuple[float, Tensor]":
    """Return the quantile of all images, and those of each class's images, float64 `[K]`.

    Args:
        logits: float `[n, K]`, of images that were not trained on.
        labels: int64 `[n]`.
        temperature: by which logits are divided.
        coverage: above 0 and below 1.
    """
    import torch

    from firstlight.evaluation.softmax import Softmax

    scores = 1 - Softmax.of(logits, temperature).probability(labels).clamp(0, 1)
    by_class = [conformal_quantile(scores[labels == label], coverage) for label in range(logits.shape[1])]
    return conformal_quantile(scores, coverage), torch.tensor(by_class, dtype=torch.float64)


def score_sets(inside: "Tensor", labels: "Tensor", classes: Sequence[str]) -> SetScores:
    """Return how sets did, which classes each image's set holds being known.

    Args:
        inside: bool `[n, K]`, at least one class for each image.
        labels: int64 `[n]`.
        classes: the K names.
    """
    import torch

    held = inside.gather(1, labels[:, None])[:, 0]
    sizes = inside.sum(dim=1)
    single = sizes == 1
    n, counts = len(labels), [int(count) for count in sizes.bincount()]
    images = labels.bincount(minlength=len(classes)).tolist()
    hits = labels[held].bincount(minlength=len(classes)).tolist()
    totals = torch.bincount(labels, weights=sizes.double(), minlength=len(classes)).tolist()
    return SetScores(
        coverage=proportion(int(held.sum()), n),
        size=sizes.double().mean().item() if n else 0.0,
        sizes=tuple((size, count) for size, count in enumerate(counts) if count),
        single=proportion(int(single.sum()), n),
        single_accuracy=proportion(int((single & held).sum()), int(single.sum())),
        per_class=tuple(
            ClassSets(name, proportion(hit, count), total / count if count else 0.0)
            for name, hit, count, total in zip(classes, hits, images, totals, strict=True)
        ),
    )
