"""Prediction sets: how often they hold the right class, and how many classes they hold, beside MAPIE's.

Over 200 random halves of held-out images, the sets are calibrated on one half, with its temperature, and measured on
the other. It takes one minute, and five more for the features the first time.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firstlight.evaluation.calibration import fit_temperature
from firstlight.evaluation.conformal import SetScores, score_sets, set_quantiles
from firstlight.models.trust import prediction_sets
from trust_parts.goal import Goal
from trust_parts.held_out import HeldOut, cifar, clothing, halves

RESPLITS = 200
SETS = {"clothing10": clothing, "CIFAR-10": cifar}


def measure(seeds: range, data_root: Path) -> Iterator[Goal]:
    """Yield coverage, size and per-class coverage on each set; of the seeds, only the first is used."""
    for name, held_out_of in SETS.items():
        held_out = held_out_of(data_root)
        ours, by_class, theirs = [], [], []
        for number in range(RESPLITS):
            first, second = halves(held_out, seeds.start * RESPLITS + number)
            temperature = fit_temperature(first.logits, first.labels)
            overall, of_class = set_quantiles(first.logits, first.labels, temperature)
            probabilities = (second.logits / temperature).softmax(dim=1)
            ours.append(score_sets(prediction_sets(probabilities, overall), second.labels, second.classes))
            by_class.append(score_sets(prediction_sets(probabilities, of_class), second.labels, second.classes))
            if (sizes := mapie_sizes(first, second, temperature)) is not None:
                theirs.append(sizes)
        yield from goals(name, ours, by_class, theirs)


def goals(name: str, ours: list[SetScores], by_class: list[SetScores], theirs: list[float]) -> Iterator[Goal]:
    """Yield what was measured on one set."""
    coverage, sizes = (np.array([getattr(one, key) for one in ours], object) for key in ("coverage", "size"))
    rates = np.array([one.value for one in coverage])
    size, peer = float(np.mean(sizes)), float(np.mean(theirs)) if theirs else None
    yield Goal(
        name=f"{name}: coverage of 90% sets", value=rates.mean(), low=rates.min(), high=rates.max(), n=len(ours),
        least=0.895, most=0.910, note="lowest and highest resplit",
    )  # fmt: skip
    yield Goal(
        name=f"{name}: classes in a set", value=size, low=min(sizes), high=max(sizes), n=len(ours),
        most=None if peer is None else round(peer + 0.02, 3), peer="" if peer is None else f"MAPIE LAC: {peer:.3f}",
    )  # fmt: skip
    for words, scores in (("overall", ours), ("by class", by_class)):
        of_class = np.array([[one.coverage.value for one in score.per_class] for score in scores]).mean(axis=0)
        worst = int(of_class.argmin())
        yield Goal(
            name=f"{name}: coverage of the worst class, sets {words}", value=of_class[worst], n=len(scores),
            note=f"{scores[0].per_class[worst].name}; {np.mean([one.size for one in scores]):.2f} classes in a set",
        )  # fmt: skip


def mapie_sizes(first: HeldOut, second: HeldOut, temperature: float) -> float | None:
    """Return the mean size of MAPIE's LAC sets; None if it is not installed."""
    try:
        from mapie.classification import SplitConformalClassifier
    except ImportError:
        return None

    def probabilities(held_out: HeldOut) -> Any:
        return (held_out.logits.double() / temperature).softmax(dim=1).numpy()

    model = Given(len(first.classes))
    conformal = SplitConformalClassifier(model, confidence_level=0.9, prefit=True, conformity_score="lac")
    conformal.conformalize(probabilities(first), first.labels.numpy())
    _, sets = conformal.predict_set(probabilities(second))
    return float(torch.from_numpy(sets[:, :, 0]).sum(dim=1).double().mean())


class Given:
    """An estimator of scikit-learn whose probabilities are its inputs."""

    def __init__(self, num_classes: int) -> None:
        self.classes_ = np.arange(num_classes)
        self.is_fitted_ = True

    def fit(self, inputs: Any, labels: Any) -> "Given":
        """Do nothing."""
        return self

    def predict(self, inputs: Any) -> Any:
        """Return the most probable classes."""
        return np.asarray(inputs).argmax(axis=1)

    def predict_proba(self, inputs: Any) -> Any:
        """Return the inputs."""
        return np.asarray(inputs)

    def __sklearn_is_fitted__(self) -> bool:
        return True
