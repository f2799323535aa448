"""Comparison of two recipes, each trained with several seeds: what is due to the seeds, and what to the images.

One model of each recipe says little about the recipes: another seed gives another model, and another sample of images
another score. Both are drawn anew when somebody repeats the experiment, so both belong into the interval.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.evaluation.comparison import SPLIT_NAMES, Verdict, p_words
from firstlight.evaluation.intervals import Estimate
from firstlight.evaluation.paired import LEVEL, POWER, around
from firstlight.tables import Html

MIN_SEEDS = 2


@dataclass(frozen=True, slots=True)
class Spread:
    """The difference between the means of two recipes, and where its standard error comes from.

    Attributes:
        difference: of the means, second minus first; with Student's interval.
        image_error: the part of the standard error that more images would lower.
        seed_error: the part that more seeds would lower.
        degrees: of freedom of the standard error (Satterthwaite).
        p: how likely such a difference is if both recipes are equally good.
    """

    difference: Estimate
    image_error: float
    seed_error: float
    degrees: float
    p: float

    @property
    def error(self) -> float:
        """The standard error of the difference."""
        return math.hypot(self.image_error, self.seed_error)


@dataclass(frozen=True, repr=False)
class RecipeComparison:
    """Which of two recipes is better: each trained with several seeds, and scored on the same images.

    Differences are those of the second recipe, b, minus the first, a.

    Attributes:
        recipes: the names of a and b, for people.
        split: which images these are.
        n: images.
        seeds: how often each recipe was trained.
        verdict: `a` or `b` if that one is better (p < 0.05), else `cannot tell`.
        accuracy: of a and b, seed by seed.
        log_loss: likewise, in nats.
        accuracy_difference: of the means over seeds, with an interval for other seeds and other images.
        log_loss_difference: likewise; below 0 if b is better.
        p: how likely a difference in accuracy like this is if both recipes are equally good.
        detectable: the smallest difference in accuracy that this many seeds and images would show 80% of the time.
        image_error: standard error of the difference in accuracy that is due to the images.
        seed_error: that which is due to the seeds.
        runs: the folders of the runs, of a and b, seed by seed.
        notes: what a person should know about this comparison.
    """

    recipes: tuple[str, str]
    split: str
    n: int
    seeds: int
    verdict: Verdict
    accuracy: tuple[tuple[float, ...], tuple[float, ...]]
    log_loss: tuple[tuple[float, ...], tuple[float, ...]]
    accuracy_difference: Estimate
    log_loss_difference: Estimate
    p: float
    detectable: float
    image_error: float
    seed_error: float
    runs: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        ahead, behind = map(escape_name, self.recipes)
        found, means = self.accuracy_difference, [sum(scores) / self.seeds for scores in self.accuracy]
        low, high = -found.high, -found.low
        if found.value > 0:
            ahead, behind, means, low, high = behind, ahead, means[::-1], found.low, found.high
        where = f"on {self.n:,} {SPLIT_NAMES.get(self.split, self.split)} pictures, over {self.seeds} seeds each"
        more = f"{100 * abs(found.value):.1f} points more [{100 * low:.1f}, {100 * high:.1f}]"
        if self.verdict != "cannot tell":
            return (
                f"{ahead} is better than {behind} {where}: it gets {means[0]:.1%} of them right instead of "
                f"{means[1]:.1%}, {more} (p {p_words(self.p)})"
            )
        return (
            f"cannot tell whether {ahead} is better than {behind} {where}: it gets {more} of them right, which may be "
            f"chance (p {p_words(self.p)}); n = {self.n:,} and {self.seeds} seeds would show a difference of "
            f"{100 * self.detectable:.1f} points or more"
        )

    @property
    def spread_words(self) -> str:
        """How much of the uncertainty is due to the images and how much to the seeds, in words."""
        images, seeds = (f"{100 * error:.1f}" for error in (self.image_error, self.seed_error))
        most = "pictures" if self.image_error >= self.seed_error else "seeds"
        return (
            f"standard error of the difference: {images} points from the pictures, {seeds} from the seeds; "
            f"more {most} would narrow it most"
        )

    def __str__(self) -> str:
        return "\n".join((self.headline, self.spread_words, *self.notes))

    def __repr__(self) -> str:
        found = self.accuracy_difference
        return f"RecipeComparison({self.verdict!r}, b minus a {found}, {self.seeds} seeds)"

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and finite numbers."""
        pairs = ("recipes", "accuracy", "log_loss", "runs")
        return {
            name: dict(zip("ab", value, strict=True)) if name in pairs else value
            for name, value in asdict(self).items()
        }

    def _repr_html_(self) -> str:
        rows = [
            {"recipe": name, "seed": seed, "accuracy": accuracy, "log loss": loss}
            for name, accuracies, losses in zip(self.recipes, self.accuracy, self.log_loss, strict=True)
            for seed, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True))
        ]
        return Html(self.headline, self.spread_words).table(rows).notes(self.notes).text()


