"""Decide whether two images are copies: in the same orientation, at the finest resolution that both have."""

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates.candidates import RESIZED_PAIR_DISTANCE, cosine
from firstlight.data.duplicates.spectra import (
    ORIENTATIONS,
    SIDE,
    cosine_terms,
    cosine_waves,
    orient,
    orient_spectra,
)

PAIRS_AT_ONCE = 16384  # bounds the memory
FINE_BAND = 16  # frequencies per axis that are compared, if both images are large enough

# The residual is what differs between two images after fitting brightness, contrast and blur. Copies may have at most
# these residuals, as fractions of the image's detail. The finer the comparison, the more it proves, so all but the last
# are for each frequency compared per axis (MIN_BAND to FINE_BAND).
SPARSE_RESIDUAL = 0.15 / FINE_BAND  # of images without many neighbors
LOW_DETAIL_RESIDUAL = 0.25 / FINE_BAND  # of such images if it is also at most RESIDUAL_LEVELS
DENSE_RESIDUAL = 0.08 / FINE_BAND  # of images in a dense region; it must also be at most RESIDUAL_LEVELS
RESIDUAL_LEVELS = 4.0 / FINE_BAND  # gray levels, root mean square
# A copy of about half the size differs more, by aliasing: in a dense region the limits grow by this factor.
COARSE_BAND, COARSE_ALLOWANCE = 9, 1.125
MIN_BAND = 4  # frequencies per axis: fewer prove nothing
EPSILON = 1e-6  # keeps a quotient defined where there is nothing to compare
# Gray levels at one place: more is another print on the same shirt, another digit on the same form.
MAX_LOCAL_DIFFERENCE = 40.0
MAX_CHROMA_DIFFERENCE = 10.0  # gray levels, root mean square
MAX_CONTRAST_FACTOR, MAX_BRIGHTNESS_DIFFERENCE = 1.3, 40.0  # a factor; gray levels
BLURS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)  # exponents: how a resampling filter dims the highest frequency compared


def verify(
    prints: NDArray[np.void], spectra: NDArray[np.float32], pairs: NDArray[np.int64], is_dense: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return for each pair whether its images are copies: bool `[P]`.

    Args:
        prints: FINGERPRINT `[N]`.
        spectra: float32 `[N, 8, 8]`, each of length one.
        pairs: int64 `[P, 2]`, rows of both.
        is_dense: bool `[N]`, whether an image is in a dense region; see `candidates`.
    """
    same = np.zeros(len(pairs), bool)
    finer_first = prints["size"].min(axis=1)[pairs]
    pairs = np.where((finer_first[:, 0] < finer_first[:, 1])[:, None], pairs[:, ::-1], pairs)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        fine, coarse = pairs[start : start + PAIRS_AT_ONCE].T
        similarity = np.stack(
            [
                np.einsum("puv,puv->p", spectra[fine], orient_spectra(spectra[coarse], orientation))
                for orientation in ORIENTATIONS
            ]
        )
        likely = np.flatnonzero(similarity.max(axis=0) > cosine(RESIZED_PAIR_DISTANCE))
        orientations = similarity.argmax(axis=0)[likely]
        fine, coarse = fine[likely], coarse[likely]
        same[start + likely] = _is_copy(prints[fine], prints[coarse], orientations, is_dense[fine] | is_dense[coarse])
    return same


def _is_copy(
    fine: NDArray[np.void], coarse: NDArray[np.void], orientations: NDArray[np.int64], is_dense: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return bool `[P]` for pairs, the larger image of each in `fine`, its partner to be oriented as given."""
    resized = (np.sort(fine["size"], axis=1) != np.sort(coarse["size"], axis=1)).any(axis=1)
    side = coarse["size"].min(axis=1)
    band = np.minimum(FINE_BAND, np.where(resized, np.rint(0.57 * side), side))  # above: aliasing
    frequency = np.arange(FINE_BAND)
    within = frequency < band[:, None]
    square = (frequency[:, None] ** 2 + frequency**2) / band[:, None, None] ** 2
    source = cosine_terms(fine["luma"], FINE_BAND) * (within[:, :, None] & within[:, None, :])
    copy = cosine_terms(coarse["luma"], FINE_BAND) * (within[:, :, None] & within[:, None, :])
    for orientation in ORIENTATIONS:
        chosen = orientations == orientation
        copy[chosen] = orient_spectra(copy[chosen], orientation)
    detail = np.maximum(np.sqrt((copy**2).sum(axis=(1, 2))), EPSILON)
    residual, contrast, difference = np.full(len(fine), np.inf), np.ones(len(fine)), np.zeros_like(copy)
    for blur in BLURS if resized.any() else BLURS[:1]:
        model = source * np.exp(-blur * square)
        gain = (model * copy).sum(axis=(1, 2)) / np.maximum((model**2).sum(axis=(1, 2)), EPSILON)
        left = copy - gain[:, None, None] * model
        length = np.sqrt((left**2).sum(axis=(1, 2)))
        better = (length < residual) & (resized | (blur == 0))
        residual[better], contrast[better], difference[better] = length[better], gain[better], left[better]
    waves = cosine_waves(FINE_BAND)
    fraction, levels = residual / detail, residual / SIDE
    sparse_alike = fraction <= SPARSE_RESIDUAL * band
    sparse_alike |= (fraction <= LOW_DETAIL_RESIDUAL * band) & (levels <= RESIDUAL_LEVELS * band)
    strict = band * np.where(resized & (band <= COARSE_BAND), COARSE_ALLOWANCE, 1)
    dense_alike = (fraction <= DENSE_RESIDUAL * strict) & (levels <= RESIDUAL_LEVELS * strict)
    alike: NDArray[np.bool_] = np.where(is_dense, dense_alike, sparse_alike)
    alike &= band >= MIN_BAND
    alike &= np.abs(waves.T @ difference @ waves).max(axis=(1, 2)) <= MAX_LOCAL_DIFFERENCE
    alike &= (contrast < MAX_CONTRAST_FACTOR) & (contrast > 1 / MAX_CONTRAST_FACTOR)
    alike &= np.abs(fine["luma"].mean(axis=(1, 2)) - coarse["luma"].mean(axis=(1, 2))) <= MAX_BRIGHTNESS_DIFFERENCE
    chroma = coarse["chroma"].astype(np.float32)
    for orientation in ORIENTATIONS:
        chosen = orientations == orientation
        chroma[chosen] = orient(chroma[chosen], orientation)
    alike &= np.sqrt(((fine["chroma"] - chroma) ** 2).mean(axis=(1, 2, 3))) <= MAX_CHROMA_DIFFERENCE
    return alike
