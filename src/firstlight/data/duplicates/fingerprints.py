"""What is remembered of an image to find its copies by: a digest of its pixels, and a thumbnail.

Sums are of whole numbers that the number type holds exactly, so a batch gives the bits of a single image, in
whatever order they are summed.
"""

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates.spectra import SIDE, Numbers

FINGERPRINT = np.dtype(
    [
        ("digest", "V16"),  # of the pixels and their shape, or of the file
        ("size", "i4", (2,)),  # height, width
        ("plain", "?"),  # the full image is of one color, give or take PLAIN_RANGE
        ("luma", "u1", (SIDE, SIDE)),
        ("chroma", "i2", (SIDE // 4, SIDE // 4, 2)),  # blue and red, minus luma
    ]
)

BLOCK = 2**15  # bytes hashed at once
SMALL_AREA = 2**13  # pixels: such images are summed fastest by BLAS, and it starts no threads of its own for them
PLAIN_RANGE = 8  # gray levels: an image that varies no more than this is of one color


def fingerprint(pixels: NDArray[np.uint8]) -> np.void:
    """Describe one image of any size.

    Args:
        pixels: uint8 `[H, W, C]`, C = 1 or 3.

    Returns:
        FINGERPRINT, shape `[]`.
    """
    described: np.void = fingerprints(pixels[None])[0]
    return described


def fingerprints(images: NDArray[np.uint8], digests: NDArray[np.void] | None = None) -> NDArray[np.void]:
    """Describe many images of one size: bit for bit what `fingerprint` gives for each.

    Args:
        images: uint8 `[N, H, W, C]`, C = 1 or 3.
        digests: of their files, V16 `[N]`, in place of digests of their pixels.

    Returns:
        FINGERPRINT, shape `[N]`.
    """
    count, height, width, channels = images.shape
    assert images.dtype == np.uint8 and channels in (1, 3), (images.dtype, images.shape)
    prints = np.zeros(count, FINGERPRINT)
    prints["size"] = height, width
    chunk = max(1, 2**20 // max(1, height * width * channels))
    for start in range(0, count, chunk):
        some = np.ascontiguousarray(images[start : start + chunk])
        out = prints[start : start + chunk]
        out["digest"] = _digests(some) if digests is None else digests[start : start + chunk]
        out["luma"], out["chroma"] = _thumbnails(some)
        flat = np.flatnonzero(np.ptp(out["luma"].reshape(len(out), -1), axis=1) <= PLAIN_RANGE)
        out["plain"][flat] = [np.ptp(some[row], axis=(0, 1)).max() <= PLAIN_RANGE for row in flat]
    return prints


def _digests(images: NDArray[np.uint8]) -> NDArray[np.void]:
    """Hash the pixels and the shape of each image to 16 bytes, `[N]`, about twice as fast as `hashlib` can.

    Every block becomes two sums of words times fixed random keys, modulo 2**64; so do the sums, until two are left.
    Images that differ share a digest with a chance of 2**-56 at most: enough against accidents, which is all that is
    asked. Source: multilinear hashing, Carter and Wegman, Universal classes of hash functions, 1979.
    """
    count, *shape = images.shape
    sums = _block_sums(images.reshape(count, -1))
    while sums.shape[1] + len(shape) > BLOCK // 8:
        sums = _block_sums(sums.view(np.uint8))
    shapes = np.broadcast_to(np.array(shape, np.uint64), (count, len(shape)))
    digests: NDArray[np.void] = _block_sums(np.concatenate([sums, shapes], axis=1).view(np.uint8)).view("V16")[:, 0]
    return digests


def _block_sums(data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Give two sums for each block of each row, `[N, 2 * blocks]`; the last block may be shorter."""
    count, size = data.shape
    whole = size // BLOCK * BLOCK
    rest = np.zeros((count, 1, -(-(size - whole) // 8) * 8), np.uint8)
    rest[:, 0, : size - whole] = data[:, whole:]
    sums = []
    for blocks in (data[:, :whole].reshape(count, whole // BLOCK, BLOCK), rest):
        words = blocks.view(np.uint64)
        forward, backward = _keys()[:, : words.shape[2]]
        # note: low bits of a sum never see high bits of words, so the other sum takes the words' bytes in reverse
        sums.append(np.stack([words @ forward, words.byteswap() @ backward], axis=2).reshape(count, -1))
    return np.concatenate(sums, axis=1)


@cache
def _keys() -> NDArray[np.uint64]:
    """Give an odd key for each word of a block, twice."""
    keys: NDArray[np.uint64] = np.random.default_rng(0).integers(2**64, size=(2, BLOCK // 8), dtype=np.uint64)
    return keys | np.uint64(1)


def _thumbnails(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    _, height, width, channels = images.shape
    small = height * width <= SMALL_AREA
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
    """Sum small images over SIDE x SIDE equal cells, each pixel weighing SIDE**2 in all: `[N, C, SIDE, SIDE]`."""
    down, across = (_shares(n) for n in images.shape[1:3])
    return down @ np.moveaxis(images, 3, 1).astype(np.float32, order="C") @ across.T


def _shares(n: int) -> NDArray[np.float32]:
    """Say how much of each of n lines, SIDE in all, lies in each of SIDE equal stretches: `[SIDE, n]`."""
    cells, lines = np.arange(SIDE)[:, None] * n, np.arange(n) * SIDE
    overlaps = np.minimum(cells + n, lines + SIDE) - np.maximum(cells, lines)
    fractions: NDArray[np.float32] = np.maximum(overlaps, 0).astype(np.float32)
    return fractions


def _cell_sums_by_line(pixels: NDArray[np.uint8]) -> Numbers:
    """Give the same for one image of any size, `[C, SIDE, SIDE]`: most lines lie in one cell and are just added."""
    height, width, channels = pixels.shape
    whole = np.uint32 if 255 * pixels.size < 2**32 else np.uint64
    inner = np.uint16 if height <= 2**13 else whole  # holds 2**8 lines of 255
    cuts, over = _cuts(height)
    lines, begins = pixels.reshape(height, width * channels), cuts.tolist()
    sums = np.empty((SIDE, width * channels), inner)
    for cell in range(SIDE):
        np.add.reduce(lines[begins[cell] : begins[cell + 1]], axis=0, dtype=inner, out=sums[cell])
    rows = _moved_over(sums.astype(whole), lines[np.minimum(cuts, height - 1)], over[:, None])
    rows = rows.reshape(SIDE, width, channels)
    cuts, over = _cuts(width)
    columns = np.add.reduceat(rows, cuts[:-1], axis=1).swapaxes(0, 1)
    columns[np.diff(cuts) == 0] = 0  # where no line begins, reduceat gives one all the same
    cells = _moved_over(columns, rows[:, np.minimum(cuts, width - 1)].swapaxes(0, 1), over[:, None, None])
    return cells.transpose(2, 1, 0)


@lru_cache(maxsize=1024)
def _cuts(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut n lines into SIDE stretches: the line that each cut goes through, and how many SIDEths come before it."""
    lines, over = np.divmod(np.arange(SIDE + 1) * n, SIDE)
    lines.setflags(write=False)  # they are shared
    over.setflags(write=False)
    return lines, over


def _moved_over(sums: Numbers, cut_through: Numbers, over: NDArray[np.int64]) -> Numbers:
    """Give each stretch, in place, what its last cut leaves of a line, and take what its first cut does."""
    # note: unsigned numbers wrap around, so what is below zero in between does no harm
    moved: Numbers = cut_through * over.astype(sums.dtype)
    sums *= sums.dtype.type(SIDE)
    sums += moved[1:]
    sums -= moved[:-1]
    return sums
