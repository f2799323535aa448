"""Fit the score of strangers at the end of a run, on features that are known already wherever there are any."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.data.dataset import Dataset
from firstlight.data.loader import Loader, scoring_batch_size
from firstlight.errors import DataError
from firstlight.evaluation.novelty import Seen, fit_strangeness
from firstlight.inference.collect import collect
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.models.classifier import Classifier
from firstlight.models.library_network import LibraryNetwork
from firstlight.models.strangeness import Strangeness, coarse, coarse_size
from firstlight.progress import announce, phase
from firstlight.runs.outputs import Outputs
from firstlight.runtime.seeds import generator
from firstlight.training.transfer.features import extract_features
from firstlight.training.transfer.ladder import Transferred, head_logits

MAX_TRAIN = 2_000  # images that the score is fitted on
MAX_TRAIN_LARGE = 300  # the same, if they still have to pass a large network
MAX_HELD_OUT = 5_000  # images that the threshold is fitted on
OUTLIERS, OUTLIERS_LARGE = 64, 8  # images of each kind that is made
ROWS_AT_ONCE = 256


@phase("learning what a stranger is")
def strangeness_of(
    model: Classifier, data: Dataset, held_out: Outputs, frozen: Transferred | None, *, seed: int
) -> Strangeness | None:
    """Return the score of strangers of a trained model; None, with one line for people, if its features are not finite.

    Args:
        model: on its device.
        data: what it was trained on.
        held_out: what it said about the validation split.
        frozen: what transfer learning found, if only the head has learned from the training images; else None.
        seed: of the run.
    """
    large = isinstance(model.network, LibraryNetwork)
    limit = MAX_TRAIN_LARGE if large and not frozen else MAX_TRAIN
    train, valid = some_of(data.split.train, limit), some_of(data.split.valid, MAX_HELD_OUT)
    rows = data.split.train[train]
    engine = TorchEngine(model)
    pixels = coarse_images(data, rows)
    unlearned = frozen.train_outputs if frozen else None
    if unlearned:
        seen = of_outputs(unlearned, train, pixels)
    elif frozen:
        features = extract_features(model, data, data.split.train, frozen.record.weights["sha256"])[train]
        seen = Seen(torch.from_numpy(features), head_logits(model, features), pixels)
    else:
        size = scoring_batch_size(*data.store.input_size[1:])
        loader = Loader(data.store.pixels, data.samples.labels, rows, batch_size=size, device=model.mean.device)
        found = collect(engine, loader.epoch(), features=True)
        assert found.features is not None
        seen = Seen(found.features, found.logits, pixels)
    outliers = made_strange(images_of(data, rows[some_of(rows, OUTLIERS_LARGE if large else OUTLIERS)]), seed)
    parts = [(*engine.features_and_logits(part), coarse(part)) for part in torch.split(outliers, ROWS_AT_ONCE)]
    columns = (torch.cat([one.cpu() for one in column]).clone() for column in zip(*parts, strict=True))
    try:
        return fit_strangeness(
            seen,
            data.samples.labels[rows],
            of_outputs(held_out, valid, coarse_images(data, data.split.valid[valid])),
            Seen(*columns),
            learned=unlearned is None,
            seed=seed,
        )
    except DataError as error:
        announce(str(error))
        return None


def made_strange(images: Tensor, seed: int) -> Tensor:
    """Return images that no longer show what they did, made from images uint8 `[B, C, H, W]`: four of each.

    They are inverted, evened out to one color, or have their pixels or their rows in random order.
    """
    random = generator(seed, "made strange")
    _, _, height, width = images.shape
    flat = images.float().mean(dim=(2, 3), keepdim=True).to(torch.uint8).expand_as(images)
    pixels = images.flatten(2)[:, :, torch.randperm(height * width, generator=random)].view_as(images)
    rows = images[:, :, torch.randperm(height, generator=random)]
    return torch.cat([255 - images, flat, pixels, rows])


def of_outputs(outputs: Outputs, rows: NDArray[np.int64], pixels: Tensor) -> Seen:
    """Return what was said about some rows of a split."""
    assert outputs.features is not None
    return Seen(torch.from_numpy(outputs.features[rows]), torch.from_numpy(outputs.logits[rows]), pixels)


def some_of(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return positions in `rows`, evenly spread, at most `limit` of them."""
    return np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(np.int64))


def coarse_images(data: Dataset, rows: NDArray[np.int64]) -> Tensor:
    """Return coarse images of some rows, float32 `[n, P]`."""
    parts = [coarse(images_of(data, rows[start : start + ROWS_AT_ONCE])) for start in range(0, len(rows), ROWS_AT_ONCE)]
    return torch.cat(parts) if parts else torch.zeros(0, coarse_size(data.store.input_size))


def images_of(data: Dataset, rows: NDArray[np.int64]) -> Tensor:
    """Return packed images of some rows, uint8 `[n, C, H, W]`."""
    return torch.from_numpy(np.ascontiguousarray(data.store.pixels[rows])).permute(0, 3, 1, 2)
