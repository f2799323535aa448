"""Cosine transforms of thumbnails, and the perceptual hash that is the same in all eight orientations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # of the thumbnail, in pixels
HASH_BAND = 8  # frequencies per axis in the hash
ORIENTATIONS = range(8)  # bits: 4 transposes, 2 flips top to bottom, 1 mirrors left to right

Numbers = NDArray[Any]


def cosine_terms(luma: NDArray[np.uint8], band: int) -> NDArray[np.float32]:
    """Return the lowest terms of the orthonormal cosine transform, with the mean set to 0: `[N, band, band]`."""
    waves = cosine_waves(band)
    terms = np.empty((len(luma), band, band), np.float32)
    for start in range(0, len(luma), 8192):
        across = luma[start : start + 8192].astype(np.float32) @ waves.T
        terms[start : start + 8192] = np.swapaxes(np.swapaxes(across, 1, 2) @ waves.T, 1, 2)
    terms[:, 0, 0] = 0
    return terms


def cosine_waves(band: int) -> NDArray[np.float32]:
    """Return the lowest `band` waves of the orthonormal cosine transform, `[band, SIDE]`."""
    positions, frequencies = np.arange(SIDE) + 0.5, np.arange(band)[:, None]
    waves: NDArray[np.float64] = np.cos(np.pi / SIDE * frequencies * positions) * np.sqrt(2 / SIDE)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


def hashes(spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what no rotation or mirroring changes, lowest frequencies first: `[N, 63]`, each of length one."""
    down, across = np.triu_indices(HASH_BAND)
    order = np.argsort(down + across, kind="stable")[1:]
    down, across = down[order], across[order]
    one, other = spectra[:, down, across], spectra[:, across, down]
    signed = (down % 2 == 0) & (across % 2 == 0)  # flips do not negate these
    one, other = np.where(signed, one, np.abs(one)), np.where(signed, other, np.abs(other))
    both = np.stack([np.maximum(one, other), np.minimum(one, other)], axis=2).reshape(len(spectra), 2 * len(down))
    return np.ascontiguousarray(both[:, np.column_stack([down >= 0, down != across]).ravel()])


def orient_spectra(spectra: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Return the spectra of images after `orient`: a flip negates the odd frequencies along its axis."""
    if orientation & 4:
        spectra = np.swapaxes(spectra, 1, 2)
    signs = np.float32(-1) ** np.arange(spectra.shape[-1], dtype=np.float32)
    if orientation & 2:
        spectra = spectra * signs[:, None]
    return spectra * signs if orientation & 1 else spectra


def orient(images: Numbers, orientation: int) -> Numbers:
    """Return images `[P, side, side, ...]` in one of the eight orientations."""
    if orientation & 4:
        images = np.swapaxes(images, 1, 2)
    return images[:, :: -1 if orientation & 2 else 1, :: -1 if orientation & 1 else 1]
