"""Whether the model's probabilities can be believed: how sure it is against how often it is right."""

from dataclasses import dataclass

import numpy as np

from firstlight.delivery.report.answers import Answers
from firstlight.evaluation.intervals import Estimate, proportion

BINS = 10  # with about the same number of images each
FEWEST_IN_BIN = 10


@dataclass(frozen=True)
class Bin:
    """Images of about the same confidence: its mean, and how many of them were right."""

    confidence: float
    accuracy: Estimate


def reliability_of(answers: Answers) -> tuple[Bin, ...]:
    """Return bins of the images by confidence, the least sure first; each holds about the same number."""
    count = max(1, min(BINS, len(answers) // FEWEST_IN_BIN))
    order = np.argsort(answers.confidence, kind="stable")
    return tuple(
        Bin(float(answers.confidence[part].mean()), proportion(int(answers.right[part].sum()), len(part)))
        for part in np.array_split(order, count)
        if len(part)
    )
