"""What a frozen network sees in every image, computed once and kept in the cache.

A cached file is named by all that its numbers depend on: images, rows, fit, network, weights, and how the images
were varied. It is there when it is complete; an interrupted pass leaves nothing.
"""

import copy
import hashlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from firstlight.data.augment import Augment
from firstlight.data.dataset import Dataset
from firstlight.data.loader import Loader, scored_at_once
from firstlight.files import atomic_path, cache_folder
from firstlight.models.classifier import Classifier
from firstlight.models.inference import ready
from firstlight.models.library_network import LibraryNetwork
from firstlight.progress import progress

VERSION = 1  # counts up when the same images and weights give other features
SMALLEST_CUT = 0.5  # of an image's area, that a view may show

Features = NDArray[np.float32]


def extract_features(
    classifier: Classifier,
    data: Dataset,
    rows: NDArray[np.int64],
    weights: str,
    *,
    view: int = 0,
    mirror: bool = True,
    seed: int = 0,
) -> Features:
    """Give the features of some rows, from the cache or by one pass of the frozen network.

    Args:
        classifier: its network is a `LinearProbe` with its weights in place; its head does not matter.
        data: the images.
        rows: which of them, int64 `[n]`.
        weights: what names the weights, such as their SHA-256.
        view: 0 for the images as they are, 1 for their mirror images, more for random cuts of either.
        mirror: whether mirror images mean the same; if not, every view but the first is a random cut.
        seed: of the cuts.

    Returns:
        float32 `[n, D]`, memory-mapped.
    """
    key = _key(classifier, data, rows, weights, view=view, mirror=mirror, seed=seed)
    file = cache_folder() / "features" / f"{key}.npy"
    with suppress(OSError, ValueError):  # not there, or damaged
        return _opened(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as unfinished:
        _run_backbone(unfinished, classifier, data, rows, view=view, mirror=mirror, seed=seed)
    return _opened(file)


def _opened(file: Path) -> Features:
    features: Features = np.lib.format.open_memmap(file, mode="r")  # which, unlike `np.load`, takes nothing else
    return features


def view_of(view: int, *, mirror: bool) -> Augment:
    """Say how images are cut and mirrored at random in a view; the first two, where mirroring is allowed, are not."""
    return Augment() if view <= int(mirror) else Augment(flip=mirror, crop_scale=SMALLEST_CUT)


def _run_backbone(
    path: Path,
    classifier: Classifier,
    data: Dataset,
    rows: NDArray[np.int64],
    *,
    view: int,
    mirror: bool,
    seed: int,
) -> None:
    network = classifier.network
    assert isinstance(network, LibraryNetwork)
    device = classifier.mean.device
    network = ready(headless(classifier))
    size = scored_at_once(*data.store.input_size[1:])
    loader = Loader(data.store.pixels, data.samples.labels, rows, batch_size=size, device=device)
    shape = (len(rows), network.head.in_features)
    features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    words = "looking at every picture once" if view == 0 else f"looking at every picture, view {view + 1}"
    augment, done = view_of(view, mirror=mirror), 0
    with progress(words, len(rows)) as advance, torch.inference_mode():
        for batch in loader.epoch():
            images = batch.images.flip(3) if mirror and view == 1 else batch.images
            images, _ = augment(images, batch.labels, batch.rows, seed=seed, epoch=view, num_classes=1)
            features[done : done + len(images)] = network(images).float().cpu().numpy()
            done += len(images)
            advance(len(images))
    features.flush()


def headless(classifier: Classifier) -> Classifier:
    """Give a classifier that ends before its head: what it answers are features `[B, D]`."""
    network = classifier.network
    assert isinstance(network, LibraryNetwork)
    made = copy.copy(classifier)
    made._modules = {**classifier._modules, "network": nn.Sequential(network.entrance, network.body)}
    return made


def _key(
    classifier: Classifier,
    data: Dataset,
    rows: NDArray[np.int64],
    weights: str,
    *,
    view: int,
    mirror: bool,
    seed: int,
) -> str:
    varied = view_of(view, mirror=mirror)
    depends_on = (
        VERSION,
        torch.__version__,
        data.store.content_key,
        classifier.architecture,
        classifier.input_size,
        classifier.resize,
        classifier.mean.tolist(),
        classifier.std.tolist(),
        weights,
        view and (view, mirror, asdict(varied), varied != Augment() and seed),  # only cuts are random
        hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=16).hexdigest(),
    )
    return hashlib.blake2b(repr(depends_on).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
