"""`Comparison` of two classifiers on the same images, and `compare_logits`, which makes one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.evaluation.intervals import Estimate
from firstlight.evaluation.paired import (
    LEVEL,
    accuracy_difference,
    around,
    detectable_difference,
    holm,
    images_needed,
    mcnemar_mid_p,
    mean_difference,
)
from firstlight.tables import Html, data_frame

if TYPE_CHECKING:
    from pandas import DataFrame

Verdict = Literal["a", "b", "cannot tell"]

SMALLEST_P = 0.0001  # that people are shown
SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}  # for people


@dataclass(frozen=True, slots=True)
class ClassDifference:
    """How much more often the second model recognizes a class.

    Attributes:
        name: of the class.
        recall: the fraction of its images that each got right; n is how many it has.
        difference: of the recalls, second minus first; its interval is wide enough for all classes together.
        p: McNemar's mid-p value, corrected for the number of classes (Holm).
    """

    name: str
    recall: tuple[float, float]
    difference: Estimate
    p: float


class Disagreement(NamedTuple):
    """An image that only one of two models got right: its name and label, and both answers; classes by name."""

    image: str
    label: str
    a: str
    b: str


@dataclass(frozen=True, repr=False)
class Comparison:
    """Which of two models is better on the same images, with what is due to chance.

    Differences are those of the second model, b, minus the first, a, each with its 95% interval. Since both answered
    the same images, these are much narrower than the intervals of either model alone suggest.

    Attributes:
        models: the names of a and b, for people.
        split: `train`, `valid`, `test` or `all`; empty if it is none of these.
        n: images.
        verdict: `a` or `b` if that one is better (p < 0.05), else `cannot tell`.
        accuracy: of a and b.
        macro_f1: likewise.
        log_loss: likewise, in nats.
        accuracy_difference: Tango's score interval.
        macro_f1_difference: delta-method interval over the images.
        log_loss_difference: Student's interval; below 0 if b is better.
        p: McNemar's mid-p value: how likely a difference in accuracy like this is if both are equally good.
        detectable: the smallest difference in accuracy that n images would show 80% of the time; None if they are too
            few to show any.
        images_needed: about how many images would show the observed difference 80% of the time; None if there is none.
        both_right, only_a, only_b, both_wrong: how many images which of them got right.
        per_class: each class that has images.
        disagreements: the images that only one of them got right.
        notes: what a person should know about this comparison.
    """

    models: tuple[str, str]
    split: str
    n: int
    verdict: Verdict
    accuracy: tuple[float, float]
    macro_f1: tuple[float, float]
    log_loss: tuple[float, float]
    accuracy_difference: Estimate
    macro_f1_difference: Estimate
    log_loss_difference: Estimate
    p: float
    detectable: float | None
    images_needed: int | None
    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    per_class: tuple[ClassDifference, ...]
    disagreements: tuple[Disagreement, ...]
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        ahead, behind = map(escape_name, self.models)
        scores, found = self.accuracy, self.accuracy_difference
        low, high = -found.high, -found.low
        if found.value > 0:
            ahead, behind, scores, low, high = behind, ahead, scores[::-1], found.low, found.high
        pictures = " ".join(f"{self.n:,} {SPLIT_NAMES.get(self.split, '')} pictures".split())
        more, interval = f"{100 * abs(found.value):.1f} points", f"[{100 * low:z.1f}, {100 * high:z.1f}]"
        if self.verdict != "cannot tell":
            return (
                f"{ahead} is better than {behind} on {pictures}: it gets {scores[0]:.1%} of them right instead of "
                f"{scores[1]:.1%}, {more} more {interval} (p {p_words(self.p)})"
            )
        seen = f"it gets {more} more of them right {interval}, which may be chance (p {p_words(self.p)})"
        if found.value == 0:
            seen = f"both get {scores[0]:.1%} of them right, a difference of {more} {interval}"
        return f"cannot tell whether {ahead} is better than {behind} on {pictures}: {seen}; {self.power_words}"

    @property
    def power_words(self) -> str:
        """What these images could have shown, and how many would show the observed difference, in words."""
        if self.detectable is None:
            return f"n = {self.n:,} is too few to show any difference"
        shown = f"n = {self.n:,} would show a difference of {100 * self.detectable:.1f} points or more"
        if self.images_needed is None or self.images_needed <= self.n:
            return shown
        return f"{shown}, and one as small as this takes about {float(f'{self.images_needed:.2g}'):,.0f} pictures"

    @property
    def differing_classes(self) -> tuple[ClassDifference, ...]:
        """The classes that differ beyond chance, corrected for looking at all of them; the surest first."""
        found = (one for one in self.per_class if one.p < LEVEL)
        return tuple(sorted(found, key=lambda one: (one.p, -abs(one.difference.value))))

    def __str__(self) -> str:
        lines = [self.headline, f"{'':<13} a      b      b minus a"]
        lines += [f"{name:<13} {a:.3f}  {b:.3f}  {signed(found)}" for name, a, b, found in self.scores()]
        return "\n".join((*lines, *self.notes))

    def __repr__(self) -> str:
        return f"Comparison({self.verdict!r}, b minus a {points(self.accuracy_difference)}, n = {self.n:,})"

    def scores(self) -> list[tuple[str, float, float, Estimate]]:
        """Return each score: its name for people, that of a, that of b, and the difference."""
        return [
            ("accuracy", *self.accuracy, self.accuracy_difference),
            ("macro f1", *self.macro_f1, self.macro_f1_difference),
            ("log loss", *self.log_loss, self.log_loss_difference),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and finite numbers; of the disagreements only how many there are."""
        value = asdict(replace(self, disagreements=(), per_class=()))
        pairs = {name: dict(zip("ab", value.pop(name), strict=True)) for name in ("models", "accuracy", "macro_f1")}
        del value["disagreements"]
        return {
            **pairs,
            **value,
            "log_loss": dict(zip("ab", self.log_loss, strict=True)),
            "per_class": [asdict(one) | {"recall": dict(zip("ab", one.recall, strict=True))} for one in self.per_class],
            "notes": list(self.notes),
        }

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each class: its images, both recalls, their difference, and p.

        Raises:
            UserError: if pandas is not installed.
        """
        return data_frame(map(_class_row, self.per_class))

    def _repr_html_(self) -> str:
        rows = [{"": name, "a": a, "b": b, "b minus a": signed(found)} for name, a, b, found in self.scores()]
        shown = Html(self.headline).table(
            rows, " and ".join(f"{k}: {m}" for k, m in zip("ab", self.models, strict=True))
        )
        return shown.table([*map(_class_row, self.differing_classes)], "classes that differ").notes(self.notes).text()


def compare_logits(
    labels: NDArray[np.int64],
    logits: tuple[NDArray[np.float32], NDArray[np.float32]],
    classes: Sequence[str],
    *,
    temperatures: tuple[float, float] = (1.0, 1.0),
    models: tuple[str, str] = ("a", "b"),
    images: Sequence[str] | None = None,
    split: str = "",
) -> Comparison:
    """Return the comparison of two models by their logits for the same images.

    Args:
        labels: int64 `[n]` in 0..K-1, n >= 2.
        logits: of the first and of the second model, float `[n, K]` each.
        classes: the K names.
        temperatures: of both, as fitted on validation; they change only the log loss.
        models: their names, for people.
        images: the n names, for the disagreements; by default their positions.
        split: which images these are, `train`, `valid` or `test`, for people.

    Raises:
        DataError: if there are fewer than two images, or a logit is not finite.
    """
    n = len(labels)
    if n < 2:
        raise DataError(f"two models cannot be compared on {n} picture{'s' * (n != 1)}; give at least two")
    for name, values in zip(models, logits, strict=True):
        if broken := int((~np.isfinite(values).all(axis=1)).sum()):
            raise DataError(
                f"{escape_name(name)} gives no finite number for {broken:,} of {n:,} pictures; its weights are broken, "
                "train it again with a smaller `lr`"
            )
    first, second = (values.argmax(axis=1) for values in logits)
    right_a, right_b = first == labels, second == labels
    only_a, only_b = right_a & ~right_b, right_b & ~right_a
    losses, wins = int(only_a.sum()), int(only_b.sum())
    p, difference = mcnemar_mid_p(wins, losses), accuracy_difference(wins, losses, n)
    loss_a, loss_b = (log_losses(*of, labels) for of in zip(logits, temperatures, strict=True))
    f1_a, f1_b, f1_difference = _macro_f1_difference(labels, first, second, len(classes))
    rows = np.flatnonzero(only_a | only_b)
    return Comparison(
        models=models,
        split=split,
        n=n,
        verdict="cannot tell" if p >= LEVEL else "b" if wins > losses else "a",
        accuracy=(float(right_a.mean()), float(right_b.mean())),
        macro_f1=(f1_a, f1_b),
        log_loss=(float(loss_a.mean()), float(loss_b.mean())),
        accuracy_difference=difference,
        macro_f1_difference=f1_difference,
        log_loss_difference=mean_difference(loss_b - loss_a),
        p=p,
        detectable=detectable_difference((wins + losses) / n, n),
        images_needed=images_needed(difference.value, (wins + losses) / n),
        both_right=int((right_a & right_b).sum()),
        only_a=losses,
        only_b=wins,
        both_wrong=int((~right_a & ~right_b).sum()),
        per_class=_class_differences(labels, right_a, right_b, classes),
        disagreements=tuple(
            Disagreement(
                images[row] if images else str(row), classes[labels[row]], classes[first[row]], classes[second[row]]
            )
            for row in rows.tolist()
        ),
    )


def points(difference: Estimate) -> str:
    """Return a difference of two fractions in percentage points, as `+3.8 points [+0.5, +7.2]`."""
    value, low, high = (100 * end for end in (difference.value, difference.low, difference.high))
    return f"{value:+z.1f} points [{low:+z.1f}, {high:+z.1f}]"


def signed(difference: Estimate) -> str:
    """Return a difference with its interval, as `+0.038 [+0.005, +0.072]`."""
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def p_words(p: float) -> str:
    """Return a p value for people, as `= 0.023` or `< 0.0001`."""
    return f"= {p:.2g}" if p >= SMALLEST_P else f"< {SMALLEST_P}"


def _class_row(one: ClassDifference) -> dict[str, Any]:
    return {
        "class": one.name,
        "n": one.difference.n,
        "recall_a": one.recall[0],
        "recall_b": one.recall[1],
        "difference": one.difference.value,
        "difference_low": one.difference.low,
        "difference_high": one.difference.high,
        "p": one.p,
    }


def _class_differences(
    labels: NDArray[np.int64], right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], classes: Sequence[str]
) -> tuple[ClassDifference, ...]:
    """Return the differences in recall of the classes that have images, corrected for how many these are."""
    size = len(classes)
    images, hits_a, hits_b, losses, wins = (
        np.bincount(labels[rows], minlength=size)
        for rows in (slice(None), right_a, right_b, right_a & ~right_b, right_b & ~right_a)
    )
    present = np.flatnonzero(images).tolist()
    p_values = holm([mcnemar_mid_p(int(wins[k]), int(losses[k])) for k in present])
    level = LEVEL / len(present)
    return tuple(
        ClassDifference(
            classes[k],
            (float(hits_a[k] / images[k]), float(hits_b[k] / images[k])),
            accuracy_difference(int(wins[k]), int(losses[k]), int(images[k]), level),
            p,
        )
        for k, p in zip(present, p_values, strict=True)
    )


def log_losses(logits: NDArray[np.float32], temperature: float, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the negative log probability of each label, in nats, float64 `[n]`."""
    from torch import from_numpy

    from firstlight.evaluation.softmax import Softmax

    return Softmax.of(from_numpy(logits), temperature).log_loss(from_numpy(labels)).numpy()


