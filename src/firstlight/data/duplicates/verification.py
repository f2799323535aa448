"""Whether two images are one: laid down alike and compared as finely as both truly show."""

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates.candidates import RESIZED_REACH, cosine
from firstlight.data.duplicates.spectra import SIDE, WAYS, cosine_terms, cosine_waves, laid, laid_spectra

FINE_BAND = 16  # frequencies a side in the verification, where both images are large enough

# What may remain between copies after fitting brightness, contrast and blur, of the image's own detail.
# The finer the comparison, the more it proves: these three are for each frequency compared a side (2 to 16).
LONELY_REST, FAINT_REST = 0.15 / FINE_BAND, 0.25 / FINE_BAND  # faint: of no more gray levels than REST_LEVELS
CROWDED_REST = 0.08 / FINE_BAND  # and of no more than REST_LEVELS
REST_LEVELS = 4.0 / FINE_BAND  # gray levels, root mean square
COARSE_BAND, COARSE_ALLOWANCE = 9, 1.125  # in a crowd: a copy of about half the size differs more, by aliasing
LEAST_BAND = 4  # less than this proves nothing
TINY = 1e-6  # keeps a quotient defined where there is nothing to compare
PLACE_LEVELS = 40.0  # gray levels at one place: another print on the same shirt, another digit on the same form
CHROMA_LEVELS = 10.0
CONTRAST_CHANGE, BRIGHTNESS_LEVELS = 1.3, 40.0
BLURS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)  # exponents: how a resampling filter dims the highest frequency compared


def verified(
    prints: NDArray[np.void], hashed: NDArray[np.float32], pairs: NDArray[np.int64], crowded: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say for each pair whether it is one image: bool `[P]`."""
    same = np.zeros(len(pairs), bool)
    finer_first = prints["size"].min(axis=1)[pairs]
    pairs = np.where((finer_first[:, 0] < finer_first[:, 1])[:, None], pairs[:, ::-1], pairs)
    for start in range(0, len(pairs), 16384):
        fine, coarse = pairs[start : start + 16384].T
        likeness = np.stack([np.einsum("puv,puv->p", hashed[fine], laid_spectra(hashed[coarse], way)) for way in WAYS])
        likely = np.flatnonzero(likeness.max(axis=0) > cosine(RESIZED_REACH))
        ways = likeness.argmax(axis=0)[likely]
        fine, coarse = fine[likely], coarse[likely]
        same[start + likely] = _is_copy(prints[fine], prints[coarse], ways, crowded[fine] | crowded[coarse])
    return same


def _is_copy(
    fine: NDArray[np.void], coarse: NDArray[np.void], ways: NDArray[np.int64], crowded: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Compare pairs, the finer image of each first, its partner to be laid down in the way given."""
    resized = (np.sort(fine["size"], axis=1) != np.sort(coarse["size"], axis=1)).any(axis=1)
    side = coarse["size"].min(axis=1)
    band = np.minimum(FINE_BAND, np.where(resized, np.rint(0.57 * side), side))  # above: aliasing
    frequency = np.arange(FINE_BAND)
    within = frequency < band[:, None]
    square = (frequency[:, None] ** 2 + frequency**2) / band[:, None, None] ** 2
    source = cosine_terms(fine["luma"], FINE_BAND) * (within[:, :, None] & within[:, None, :])
    copy = cosine_terms(coarse["luma"], FINE_BAND) * (within[:, :, None] & within[:, None, :])
    for way in WAYS:
        copy[ways == way] = laid_spectra(copy[ways == way], way)
    detail = np.maximum(np.sqrt((copy**2).sum(axis=(1, 2))), TINY)
    rest, contrast, over = np.full(len(fine), np.inf), np.ones(len(fine)), np.zeros_like(copy)
    for blur in BLURS if resized.any() else BLURS[:1]:
        model = source * np.exp(-blur * square)
        gain = (model * copy).sum(axis=(1, 2)) / np.maximum((model**2).sum(axis=(1, 2)), TINY)
        left = copy - gain[:, None, None] * model
        length = np.sqrt((left**2).sum(axis=(1, 2)))
        better = (length < rest) & (resized | (blur == 0))
        rest[better], contrast[better], over[better] = length[better], gain[better], left[better]
    waves = cosine_waves(FINE_BAND)
    fraction, levels = rest / detail, rest / SIDE
    lonely_alike = fraction <= LONELY_REST * band
    lonely_alike |= (fraction <= FAINT_REST * band) & (levels <= REST_LEVELS * band)
    strict = band * np.where(resized & (band <= COARSE_BAND), COARSE_ALLOWANCE, 1)
    crowded_alike = (fraction <= CROWDED_REST * strict) & (levels <= REST_LEVELS * strict)
    alike: NDArray[np.bool_] = np.where(crowded, crowded_alike, lonely_alike)
    alike &= band >= LEAST_BAND
    alike &= np.abs(waves.T @ over @ waves).max(axis=(1, 2)) <= PLACE_LEVELS
    alike &= (contrast < CONTRAST_CHANGE) & (contrast > 1 / CONTRAST_CHANGE)
    alike &= np.abs(fine["luma"].mean(axis=(1, 2)) - coarse["luma"].mean(axis=(1, 2))) <= BRIGHTNESS_LEVELS
    chroma = coarse["chroma"].astype(np.float32)
    for way in WAYS:
        chroma[ways == way] = laid(chroma[ways == way], way)
    alike &= np.sqrt(((fine["chroma"] - chroma) ** 2).mean(axis=(1, 2, 3))) <= CHROMA_LEVELS
    return alike
