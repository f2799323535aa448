"""What is remembered of a picture to find its copies by: a digest of its pixels, and a thumbnail.

Sums are of whole numbers that the number type holds exactly, so a batch gives the bits of a single picture.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates.spectra import SIDE, Numbers

FINGERPRINT = np.dtype(
    [
        ("digest", "V16"),  # of the decoded pixels and their shape
        ("size", "i4", (2,)),  # height, width
        ("plain", "?"),  # the full picture is of one colour, give or take PLAIN_RANGE
        ("luma", "u1", (SIDE, SIDE)),
        ("chroma", "i2", (SIDE // 4, SIDE // 4, 2)),  # blue and red, minus luma
    ]
)

PLAIN_RANGE = 8  # grey levels: a picture that varies no more than this is of one colour


def fingerprint(pixels: NDArray[np.uint8]) -> np.void:
    """Describe one picture of any size.

    Args:
        pixels: uint8 `[H, W, C]`, C = 1 or 3.

    Returns:
        FINGERPRINT, shape `[]`.
    """
    described: np.void = fingerprints(pixels[None])[0]
    return described


def fingerprints(images: NDArray[np.uint8]) -> NDArray[np.void]:
    """Describe many pictures of one size: bit for bit what `fingerprint` gives for each.

    Args:
        images: uint8 `[N, H, W, C]`, C = 1 or 3.

    Returns:
        FINGERPRINT, shape `[N]`.
    """
    count, height, width, channels = images.shape
    assert images.dtype == np.uint8 and channels in (1, 3), (images.dtype, images.shape)
    prints = np.zeros(count, FINGERPRINT)
    prints["size"] = height, width
    shape = f"{height}x{width}x{channels}:".encode()
    chunk = max(1, 2**22 // max(1, height * width * channels))
    for start in range(0, count, chunk):
        some = np.ascontiguousarray(images[start : start + chunk])
        out = prints[start : start + chunk]
        for row, pixels in enumerate(some):
            digest = hashlib.blake2b(shape, digest_size=16)
            digest.update(pixels)
            out["digest"][row] = np.void(digest.digest())
        out["luma"], out["chroma"] = _thumbnails(some)
        flat = np.flatnonzero(np.ptp(out["luma"].reshape(len(out), -1), axis=1) <= PLAIN_RANGE)
        out["plain"][flat] = [np.ptp(some[row], axis=(0, 1)).max() <= PLAIN_RANGE for row in flat]
    return prints


def _thumbnails(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    area = images.shape[1] * images.shape[2]
    # note: sums of whole numbers below 2**24 are exact in float32, so a batch gives the bits of a single picture
    number = np.float32 if 255 * area < 2**24 else np.float64
    means = _area_sums(_area_sums(images, 1, number), 2, number) / number(area)
    if images.shape[3] == 1:
        luma = np.rint(means[..., 0]).astype(np.int16)
        return luma.astype(np.uint8), np.zeros((len(images), SIDE // 4, SIDE // 4, 2), np.int16)
    red, green, blue = np.ascontiguousarray(np.moveaxis(means, 3, 0))
    luma = np.rint(number(0.299) * red + number(0.587) * green + number(0.114) * blue).astype(np.int16)
    chroma = np.stack([np.rint(blue).astype(np.int16) - luma, np.rint(red).astype(np.int16) - luma], axis=-1)
    rows = chroma[:, 0::4] + chroma[:, 1::4] + chroma[:, 2::4] + chroma[:, 3::4]
    blocks = rows[:, :, 0::4] + rows[:, :, 1::4] + rows[:, :, 2::4] + rows[:, :, 3::4]
    return luma.astype(np.uint8), np.rint(blocks / np.float32(16)).astype(np.int16)


def _area_sums(values: Numbers, axis: int, number: type[np.float32 | np.float64]) -> Numbers:
    """Resample an axis of n values to SIDE sums over equal stretches, each of weight n in all."""
    lines = np.moveaxis(values, axis, 0)
    sums = np.zeros((SIDE, *lines.shape[1:]), number)
    n = len(lines)
    for cell in range(SIDE):
        for line in range(cell * n // SIDE, -(-(cell + 1) * n // SIDE)):
            overlap = min((cell + 1) * n, (line + 1) * SIDE) - max(cell * n, line * SIDE)
            sums[cell] += number(overlap) * lines[line]
    return np.moveaxis(sums, 0, axis)