def _macro_f1_difference(
    labels: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], size: int
) -> tuple[float, float, Estimate]:
    """Return both macro F1 and their difference.

    The standard error adds up what each image contributes to the difference (the delta method). As in an adjusted Wald
    interval, it is that of two more images on which only one model is right, so that few images, or models that answer
    alike, do not claim certainty.
    """
    (a, influence_a), (b, influence_b) = (_macro_f1(labels, predicted, size) for predicted in (first, second))
    n, counts = len(labels), np.bincount(labels, minlength=size)
    influence = influence_b - influence_a
    one_image = (1 / (counts[labels] * (counts > 0).sum())) ** 2  # what one more hit adds to the mean F1, squared
    error = float(np.sqrt((influence**2).sum() + 2 * one_image.mean()))
    return a, b, around(b - a, error, n, degrees=n - 1)


def _macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64], size: int) -> tuple[float, NDArray[np.float64]]:
    """Return the mean F1 of the classes that occur, and each image's influence on it, float64 `[n]`."""
    sizes = np.bincount(labels, minlength=size) + np.bincount(predicted, minlength=size)
    hits = np.bincount(labels[labels == predicted], minlength=size)
    present = int((sizes > 0).sum())
    weights, scores = 1 / (np.maximum(sizes, 1) * present), 2 * hits / np.maximum(sizes, 1)
    influence = np.where(labels == predicted, 2 * weights[labels], 0.0)
    influence -= (scores * weights)[labels] + (scores * weights)[predicted]
    return float(scores.sum() / present), influence
