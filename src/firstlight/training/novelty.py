"""Fit the score of strangers at the end of a run, on features that are known already wherever there are any."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.dataset import Dataset
from firstlight.data.loader import Loader, scoring_batch_size
from firstlight.errors import DataError
from firstlight.evaluation.novelty import Known, fit_strangeness
from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.strangeness import Strangeness, coarse
from firstlight.progress import announce, phase
from firstlight.runs.outputs import Outputs
from firstlight.training.transfer.features import extract_features

MAX_TRAIN = 2_000  # images that the score is fitted on
MAX_HELD_OUT = 5_000  # images that the threshold is fitted on
ROWS_AT_ONCE = 256


@phase("learning what a stranger is")
def strangeness_of(
    model: Classifier, data: Dataset, held_out: Outputs, *, frozen: str | None, seed: int
) -> Strangeness | None:
    """Return the score of strangers of a trained model; None, with one line for people, if its features are not finite.

    Args:
        model: on its device.
        data: what it was trained on.
        held_out: what it said about the validation split.
        frozen: what identifies the weights of a network that did not learn from these images; None if it did.
        seed: of the run.
    """
    assert held_out.features is not None
    train, valid = some_of(data.split.train, MAX_TRAIN), some_of(data.split.valid, MAX_HELD_OUT)
    rows = data.split.train[train]
    if frozen:
        seen = np.array(extract_features(model, data, data.split.train, frozen)[train])
    else:
        size = scoring_batch_size(*data.store.input_size[1:])
        loader = Loader(data.store.pixels, data.samples.labels, rows, batch_size=size, device=model.mean.device)
        features = Predictor(model).collect(loader.epoch(), features=True).features
        assert features is not None
        seen = features.numpy()
    try:
        return fit_strangeness(
            Known(seen, coarse_images(data, rows)),
            data.samples.labels[rows],
            Known(held_out.features[valid], coarse_images(data, data.split.valid[valid])),
            learned=frozen is None,
            seed=seed,
        )
    except DataError as error:
        announce(str(error))
        return None


def some_of(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return positions in `rows`, evenly spread, at most `limit` of them."""
    return np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(np.int64))


def coarse_images(data: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return coarse images of some rows, float32 `[n, P]`."""

    def parts() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            pixels = np.ascontiguousarray(data.store.pixels[rows[start : start + ROWS_AT_ONCE]])
            yield coarse(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()

    return np.concatenate(list(parts()))
