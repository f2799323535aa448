"""The images that an export is checked on: those that the run kept for this, or others of the user's."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.data.parallel import chunks_of, in_order
from firstlight.delivery.export.parity import LEAST
from firstlight.errors import DataError, RunError
from firstlight.inference.inputs import Item, Target, read_item
from firstlight.models.classifier import Classifier
from firstlight.progress import progress
from firstlight.runs.outputs import CHECK_IMAGES_FILE, read_thumbnails
from firstlight.runtime.processors import default_workers

MOST = 512  # images; of more, these are taken at equal distances
AT_ONCE = 16  # that one thread decodes

WHAT_TO_DO = f"give at least {LEAST} pictures with `check`"


def check_images(model: Classifier, items: Iterable[Item] | None) -> Tensor:
    """Return the images on which an export of a model is checked, uint8 `[N, C, H, W]`, all different.

    Args:
        model: whose run kept some.
        items: others to take instead; those that cannot be used are left out.

    Raises:
        DataError: if there are fewer than `LEAST`.
    """
    found = _of_run(model) if items is None else _of_items(model, items)
    different = list({image.tobytes(): image for image in found}.values())
    if len(different) < LEAST:
        few = (
            f"there are only {len(different)} different pictures to check the export on"
            if different
            else ("there are no pictures to check the export on")
        )
        raise DataError(f"{few}; {WHAT_TO_DO}")
    return torch.from_numpy(np.stack(different)).permute(0, 3, 1, 2)


def _of_run(model: Classifier) -> Sequence[NDArray[np.uint8]]:
    if model.file is None:
        raise DataError(f"a model in memory has no run that kept pictures to check the export on; {WHAT_TO_DO}")
    folder = Path(model.file).parent
    try:
        kept = list(read_thumbnails(folder, CHECK_IMAGES_FILE).values())
    except RunError as error:
        raise DataError(f"{folder} holds no pictures to check the export on; {WHAT_TO_DO}") from error
    channels, height, width = model.input_size
    return [image for image in kept if image.shape == (height, width, channels)]


def _of_items(model: Classifier, items: Iterable[Item]) -> Sequence[NDArray[np.uint8]]:
    given = list(items)
    taken = [given[index] for index in np.linspace(0, len(given) - 1, min(len(given), MOST)).round().astype(int)]
    target = Target(model.input_size, model.resize, model.max_pixels, model.white)

    def read(chunk: Sequence[Item]) -> list[NDArray[np.uint8] | str]:
        return [read_item(item, target) for item in chunk]

    found = []
    with progress("reading pictures for the check", len(taken), "pictures") as advance:
        for images in in_order(read, chunks_of(AT_ONCE, taken), default_workers()):
            found += [image for image in images if not isinstance(image, str)]
            advance(len(images))
    return found
