"""Features of a frozen network, computed once and kept in the cache.

They are kept under a name that depends on all that their numbers depend on: images, rows, resizing, network, weights,
and how the images were varied. They are compared with their digests when they are opened; what is damaged is computed
again, and an interrupted pass leaves nothing.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.cache import OTHER_CACHE
from firstlight.data.augment import Augment
from firstlight.data.dataset import Dataset
from firstlight.data.loader import Loader, scoring_batch_size
from firstlight.disk import require_room
from firstlight.errors import TrainingError
from firstlight.escaping import escape_name
from firstlight.inference.optimized import optimized
from firstlight.models.classifier import Classifier
from firstlight.progress import progress
from firstlight.runtime.cache_groups import cache_writer
from firstlight.runtime.distributed import world
from firstlight.runtime.halving import in_halves
from firstlight.verified import Kind, VerifiedFolder, VerifiedWriter, found, kept

VERSION = 4  # counts up when the same images and weights give other features
FEATURES = Kind("features", VERSION, "features")
FEATURES_FILE = "features.npy"
TIMED_IMAGES = 16
MIN_CROP_AREA = 0.5  # of an image's area, in the random crops of later passes

Features = NDArray[np.float32]


def extract_features(
    classifier: Classifier,
    data: Dataset,
    rows: NDArray[np.int64],
    weights: str,
    *,
    feature_pass: int = 0,
    mirror: bool = True,
    seed: int = 0,
) -> Features:
    """Return the features of some rows, from the cache or by one pass of the frozen network.

    Args:
        classifier: with its weights in place; its head does not matter.
        data: the images.
        rows: which of them, int64 `[n]`.
        weights: what identifies the weights, such as their SHA-256.
        feature_pass: 0 for the images as they are, 1 for their mirror images, more for random crops of either.
        mirror: whether mirror images mean the same; if not, every pass but the first takes random crops.
        seed: of the crops.

    Returns:
        float32 `[n, D]`, memory-mapped.

    Raises:
        TrainingError: if they are not finite; such features are not kept.
        WriteError: if the cache cannot be written.
        UserError: if it has no room for them; this is told before any is computed.
    """
    key = _key(classifier, data, rows, weights, feature_pass=feature_pass, mirror=mirror, seed=seed)
    shape = (len(rows), classifier.network.num_features)
    compute = partial(_computed, classifier, data, rows, feature_pass=feature_pass, mirror=mirror, seed=seed)
    if world().size > 1:
        _compute_together(key, shape, compute)
    return kept(FEATURES, key, _open, lambda files: _write(files, shape, compute(0, 1)))


def _compute_together(key: str, shape: tuple[int, int], compute: Callable[[int, int], Iterator[Features]]) -> None:
    """Put features into the cache of each process that trains together; each batch is computed by one of them.

    Args:
        key: of the features.
        shape: of all of them.
        compute: returns the features of every so many batches, from a batch on.
    """
    here = world()
    if all(here.gather_json(found(FEATURES, key, _open) is not None)):
        return
    own = compute(here.rank, here.size)

    def arriving() -> Iterator[Features]:
        done = 0
        while done < shape[0]:
            block = next(own, np.empty((0, shape[1]), np.float32))
            parts = [part.numpy() for part in here.gather(torch.from_numpy(block)) if len(part)]
            done += sum(map(len, parts))
            yield from parts

    blocks = arriving()
    if cache_writer() == here.rank:
        kept(FEATURES, key, _open, lambda files: _write(files, shape, blocks))
    for _ in blocks:  # who does not write takes part all the same
        pass
    here.barrier()


def _open(files: VerifiedFolder) -> Features:
    features: Features = files.map(FEATURES_FILE)
    return features


def _write(files: VerifiedWriter, shape: tuple[int, int], blocks: Iterable[Features]) -> None:
    """Write features that come in blocks, if there is room for all of them."""
    needed = shape[0] * shape[1] * np.dtype(np.float32).itemsize
    require_room(files.folder.parent, needed, "keeping the features of the pictures", f"free some room, {OTHER_CACHE}")
    with files.open(FEATURES_FILE) as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for features in blocks:
            file.write(np.ascontiguousarray(features, "<f4").data)


def seconds_per_image(classifier: Classifier, data: Dataset) -> float:
    """Return how long the network takes for one image on this machine, measured on a few training images."""
    images = np.array(data.store.pixels[data.split.train[:TIMED_IMAGES]])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(classifier.mean.device)
    model = optimized(classifier)
    with torch.inference_mode():
        model.features(pixels[:1])  # the first call also prepares
        started = time.perf_counter()
        model.features(pixels).cpu()
    return (time.perf_counter() - started) / len(images)


def augmentation_of(feature_pass: int, *, mirror: bool) -> Augment:
    """Return how a pass varies images at random: not at all in the first one, and, if they are mirrored, the second."""
    return Augment() if feature_pass <= int(mirror) else Augment(flip=mirror, crop_scale=MIN_CROP_AREA)


def _computed(
    classifier: Classifier,
    data: Dataset,
    rows: NDArray[np.int64],
    first: int,
    every: int,
    *,
    feature_pass: int,
    mirror: bool,
    seed: int,
) -> Iterator[Features]:
    """Yield the features of every so many batches, from batch `first` on."""
    device = classifier.mean.device
    model = optimized(classifier)
    size = scoring_batch_size(*data.store.input_size[1:])
    loader = Loader(data.store.pixels, data.samples.labels, rows, batch_size=size, device=device)
    words = "computing features" if feature_pass == 0 else f"computing features, pass {feature_pass + 1}"
    augment = augmentation_of(feature_pass, mirror=mirror)
    with progress(words, len(rows), "pictures") as advance:
        for batch in loader.dealt(first, every):
            with torch.inference_mode():
                images = batch.images.flip(3) if mirror and feature_pass == 1 else batch.images
                images, _ = augment(images, batch.labels, batch.rows, seed=seed, epoch=feature_pass, num_classes=1)
                features = _features_of(model, images)
            _require_finite(features, batch.rows, data)
            advance(every * len(images))
            yield features


def _require_finite(features: Features, rows: torch.Tensor, data: Dataset) -> None:
    """Raise a TrainingError that names the first image whose features are not numbers."""
    if not np.isfinite(features).all():
        row = int(rows[int(np.argmax(~np.isfinite(features).all(axis=1)))])
        raise TrainingError(
            f"{escape_name(data.samples.names[row])}: the network's features of this picture are not finite, so there "
            "is nothing to learn from; its pretrained weights are damaged or do not suit it; choose other `weights`"
        )


def _features_of(model: Classifier, images: Tensor) -> Features:
    (features,) = in_halves(lambda some: (model.features(some).float(),), images)
    assert features is not None
    found: Features = features.cpu().numpy()
    return found


def _key(
    classifier: Classifier,
    data: Dataset,
    rows: NDArray[np.int64],
    weights: str,
    *,
    feature_pass: int,
    mirror: bool,
    seed: int,
) -> str:
    augment = augmentation_of(feature_pass, mirror=mirror)
    depends_on = (
        torch.__version__,
        data.store.content_key,
        classifier.architecture,
        classifier.input_size,
        classifier.resize,
        classifier.mean.tolist(),
        classifier.std.tolist(),
        weights,
        # only crops are random
        feature_pass and (feature_pass, mirror, asdict(augment), augment != Augment() and seed),
        hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=16).hexdigest(),
    )
    return hashlib.blake2b(repr(depends_on).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
