"""Calibration: the calibration error on images that the temperature was not fitted on, beside that of chance alone.

For `clothing10` and CIFAR-10 each seed fits the temperature on one random half of the held-out images and measures on
the other; for MNIST and Fashion-MNIST it trains a small network and measures on the 10,000 test images. It takes five
minutes, and five more for the features the first time.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from firstlight.evaluation.calibration import fit_temperature
from firstlight.evaluation.reliability import Calibration, calibration_of
from firstlight.evaluation.softmax import Softmax
from trust_parts.goal import Goal
from trust_parts.held_out import HeldOut, cifar, clothing, halves, small_network

OF_HEADS = {"clothing10": clothing, "CIFAR-10": cifar}
OF_NETWORKS = {"MNIST": "mnist", "Fashion-MNIST": "fashion-mnist"}


def measure(seeds: range, data_root: Path) -> Iterator[Goal]:
    """Yield the difference from chance, and its p-value, on each set."""
    for name, held_out_of in OF_HEADS.items():
        held_out = held_out_of(data_root)
        yield from goals(name, [of(*halves(held_out, seed)) for seed in seeds])
    for name, words in OF_NETWORKS.items():
        yield from goals(name, [of(*small_network(words, data_root, seed)) for seed in seeds])


def of(fitted_on: HeldOut, measured_on: HeldOut) -> Calibration:
    """Return the calibration on some images, after the temperature was fitted on others."""
    temperature = fit_temperature(fitted_on.logits, fitted_on.labels)
    confidence = Softmax.of(measured_on.logits, temperature).confidence
    return calibration_of(confidence, measured_on.logits.argmax(dim=1) == measured_on.labels)


def goals(name: str, found: list[Calibration]) -> Iterator[Goal]:
    """Yield what was measured on one set."""
    differences, chances = ([getattr(one, key) for one in found] for key in ("difference", "p"))
    error, perfect = (np.mean([getattr(one, key) for one in found]) for key in ("ece", "perfect"))
    yield Goal(
        name=f"{name}: ECE beyond that of a perfect model, n = {found[0].n:,}", value=float(np.mean(differences)),
        low=min(differences), high=max(differences), n=len(found), most=0.01,
        note=f"ECE {error:.4f}, of a perfect model {perfect:.4f}",
    )  # fmt: skip
    yield Goal(
        name=f"{name}: p of that, median", value=float(np.median(chances)), low=min(chances), high=max(chances),
        n=len(found), least=0.05,
    )  # fmt: skip
