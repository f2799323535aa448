"""Comparison of two classifiers on the same images."""

import numpy as np
from numpy.typing import NDArray

from firstlight.runtime.seeds import derive_seed

BOOTSTRAP_DRAWS = 10_000


def chance_better(hits: NDArray[np.bool_], than: NDArray[np.bool_], seed: int = 0) -> float:
    """Return how often the first predictions beat the second when images are resampled: a paired bootstrap.

    Args:
        hits: of one rung, bool `[n]`.
        than: of another, on the same images.
        seed: of the draws.

    Returns:
        the fraction of the draws, ties counted half; 0.5 if the two are right on the same images.
    """
    wins, losses, count = int((hits & ~than).sum()), int((than & ~hits).sum()), len(hits)
    chances = (wins / count, losses / count, 1 - (wins + losses) / count)
    drawn = np.random.default_rng(derive_seed(seed, "bootstrap")).multinomial(count, chances, BOOTSTRAP_DRAWS)
    difference = drawn[:, 0] - drawn[:, 1]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)