def compare_repeated(
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    losses: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    recipes: tuple[str, str] = ("a", "b"),
    split: str = "valid",
) -> RecipeComparison:
    """Return the comparison of two recipes by what their models, one for each seed, said about the same images.

    Args:
        right: of both recipes, whether each model got each image right, bool `[seeds, n]`.
        losses: the negative log probability of each label, float64 `[seeds, n]`.
        recipes: their names, for people.
        split: which images these are, for people.

    Raises:
        DataError: if there are fewer than two seeds or two images.
    """
    seeds, n = right[0].shape
    if seeds < MIN_SEEDS or n < 2:
        raise DataError(f"recipes are compared by at least two seeds and two pictures, not by {seeds} and {n}")
    found = crossed_difference(*(each.astype(np.float64) for each in right), resolution=1)
    loss = crossed_difference(*losses)
    verdict: Verdict = "cannot tell" if found.p >= LEVEL else "b" if found.difference.value > 0 else "a"
    quantiles = stdtrit(found.degrees, 1 - LEVEL / 2) + stdtrit(found.degrees, POWER)
    return RecipeComparison(
        recipes=recipes,
        split=split,
        n=n,
        seeds=seeds,
        verdict=verdict,
        accuracy=(tuple(right[0].mean(axis=1).tolist()), tuple(right[1].mean(axis=1).tolist())),
        log_loss=(tuple(losses[0].mean(axis=1).tolist()), tuple(losses[1].mean(axis=1).tolist())),
        accuracy_difference=found.difference,
        log_loss_difference=loss.difference,
        p=found.p,
        detectable=float(quantiles) * found.error,
        image_error=found.image_error,
        seed_error=found.seed_error,
    )


def crossed_difference(a: NDArray[np.float64], b: NDArray[np.float64], *, resolution: float = 0.0) -> Spread:
    """Return the difference between the means of two recipes, for other seeds and other images.

    Every model of a recipe scores every image, so scores vary with the image, with the seed, and with both together.
    The variance from images is that of the differences of each image's mean scores. The variance that each recipe's
    seeds add is that between its models' means, less what images alone make these differ by; it is 0 if that is all.

    Args:
        a: scores of the first recipe, float64 `[seeds, n]`, at least two of each.
        b: those of the second, which may have another number of seeds.
        resolution: what one image can change; the error is that of two more images on which the recipes differ by so
            much, so that models which all answer alike do not claim certainty.

    Source: B. D. Gallas, One-shot estimate of MRMC variance: AUC, Academic Radiology 2006, for means in place of AUC;
    degrees of freedom by F. E. Satterthwaite, Biometrics 1946.
    """
    n = a.shape[1]
    by_image = b.mean(axis=0) - a.mean(axis=0)
    from_images = float(by_image.var(ddof=1)) / n + 2 * resolution**2 / (n**2 * min(len(a), len(b)))
    from_seeds, uncertainty = 0.0, from_images**2 / (n - 1)
    for scores in (a, b):
        seeds, mean = len(scores), scores.mean()
        between = n * scores.mean(axis=1).var(ddof=1)
        rest = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + mean
        within = (rest**2).sum() / ((seeds - 1) * (n - 1))
        if between > within:
            from_seeds += float(between - within) / (n * seeds)
            squares = between**2 / (seeds - 1) + within**2 / ((seeds - 1) * (n - 1))
            uncertainty += float(squares) / (n * seeds) ** 2
    variance = from_images + from_seeds
    degrees = variance**2 / uncertainty if uncertainty > 0 else n - 1.0
    difference = around(float(by_image.mean()), math.sqrt(variance), n, degrees=degrees)
    p = 2 * float(stdtr(degrees, -abs(difference.value) / math.sqrt(variance))) if variance > 0 else 1.0
    return Spread(difference, math.sqrt(from_images), math.sqrt(from_seeds), degrees, p)
