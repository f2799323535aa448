"""Patches at the edge of a picture, each beside a patch of the same shape just inside it."""

import numpy as np
from numpy.typing import NDArray

CORNER_SIDES = (4, 8)  # 64ths of the picture's sides; the patch inside is as far away again
RIM_WIDTHS = (1, 2, 4)
CELLS = 4  # along each side of a patch: their means are what is compared
SEGMENTS = 4  # of each side of a rim
BORDER = "border"
CORNERS = {
    "corner top left": (0, 0),
    "corner top right": (0, 1),
    "corner bottom left": (1, 0),
    "corner bottom right": (1, 1),
}

Patches = NDArray[np.float32]


def edge_patches(thumbnails: NDArray[np.uint8]) -> list[tuple[str, Patches, Patches]]:
    """Return a name, the patches at the edge, and those just inside, for every place and size that is looked at.

    Args:
        thumbnails: uint8 `[n, S, S, C]`, whole pictures.

    Returns:
        names that may occur several times, and float32 `[n, D]` twice: the mean color of each of D / C cells.
    """
    found = []
    for side in CORNER_SIDES:
        for name, (bottom, right) in CORNERS.items():
            # a corner is the top left one of the picture turned around
            turned = thumbnails[:, :: -1 if bottom else 1, :: -1 if right else 1]
            edge, inside = (turned[:, at : at + side, at : at + side] for at in (0, 2 * side))
            found.append((name, _means(edge, CELLS, CELLS), _means(inside, CELLS, CELLS)))
    found += [(BORDER, _rim(thumbnails, 0, width), _rim(thumbnails, 2 * width, width)) for width in RIM_WIDTHS]
    return found


def _rim(thumbnails: NDArray[np.uint8], start: int, width: int) -> Patches:
    """Return the mean colors along a rim of this width that begins `start` pixels from the edge."""
    size, stop = thumbnails.shape[1], start + width
    strips = (
        thumbnails[:, start:stop],
        thumbnails[:, size - stop : size - start],
        thumbnails[:, :, start:stop].swapaxes(1, 2),
        thumbnails[:, :, size - stop : size - start].swapaxes(1, 2),
    )
    return np.concatenate([_means(strip, 1, SEGMENTS) for strip in strips], axis=1)


def _means(patches: NDArray[np.uint8], rows: int, columns: int) -> Patches:
    """Return the mean of each of `rows` x `columns` cells of patches `[n, H, W, C]` as float32 `[n, D]`."""
    count, height, width, channels = patches.shape
    cells = patches.reshape(count, rows, height // rows, columns, width // columns, channels)
    means: Patches = cells.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1)
    return means
