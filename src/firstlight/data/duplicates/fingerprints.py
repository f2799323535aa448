"""Compute fingerprints for finding copies of an image: a digest of its pixels, and a thumbnail.

Thumbnails are sums of whole numbers that the number type holds exactly, so an image has the same fingerprint, bit for
bit, alone and in a batch, in whatever order the sums are taken.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from firstlight.data.duplicates.spectra import SIDE, Numbers

FINGERPRINT = np.dtype(
    [
        ("digest", "V16"),  # of the pixels and their shape, or of the file
        ("size", "i4", (2,)),  # height, width
        ("plain", "?"),  # whether the full image is of one color, within PLAIN_RANGE
        ("luma", "u1", (SIDE, SIDE)),
        ("chroma", "i2", (SIDE // 4, SIDE // 4, 2)),  # blue and red, minus luma
    ]
)

# Pixels. Images of no more are summed fastest by BLAS, which starts no threads of its own for so few.
MAX_BLAS_AREA = 2**13
PLAIN_RANGE = 8  # gray levels: an image whose channels vary no more than this counts as one color
CHUNK_BYTES = 2**20  # of pixels that are fingerprinted at a time


def fingerprint(pixels: NDArray[np.uint8]) -> np.void:
    """Return the fingerprint of one image of any size.

    Args:
        pixels: uint8 `[H, W, C]`, C = 1 or 3.

    Returns:
        FINGERPRINT, shape `[]`.
    """
    result: np.void = fingerprints(pixels[None])[0]
    return result


def fingerprints(images: NDArray[np.uint8], digests: NDArray[np.void] | None = None) -> NDArray[np.void]:
    """Return the fingerprints of many images of one size, bit for bit those of `fingerprint`.

    Args:
        images: uint8 `[N, H, W, C]`, C = 1 or 3.
        digests: of their files, V16 `[N]`, instead of digests of their pixels.

    Returns:
        FINGERPRINT, shape `[N]`.
    """
    count, height, width, channels = images.shape
    assert images.dtype == np.uint8 and channels in (1, 3), (images.dtype, images.shape)
    prints = np.zeros(count, FINGERPRINT)
    prints["size"] = height, width
    chunk = max(1, CHUNK_BYTES // max(1, height * width * channels))
    for start in range(0, count, chunk):
        some = np.ascontiguousarray(images[start : start + chunk])
        out = prints[start : start + chunk]
        out["digest"] = _digests(some) if digests is None else digests[start : start + chunk]
        out["luma"], out["chroma"] = _thumbnails(some)
        flat = np.flatnonzero(np.ptp(out["luma"].reshape(len(out), -1), axis=1) <= PLAIN_RANGE)
        out["plain"][flat] = [np.ptp(some[row], axis=(0, 1)).max() <= PLAIN_RANGE for row in flat]
    return prints


def _digests(images: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return 16 bytes for each image that depend on its pixels and their shape: XXH3, 128 bits, `[N]`.

    It guards against accidents only: an attacker could make two images with the same digest.
    """
    shape = xxhash.xxh3_64_intdigest(np.array(images.shape[1:], "<i8").tobytes())
    digests = [xxhash.xxh3_128_digest(pixels.data, shape) for pixels in images.reshape(len(images), -1)]
    return np.frombuffer(b"".join(digests), "V16")


