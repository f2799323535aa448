"""Check a set of images before training."""

from dataclasses import replace
from typing import Any

from firstlight.api.given import Data, samples_of
from firstlight.data.images import MAX_PIXELS
from firstlight.data.recipe import SourceRecipe
from firstlight.delivery.check import CheckReport
from firstlight.delivery.check import check as check_samples
from firstlight.errors import require_type
from firstlight.training.label_check import check_labels
from firstlight.training.recipe import Recipe


def check(
    data: Data,
    *,
    labels: bool = False,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    device: str = "auto",
    **choices: Any,
) -> CheckReport:
    """Decode every image of a set once, and return what is in it, what cannot be used, and which images are copies.

    Args:
        data: from `load_data`, or anything that `load_data` takes.
        labels: whether to look for labels that are probably wrong as well, which takes about as long as training.
        workers: number of threads that decode images.
        max_pixels: an image with more pixels is quarantined without being decoded.
        device: that labels are judged on: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        choices: how the source is read, as for `load_data`.

    Raises:
        UserError: if the data cannot be used.
    """
    require_type(labels, bool, "labels", "True or False")
    found = check_samples(samples_of(data, SourceRecipe.of_source(**choices).source_choices()), workers, max_pixels)
    if not labels:
        return found
    recipe = Recipe.of(device=device, workers=workers, max_pixels=max_pixels)
    return replace(found, labels=check_labels(found.samples, recipe))
