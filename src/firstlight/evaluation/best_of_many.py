"""Is the best of many better than the one that they are compared with? Paired, with what picking it adds to chance.

Whoever picks the best of twenty classifiers by their scores picks luck as well: its score is too high, and a difference
that would be rare for one is not rare for the best of twenty.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.evaluation.intervals import Estimate
from firstlight.evaluation.paired import LEVEL, accuracy_difference, detectable_difference, mcnemar_mid_p
from firstlight.runtime.seeds import derive_seed

DRAWS = 500
MOST_WORK = 10**10  # multiplications of all draws together


@dataclass(frozen=True)
class BestOfMany:
    """The best of many against one, on the same images.

    Attributes:
        n: images.
        candidates: how many were compared with the one.
        difference: accuracy of the best minus that of the one; its interval is wide enough for all candidates together.
        p: McNemar's mid-p value, times the number of candidates (Bonferroni): how likely the best of them differs this
            much if all are as good as the one.
        detectable: the smallest difference that so many images would show 80% of the time; None if they are too few.
        is_better: whether the best is better beyond chance.
    """

    n: int
    candidates: int
    difference: Estimate
    p: float
    detectable: float | None
    is_better: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def best_against_one(best: NDArray[np.bool_], one: NDArray[np.bool_], candidates: int) -> BestOfMany:
    """Compare the best of so many candidates with one that was not picked.

    Args:
        best: which images it got right, bool `[n]`, n >= 1.
        one: likewise.
        candidates: from which the best was picked, 1 or more.
    """
    n, wins, losses = len(best), int((best & ~one).sum()), int((one & ~best).sum())
    level = LEVEL / candidates
    p = min(1.0, candidates * mcnemar_mid_p(wins, losses))
    return BestOfMany(
        n=n,
        candidates=candidates,
        difference=accuracy_difference(wins, losses, n, level),
        p=p,
        detectable=detectable_difference((wins + losses) / n, n, level),
        is_better=p < LEVEL and wins > losses,
    )


def optimism(hits: Sequence[NDArray[np.bool_]], seed: int = 0) -> float:
    """Return how much too high the accuracy of the best is, because it was picked by the images that it is measured on.

    In each draw, the best on images drawn with replacement is picked, and its accuracy on these is compared with that
    on the images that were not drawn.

    Args:
        hits: which images each candidate got right, bool `[n]` each.
        seed: of the draws.

    Source: I. Tsamardinos, E. Greasidou and G. Borboudakis, Bootstrapping the out-of-sample predictions for efficient
    and accurate cross-validation, Machine Learning 2018.
    """
    right = np.stack(list(hits)).astype(np.float32)
    n, random = right.shape[1], np.random.default_rng(derive_seed(seed, "optimism"))
    gaps = []
    for _ in range(min(DRAWS, 1 + MOST_WORK // right.size)):
        times = np.bincount(random.integers(0, n, n), minlength=n).astype(np.float32)
        left = times == 0
        if not left.any():
            continue
        drawn = right @ times / n
        best = int(drawn.argmax())
        gaps.append(float(drawn[best] - right[best, left].mean()))
    return max(0.0, float(np.mean(gaps))) if gaps else 0.0
