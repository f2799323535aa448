"""Labels planted wrong, 5 % of them, and how well they are found, beside cleanlab on the same held-out probabilities.

About half an hour of one processor for five seeds; the features of clothing10 and CIFAR-10 take 4 more the first time.
"""

import gzip
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from trust_parts.goal import Goal

RATE = 0.05
KINDS = ("uniform", "spread over look-alikes", "to one look-alike")
IMAGES_OF_A_CLASS = 600
GOALS = {  # average precision for each kind; precision and recall of flags for the first
    "clothing10": ((0.80, 0.74, 0.55), (0.90, 0.45)),
    "CIFAR-10, 6,000": ((0.80, 0.66, 0.55), (0.90, 0.40)),
    "Fashion-MNIST, 6,000": ((0.95, 0.86, 0.85), (0.95, 0.65)),
    "MNIST, 6,000": ((0.99, 0.98, 0.98), (0.97, 0.85)),
}
Array = np.ndarray[Any, Any]


def measure(seeds: range, data_root: Path) -> Iterator[Goal]:
    """Yield the goals of each set."""
    from firstlight.evaluation.label_errors import find_label_errors
    from firstlight.training.label_check import held_out_logits

    for name, (precisions, flags) in GOALS.items():
        features, truth = features_of(name, data_root)
        classes, groups = int(truth.max()) + 1, np.arange(len(truth))
        alike = look_alikes(softmax(held_out_logits(features, truth, groups, classes)), truth)
        for kind, least in zip(KINDS, precisions, strict=True):
            found: dict[str, list[float]] = {key: [] for key in ("ours", "peer", "precision", "recall")}
            peer_flags: list[tuple[float, float]] = []
            for seed in seeds:
                labels, wrong = planted(truth, kind, alike, seed)
                logits = held_out_logits(features, labels, groups, classes, seed=seed)
                errors = find_label_errors(logits, labels, features)
                found["ours"].append(average_precision_score(wrong, errors.score))
                found["precision"].append(wrong[errors.flagged].mean() if errors.flagged.any() else 0.0)
                found["recall"].append(errors.flagged[wrong].mean())
                if (peer := cleanlabs(labels, softmax(logits))) is not None:
                    found["peer"].append(average_precision_score(wrong, -peer[0]))
                    peer_flags.append((wrong[peer[1]].mean() if peer[1].any() else 0.0, peer[1][wrong].mean()))
            words = f"cleanlab {np.mean(found['peer']):.2f}" if peer_flags else ""
            yield goal(f"{name}: average precision, {kind}", found["ours"], least, words)
            if kind == KINDS[0]:
                for place, key in enumerate(("precision", "recall")):
                    words = f"cleanlab {np.mean([pair[place] for pair in peer_flags]):.2f}" if peer_flags else ""
                    yield goal(f"{name}: {key} of flags, {kind}", found[key], flags[place], words)


def goal(name: str, values: list[float], least: float, peer: str) -> Goal:
    """Return a goal with the mean over the seeds, and the lowest and the highest of them."""
    return Goal(
        name=name,
        value=float(np.mean(values)),
        low=min(values),
        high=max(values),
        n=len(values),
        least=least,
        peer=peer,
    )


def planted(truth: Array, kind: str, alike: Array, seed: int) -> tuple[Array, Array]:
    """Return labels of which some are wrong, and which."""
    rng = np.random.default_rng(seed)
    wrong = np.zeros(len(truth), bool)
    wrong[rng.choice(len(truth), round(RATE * len(truth)), replace=False)] = True
    labels = truth.copy()
    for row in np.flatnonzero(wrong):
        others = np.ones(len(alike)) - np.eye(len(alike))[truth[row]] if kind == KINDS[0] else alike[truth[row]]
        labels[row] = others.argmax() if kind == KINDS[2] else rng.choice(len(others), p=others / others.sum())
    return labels, wrong


def look_alikes(probabilities: Array, truth: Array) -> Array:
    """Return for each class how much its images look like each other class; rows sum to one."""
    alike = np.zeros((probabilities.shape[1],) * 2)
    np.add.at(alike, truth, probabilities)
    np.fill_diagonal(alike, 0)
    return alike / alike.sum(axis=1, keepdims=True)


def softmax(logits: Array) -> Array:
    """Return probabilities."""
    values = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def cleanlabs(labels: Array, probabilities: Array) -> tuple[Array, Array] | None:
    """Return cleanlab's quality of each label, and which it calls an issue; None if it is not installed."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return None
    return get_label_quality_scores(labels, probabilities), find_label_issues(labels, probabilities, n_jobs=1)


def features_of(name: str, data_root: Path) -> tuple[Array, Array]:
    """Return what `check --labels` sees of a set, float32 `[n, D]`, and the labels."""
    from firstlight.data.sources import load_data
    from firstlight.training.label_check import label_features
    from firstlight.training.recipe import Recipe
    from firstlight.training.transfer.patches import patch_features

    if "MNIST" in name:
        folder = data_root / ("fashion-mnist" if "Fashion" in name else "mnist")
        images = np.frombuffer(
            gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
        )
        labels = np.frombuffer(
            gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
        )
        rows = np.arange(10 * IMAGES_OF_A_CLASS)
        return patch_features(images.reshape(-1, 28, 28, 1), rows), labels[rows].astype(np.int64)
    if name == "clothing10":
        features, data = label_features(load_data(data_root / "clothing10.tar"), Recipe())
        return np.array(features), data.samples.labels[data.split.train]
    with tempfile.TemporaryDirectory() as folder, tarfile.open(data_root / "cifar10-jpeg.tar.gz") as archive:
        wanted = [
            member
            for member in archive.getmembers()
            if member.name.startswith("train/") and member.isfile() and int(member.name[-8:-4]) < IMAGES_OF_A_CLASS
        ]
        archive.extractall(folder, members=wanted, filter="data")
        recipe = Recipe.of(model="timm:tf_efficientnet_lite0")
        features, data = label_features(load_data(Path(folder) / "train"), recipe)
        return np.array(features), data.samples.labels[data.split.train]
