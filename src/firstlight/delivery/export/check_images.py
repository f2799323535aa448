"""The images that an export is checked on: those that the run kept for this, or others of the user's."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.data.parallel import chunks_of, in_order
from firstlight.delivery.export.parity import LEAST
from firstlight.errors import DataError, RunError
from firstlight.escaping import escape_name
from firstlight.inference.inputs import Item, Target, read_item
from firstlight.models.classifier import Classifier
from firstlight.progress import announce, progress
from firstlight.runs.outputs import CHECK_IMAGES_FILE, read_outputs, read_thumbnails
from firstlight.runtime.processors import default_workers

MOST = 512  # images; of more, these are taken at equal distances
AT_ONCE = 16  # that one thread decodes
WHAT_TO_DO = f"give at least {LEAST} pictures with `check`"


def check_images(model: Classifier, items: Iterable[Item] | None) -> Tensor:
    """Return the images on which an export of a model is checked, uint8 `[N, C, H, W]`, all different.

    Args:
        model: whose run kept some.
        items: others to take instead, decoded as by the Predictor; those that cannot be used are left out.

    Raises:
        DataError: if there are fewer than `LEAST`.
    """
    found, problem = _of_run(model) if items is None else _of_items(model, list(items))
    different = list({image.tobytes(): image for image in found}.values())
    if len(different) < LEAST:
        found_words = (
            f"only {len(different)} different picture{'s' * (len(different) > 1)}" if different else "no pictures"
        )
        raise DataError(f"{found_words} to check the export on{problem and f' ({problem})'}; {WHAT_TO_DO}")
    if problem:
        announce(f"note: the export is checked without the pictures that cannot be used: {problem}")
    return torch.from_numpy(np.stack(different)).permute(0, 3, 1, 2)


def true_labels(model: Classifier, images: Tensor) -> Tensor:
    """Return the classes of check images as the run of a model knows them, int64 `[N]`; -1 where it does not.

    Args:
        model: whose run kept images.
        images: uint8 `[N, C, H, W]`.
    """
    if model.file is None:
        return torch.full((len(images),), -1)
    folder = Path(model.file).parent
    by_name: dict[str, int] = {}
    for split in ("train", "valid"):  # of a tiny set, some check images come from train
        with suppress(RunError):
            outputs = read_outputs(folder, split)
            by_name |= dict(zip(outputs.names, outputs.labels.tolist(), strict=True))
    kept: dict[str, NDArray[np.uint8]] = {}
    with suppress(RunError):
        kept = read_thumbnails(folder, CHECK_IMAGES_FILE)
    by_pixels = {image.tobytes(): by_name.get(name, -1) for name, image in kept.items()}
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
    return torch.tensor([by_pixels.get(image.tobytes(), -1) for image in pixels])


def _of_run(model: Classifier) -> tuple[list[NDArray[np.uint8]], str]:
    """Return the images that the run of a model kept, and what is wrong with them."""
    if model.file is None:
        return [], "the model is in memory, without a run"
    folder = Path(model.file).parent
    channels, height, width = model.input_size
    try:
        kept = read_thumbnails(folder, CHECK_IMAGES_FILE).values()
    except RunError:
        return [], f"{folder} holds none"
    return [image for image in kept if image.shape == (height, width, channels)], ""


def _of_items(model: Classifier, items: Sequence[Item]) -> tuple[list[NDArray[np.uint8]], str]:
    """Return the images among some items, and how many of these cannot be used, with an example."""
    taken = [items[index] for index in np.linspace(0, len(items) - 1, min(len(items), MOST)).round().astype(int)]
    target = Target(model.input_size, model.resize, model.max_pixels, model.white)

    def read(chunk: Sequence[Item]) -> list[tuple[str, NDArray[np.uint8] | str]]:
        return [(item.name or "a picture", read_item(item, target)) for item in chunk]

    found: list[NDArray[np.uint8]] = []
    reasons: list[str] = []
    with progress("reading pictures for the check", len(taken), "pictures") as advance:
        for read_items in in_order(read, chunks_of(AT_ONCE, taken), default_workers()):
            for name, image in read_items:
                if isinstance(image, str):
                    reasons.append(f"{escape_name(name)}: {image}")
                else:
                    found.append(image)
            advance(len(read_items))
    return found, f"{len(reasons):,} of {len(taken):,} cannot be used, such as {reasons[0]}" if reasons else ""
