"""How large the images of a set are, from the headers of some of them: known before anything is decoded."""

from statistics import median_low
from typing import NamedTuple

import numpy as np

from firstlight.data.isolation import image_size_safely
from firstlight.data.reading import stacked
from firstlight.data.samples import Samples
from firstlight.errors import ImageError

SAMPLED_IMAGES = 64  # spread evenly over the set; all of a smaller one


class Sides(NamedTuple):
    """Height and width in pixels, each the median of several images."""

    height: int
    width: int


def median_sides(samples: Samples) -> Sides | None:
    """Return the median height and the median width of some images; None if none of them can be read.

    Which images are looked at depends on their number alone, so that the answer is always the same for a set.
    """
    if (images := stacked(samples)) is not None:
        return Sides(*images.shape[1:3])
    rows = np.unique(np.linspace(0, len(samples) - 1, SAMPLED_IMAGES).astype(int)).tolist()
    found = [size for row in rows if (size := _size(samples, row)) is not None]
    return Sides(*(median_low(sides) for sides in zip(*found, strict=True))) if found else None


def _size(samples: Samples, row: int) -> tuple[int, int] | None:
    try:
        found = samples.images.read(row)
        return found.shape[:2] if isinstance(found, np.ndarray) else image_size_safely(found)
    except (ImageError, OSError):
        return None