def _thumbnails(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Return the luma `[N, SIDE, SIDE]` and the chroma `[N, SIDE/4, SIDE/4, 2]` of each image, averaged by area."""
    _, height, width, channels = images.shape
    small = height * width <= MAX_BLAS_AREA
    number: Any = np.float32 if 255 * height * width < 2**24 else np.float64
    sums: Numbers = _cell_sums(images) if small else np.stack([_cell_sums_by_line(pixels) for pixels in images])
    means: Numbers = sums.astype(number, copy=False) / number(height * width)
    if channels == 1:
        luma = np.rint(means[:, 0]).astype(np.uint8)
        return luma, np.zeros((len(images), SIDE // 4, SIDE // 4, 2), np.int16)
    red, green, blue = np.moveaxis(means, 1, 0)
    luma = np.rint(number(0.299) * red + number(0.587) * green + number(0.114) * blue).astype(np.int16)
    chroma = np.stack([np.rint(blue).astype(np.int16) - luma, np.rint(red).astype(np.int16) - luma], axis=-1)
    rows = chroma[:, 0::4] + chroma[:, 1::4] + chroma[:, 2::4] + chroma[:, 3::4]
    blocks = rows[:, :, 0::4] + rows[:, :, 1::4] + rows[:, :, 2::4] + rows[:, :, 3::4]
    return luma.astype(np.uint8), np.rint(blocks / np.float32(16)).astype(np.int16)


def _cell_sums(images: NDArray[np.uint8]) -> Numbers:
    """Return sums over SIDE x SIDE equal cells, in which each pixel counts SIDE**2 times: `[N, C, SIDE, SIDE]`."""
    down, across = (_overlaps(n) for n in images.shape[1:3])
    return down @ np.moveaxis(images, 3, 1).astype(np.float32, order="C") @ across.T


def _overlaps(n: int) -> NDArray[np.float32]:
    """Return how much of each of n lines, each SIDE long, lies in each of SIDE equal cells: `[SIDE, n]`."""
    cells, lines = np.arange(SIDE)[:, None] * n, np.arange(n) * SIDE
    overlaps = np.minimum(cells + n, lines + SIDE) - np.maximum(cells, lines)
    positive: NDArray[np.float32] = np.maximum(overlaps, 0).astype(np.float32)
    return positive


def _cell_sums_by_line(pixels: NDArray[np.uint8]) -> Numbers:
    """Return the same sums for one image of any size, `[C, SIDE, SIDE]`; most lines lie in one cell and are added."""
    height, width, channels = pixels.shape
    whole = np.uint32 if 255 * pixels.size < 2**32 else np.uint64
    inner = np.uint16 if height <= 2**13 else whole  # holds 2**8 lines of 255
    cuts, over = _cuts(height)
    lines, starts = pixels.reshape(height, width * channels), cuts.tolist()
    sums = np.empty((SIDE, width * channels), inner)
    for cell in range(SIDE):
        np.add.reduce(lines[starts[cell] : starts[cell + 1]], axis=0, dtype=inner, out=sums[cell])
    rows = _move_remainders(sums.astype(whole), lines[np.minimum(cuts, height - 1)], over[:, None])
    rows = rows.reshape(SIDE, width, channels)
    cuts, over = _cuts(width)
    columns = np.add.reduceat(rows, cuts[:-1], axis=1).swapaxes(0, 1)
    columns[np.diff(cuts) == 0] = 0  # where no line starts, reduceat still gives one
    cells = _move_remainders(columns, rows[:, np.minimum(cuts, width - 1)].swapaxes(0, 1), over[:, None, None])
    return cells.transpose(2, 1, 0)


@lru_cache(maxsize=1024)
def _cuts(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where n lines are cut into SIDE equal cells: the line of each cut, and how many SIDEths precede it."""
    lines, over = np.divmod(np.arange(SIDE + 1) * n, SIDE)
    lines.setflags(write=False)  # the cached arrays are shared
    over.setflags(write=False)
    return lines, over


def _move_remainders(sums: Numbers, cut_through: Numbers, over: NDArray[np.int64]) -> Numbers:
    """Add to each cell, in place, the part of a line before its last cut, and subtract the part before its first."""
    # note: unsigned numbers wrap around, so a sum below zero in between does no harm
    moved: Numbers = cut_through * over.astype(sums.dtype)
    sums *= sums.dtype.type(SIDE)
    sums += moved[1:]
    sums -= moved[:-1]
    return sums
