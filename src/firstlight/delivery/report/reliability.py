"""Whether the model's probabilities can be believed: how sure it is against how often it is right."""

import math
from dataclasses import dataclass

import numpy as np

from firstlight.delivery.report.answers import Answers
from firstlight.delivery.report.wording import percent, points
from firstlight.evaluation.intervals import NORMAL_QUANTILE, Estimate, proportion

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


def calibration_sentence(answers: Answers) -> str:
    """Return whether the probabilities can be believed on average, and by how much they are off."""
    said, right = float(answers.confidence.mean()), float(answers.right.mean())
    spread = math.sqrt(float((answers.confidence * (1 - answers.confidence)).sum())) / len(answers)
    both = f"on average it is {percent(said)} sure, and right {percent(right)} of the time"
    if abs(said - right) <= NORMAL_QUANTILE * spread:
        return f"You can take its probabilities at their word: {both}."
    return f"Its probabilities are {points(said - right)} too {'high' if said > right else 'low'}: {both}."
