"""Outputs on images that no choice was made by: of a linear head on pretrained features, and of small networks."""

import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import firstlight as fl
from firstlight.data.dataset import Dataset
from firstlight.data.samples import SPLIT_WORDS
from firstlight.runs.outputs import read_outputs
from firstlight.training.build import build_classifier
from firstlight.training.choice import choose_network
from firstlight.training.prepare import prepare
from firstlight.training.transfer.exact_head import Problem, fit_head
from firstlight.training.transfer.features import Features, extract_features
from trust_parts.stranger_sets import idx

BACKBONE = "timm:tf_efficientnet_lite0"  # whose weights are installed with firstlight
FOLDS = 10  # one of which, of the training images, chooses the penalty of the head
CIFAR_IMAGES = {"train": 600, "test": 200}  # of each class: the first by name


class HeldOut(NamedTuple):
    """Logits, float `[n, K]`, labels, int64 `[n]`, and the K classes."""

    logits: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]


def clothing(root: Path) -> HeldOut:
    """Return what a head says about all 713 images of validation and test; its penalty was chosen inside train."""
    return _of_head(str(root / "clothing10.tar"), ("valid", "test"))


def cifar(root: Path) -> HeldOut:
    """Return what a head on 6,000 images of CIFAR-10 says about 2,000 others; the features take five minutes, once."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(root / "cifar10-jpeg.tar.gz") as tar:
            for member in tar:
                split = member.name.partition("/")[0]
                if member.isfile() and int(Path(member.name).stem) < CIFAR_IMAGES[split]:
                    tar.extract(member, folder, filter="data")
        return _of_head(folder, ("test",))


def small_network(name: str, root: Path, seed: int) -> tuple[HeldOut, HeldOut]:
    """Return what an mlp, trained on some of an MNIST, says about 1,200 images of validation and the 10,000 of test.

    Args:
        name: `mnist` or `fashion-mnist`.
        root: folder with the sets.
        seed: of the 12,000, and of training.
    """
    pixels = {split: idx(root / name / f"{split}-images-idx3-ubyte.gz") for split in ("train", "t10k")}
    labels = {split: idx(root / name / f"{split}-labels-idx1-ubyte.gz").astype(np.int64) for split in pixels}
    order = np.random.default_rng(seed).permutation(len(pixels["train"]))
    some = {"train": order[:12_000], "valid": order[12_000:18_000]}
    data = {split: (pixels["train"][rows], labels["train"][rows]) for split, rows in some.items()}
    data["test"] = pixels["t10k"], labels["t10k"]
    with tempfile.TemporaryDirectory() as folder:
        run = fl.train(data, model="mlp", epochs=8, seed=seed, out=Path(folder) / "run")
        found = (read_outputs(run.folder, split) for split in ("valid", "test"))
        valid, test = (HeldOut(*map(torch.from_numpy, (one.logits, one.labels)), run.model.classes) for one in found)
    return valid, test


def halves(held_out: HeldOut, seed: int) -> tuple[HeldOut, HeldOut]:
    """Return two random halves, one to calibrate on and one to measure on."""
    order = torch.randperm(len(held_out.labels), generator=torch.Generator().manual_seed(seed))
    middle = len(order) // 2
    first, second = (
        HeldOut(held_out.logits[rows], held_out.labels[rows], held_out.classes)
        for rows in (order[:middle], order[middle:])
    )
    return first, second


def _of_head(source: str, splits: tuple[str, ...]) -> HeldOut:
    samples = fl.load_data(source)
    recipe = fl.Recipe().replace(model=BACKBONE)
    choice = choose_network(samples, recipe, device_type="cpu")
    data, recipe = prepare(samples, recipe.replace(model=choice.network.name), choice.network)
    assert choice.weights is not None
    classifier = build_classifier(data, recipe, choice.network, choice.weights, torch.device("cpu"))

    def of(split: str) -> tuple[Features, NDArray[np.int64]]:
        rows = _rows(data, split)
        return np.array(extract_features(classifier, data, rows, choice.weights.sha256)), samples.labels[rows]

    features, labels = of("train")
    aside = np.arange(len(labels)) % FOLDS == 0
    problem = Problem(features[~aside], labels[~aside], len(samples.classes), None)
    head = fit_head(problem, features[aside], labels[aside])
    seen = [of(split) for split in splits]
    logits = torch.cat([head.logits(some) for some, _ in seen])
    return HeldOut(logits, torch.from_numpy(np.concatenate([some for _, some in seen])), samples.classes)


def _rows(data: Dataset, split: str) -> NDArray[np.int64]:
    """Return the rows of the set's own split; train is all of it, though a run would set some aside for validation."""
    assert data.samples.splits is not None
    return np.flatnonzero(data.samples.splits == SPLIT_WORDS[split])
