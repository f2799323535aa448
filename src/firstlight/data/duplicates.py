"""Pictures that are the same picture, so that no split can put copies on both sides.

Exact copies share a digest of their decoded pixels. Near copies (re-encoded, resized, turned by quarter turns,
mirrored, a little brighter) are found in three steps, none of which compares all pairs:

1. Every picture becomes a 32x32 grey thumbnail and a spectrum, the lowest 8x8 terms of its cosine transform.
   Turning or mirroring a picture only swaps and negates those terms, so their sorted sizes are the same for all
   eight ways to lay a picture down. That, scaled to length one, is the perceptual hash: 63 real numbers.
2. A tree cuts the hashes into small leaves that overlap by more than a copy can move, and each leaf is compared
   by one matrix product.
3. Each candidate is laid down as its partner lies and verified on the thumbnails' pixels, as finely as both
   pictures truly show. A picture among many look-alikes (handwritten ones) must match far more closely than
   a picture that stands alone. The limits below were measured on real sets;
   `benchmarks/planted_faults.py` measures what they find.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # of the thumbnail
HASH_BAND = 8  # frequencies a side in the hash
FINE_BAND = 16  # frequencies a side in the verification, where both pictures are large enough
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
FLAT = 2.0  # grey levels, root mean square: below this a hash would describe noise

LEAF, LARGEST_LEAF = 1024, 4096  # hashes compared by one matrix product
CUT_TERMS = 14  # the lowest and steadiest terms of the hash, which the tree cuts along
CUT_MARGIN = 0.04  # how far such a term may move between copies
WORST_CUT = 0.7  # a side that keeps more than this share means that the pictures lie too close to be cut apart
CANDIDATES_KEPT, NEIGHBOURS_KEPT = 64, 2  # of each picture, where a whole leaf looks alike

# Distances of hashes, at which pictures become candidates.
CROWD_REACH, CROWD = 0.25, 3  # with more neighbours than this so near, a picture is in a crowd of look-alikes
CROWDED_REACH, LONELY_REACH, RESIZED_REACH = 0.09, 0.15, 0.18

# What may remain between copies after fitting brightness, contrast and blur, of the picture's own detail.
# The finer the comparison, the more it proves: these three are for each frequency compared a side (2 to 16).
LONELY_REST, FAINT_REST = 0.15 / FINE_BAND, 0.25 / FINE_BAND  # faint: of no more grey levels than REST_LEVELS
CROWDED_REST = 0.08 / FINE_BAND  # and of no more than REST_LEVELS
REST_LEVELS = 4.0 / FINE_BAND  # grey levels, root mean square
# In a crowd, copies of another size may differ more where little can be compared, but never more than this in all.
RESIZED_ALLOWANCE, RESIZED_REST, RESIZED_LEVELS = 1.25, 0.05, 3.0
PLACE_LEVELS = 40.0  # grey levels at one place: another print on the same shirt, another digit on the same form
CHROMA_LEVELS = 10.0
CONTRAST_CHANGE, BRIGHTNESS_LEVELS = 1.3, 40.0
BLURS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)  # exponents: how a resampling filter dims the highest frequency compared
WAYS = range(8)  # to lay a picture down: 4 transposes, 2 flips upside down, 1 mirrors

Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Groups of pictures that are the same picture; each a sorted list of two or more indices.

    Attributes:
        exact: groups with the same decoded pixels.
        near: groups joined by near copies: each holds at least two different digests, and all exact copies of its
            members. A chain of near copies is one group.
    """

    exact: list[list[int]]
    near: list[list[int]]


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


def find_duplicates(prints: NDArray[np.void]) -> Duplicates:
    """Find the groups of pictures that are the same picture, in about N log N time.

    Pictures of one colour count as near copies only when their thumbnails are equal to the last grey level: there is
    nothing else to know them by.

    Args:
        prints: FINGERPRINT `[N]`.
    """
    if len(prints) == 0:
        return Duplicates([], [])
    _, first, digests = np.unique(prints["digest"], return_index=True, return_inverse=True)
    once = prints[first]
    spectra = _spectra(once["luma"], HASH_BAND)
    detail = np.sqrt((spectra**2).sum(axis=(1, 2)))
    detailed = detail >= FLAT * SIDE
    comparable = np.flatnonzero(detailed | once["plain"])
    _, first_look, looks = np.unique(_looks(once[comparable]), return_index=True, return_inverse=True)
    twins = np.column_stack([comparable[first_look[looks]], comparable])  # the same thumbnail to the last level
    shown = comparable[first_look]
    shown = shown[detailed[shown]]
    hashed = spectra[shown] / detail[shown, None, None]
    pairs, crowded = _candidates(_hashes(hashed), np.sort(once["size"][shown], axis=1))
    same = _verified(once[shown], hashed, pairs, crowded)
    links = np.concatenate([twins[twins[:, 0] != twins[:, 1]], shown[pairs[same]]])
    pictures = _merged(len(once), links.tolist())
    return Duplicates(
        exact=_groups(digests, np.bincount(digests, minlength=len(once)) > 1),
        near=_groups(pictures[digests], np.bincount(pictures, minlength=len(once)) > 1),
    )


def group_ids(count: int, duplicates: Duplicates, groups: Iterable[Sequence[int]] = ()) -> NDArray[np.int64]:
    """Merge exact copies, near copies and the user's own groups into one group a picture.

    Args:
        count: how many pictures there are, N.
        duplicates: what `find_duplicates` found among them.
        groups: indices that belong together for other reasons, such as pictures of one patient.

    Returns:
        int64 `[N]`: the smallest index in each picture's group; its own for a picture alone.
    """
    return _merged(count, itertools.chain(duplicates.exact, duplicates.near, groups))


def _merged(count: int, groups: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    """Name each of `count` things by the smallest index that a chain of groups joins it to."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for group in groups:
        for other in group[1:]:
            low, high = sorted((root(group[0]), root(other)))
            parent[high] = low
    return np.fromiter((root(index) for index in range(count)), np.int64, count)


def _groups(names: NDArray[np.int64], wanted: NDArray[np.bool_]) -> list[list[int]]:
    """List the indices that share a wanted name, each list sorted, the lists by their first index."""
    members = np.flatnonzero(wanted[names])
    members = members[np.argsort(names[members], kind="stable")]
    cuts = np.flatnonzero(np.diff(names[members])) + 1
    return sorted(part.tolist() for part in np.split(members, cuts) if len(part))


def _looks(prints: NDArray[np.void]) -> NDArray[np.void]:
    """Give a thumbnail's bytes as one comparable value."""
    luma = prints["luma"].reshape(-1, SIDE**2)
    chroma = np.ascontiguousarray(prints["chroma"]).reshape(-1, SIDE**2 // 8).view(np.uint8)
    both = np.concatenate([luma, chroma], axis=1)
    return both.view(f"V{both.shape[1]}")[:, 0]


def _cosines(band: int) -> NDArray[np.float32]:
    places, frequencies = np.arange(SIDE) + 0.5, np.arange(band)[:, None]
    waves: NDArray[np.float64] = np.cos(np.pi / SIDE * frequencies * places) * np.sqrt(2 / SIDE)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


def _spectra(luma: NDArray[np.uint8], band: int) -> NDArray[np.float32]:
    """Give the lowest terms of the orthonormal cosine transform, without the mean: `[N, band, band]`."""
    waves = _cosines(band)
    terms = np.empty((len(luma), band, band), np.float32)
    for start in range(0, len(luma), 8192):
        across = luma[start : start + 8192].astype(np.float32) @ waves.T
        terms[start : start + 8192] = np.swapaxes(np.swapaxes(across, 1, 2) @ waves.T, 1, 2)
    terms[:, 0, 0] = 0
    return terms


def _hashes(spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give what no turn or mirror changes, the lowest frequencies first: `[N, 63]`, each of length one."""
    down, across = np.triu_indices(HASH_BAND)
    order = np.argsort(down + across, kind="stable")[1:]
    down, across = down[order], across[order]
    one, other = spectra[:, down, across], spectra[:, across, down]
    signed = (down % 2 == 0) & (across % 2 == 0)  # no flip negates these
    one, other = np.where(signed, one, np.abs(one)), np.where(signed, other, np.abs(other))
    both = np.stack([np.maximum(one, other), np.minimum(one, other)], axis=2).reshape(len(spectra), 2 * len(down))
    return np.ascontiguousarray(both[:, np.column_stack([down >= 0, down != across]).ravel()])


def _candidates(hashes: NDArray[np.float32], sizes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the pairs worth a look, `[P, 2]`, and which pictures are in a crowd, `[N]`."""
    count = len(hashes)
    neighbours = np.zeros(count, np.int64)
    found = [np.empty(0, np.int64)]
    sides = sizes[:, 0].astype(np.int64) << 32 | sizes[:, 1]
    for rows in _leaves(hashes):
        likeness = hashes[rows] @ hashes[rows].T
        near = np.count_nonzero(likeness > _cosine(CROWD_REACH), axis=1) - 1
        neighbours[rows] = np.maximum(neighbours[rows], near)
        floor = np.where(near > CROWD, _cosine(CROWDED_REACH), _cosine(LONELY_REACH)).astype(np.float32)
        close = likeness > np.maximum(floor[:, None], floor)
        resized = np.flatnonzero(sides[rows] != _commonest(sides[rows]))
        far = (likeness[resized] > _cosine(RESIZED_REACH)) & (sides[rows[resized], None] != sides[rows])
        close[resized] |= far
        close[:, resized] |= far.T
        if np.count_nonzero(close) > CANDIDATES_KEPT * len(rows):  # each keeps its nearest, and a chain joins all
            nearest = np.argpartition(likeness, -NEIGHBOURS_KEPT - 1, axis=1)[:, -NEIGHBOURS_KEPT - 1 :]
            close[:] = False
            np.put_along_axis(close, nearest, True, axis=1)
            close |= close.T
            close |= np.eye(len(rows), k=1, dtype=bool) | np.eye(len(rows), k=-1, dtype=bool)
        one, other = np.divmod(np.flatnonzero(close), len(rows))
        low, high = rows[one], rows[other]
        found.append((low * count + high)[low < high])
    pairs = np.unique(np.concatenate(found))
    return np.column_stack([pairs // max(count, 1), pairs % max(count, 1)]), neighbours > CROWD


def _commonest(values: NDArray[np.int64]) -> np.int64:
    kinds, counts = np.unique(values, return_counts=True)
    commonest: np.int64 = kinds[counts.argmax()]
    return commonest


def _cosine(distance: float) -> np.float32:
    return np.float32(1 - distance**2 / 2)


def _leaves(hashes: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    """Cut the pictures into small sets, so that two closer than CUT_MARGIN in every cut term share one."""
    waiting = [np.arange(len(hashes))] if len(hashes) else []
    while waiting:
        rows = waiting.pop()
        if len(rows) <= LEAF:
            yield rows
            continue
        terms = hashes[rows, :CUT_TERMS]
        term = terms[:, np.argmax(terms.std(axis=0))]
        cut = np.median(term)
        sides = rows[term <= cut + CUT_MARGIN / 2], rows[term >= cut - CUT_MARGIN / 2]
        if max(map(len, sides)) <= WORST_CUT * len(rows):
            waiting.extend(sides)
        elif len(rows) <= LARGEST_LEAF:
            yield rows
        else:  # more look-alikes than can be compared: each meets those next to it along the widest term
            rows = rows[np.argsort(term, kind="stable")]
            yield from (rows[start : start + LEAF] for start in range(0, len(rows) - LEAF // 2, LEAF // 2))


def _verified(
    prints: NDArray[np.void], hashed: NDArray[np.float32], pairs: NDArray[np.int64], crowded: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say for each pair whether it is one picture: bool `[P]`."""
    same = np.zeros(len(pairs), bool)
    finer_first = prints["size"].min(axis=1)[pairs]
    pairs = np.where((finer_first[:, 0] < finer_first[:, 1])[:, None], pairs[:, ::-1], pairs)
    for start in range(0, len(pairs), 16384):
        fine, coarse = pairs[start : start + 16384].T
        likeness = np.stack([np.einsum("puv,puv->p", hashed[fine], _laid_spectra(hashed[coarse], way)) for way in WAYS])
        likely = np.flatnonzero(likeness.max(axis=0) > _cosine(RESIZED_REACH))
        ways = likeness.argmax(axis=0)[likely]
        fine, coarse = fine[likely], coarse[likely]
        same[start + likely] = _is_copy(prints[fine], prints[coarse], ways, crowded[fine] | crowded[coarse])
    return same


def _is_copy(
    fine: NDArray[np.void], coarse: NDArray[np.void], ways: NDArray[np.int64], crowded: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    resized = (np.sort(fine["size"], axis=1) != np.sort(coarse["size"], axis=1)).any(axis=1)
    side = coarse["size"].min(axis=1)
    band = np.minimum(FINE_BAND, np.where(resized, np.rint(0.57 * side), side))
    frequency = np.arange(FINE_BAND)
    within = frequency < band[:, None]
    square = (frequency[:, None] ** 2 + frequency**2) / band[:, None, None] ** 2
    source = _spectra(fine["luma"], FINE_BAND) * (within[:, :, None] & within[:, None, :])
    copy = _spectra(coarse["luma"], FINE_BAND) * (within[:, :, None] & within[:, None, :])
    for way in WAYS:
        copy[ways == way] = _laid_spectra(copy[ways == way], way)
    detail = np.sqrt((copy**2).sum(axis=(1, 2)))
    rest, contrast, over = np.full(len(fine), np.inf), np.ones(len(fine)), np.zeros_like(copy)
    for blur in BLURS if resized.any() else BLURS[:1]:
        model = source * np.exp(-blur * square)
        gain = (model * copy).sum(axis=(1, 2)) / (model**2).sum(axis=(1, 2))
        left = copy - gain[:, None, None] * model
        length = np.sqrt((left**2).sum(axis=(1, 2)))
        better = (length < rest) & (resized | (blur == 0))
        rest[better], contrast[better], over[better] = length[better], gain[better], left[better]
    waves = _cosines(FINE_BAND)
    share, levels = rest / detail, rest / SIDE
    lonely_alike = share <= LONELY_REST * band
    lonely_alike |= (share <= FAINT_REST * band) & (levels <= REST_LEVELS * band)
    most, most_levels = CROWDED_REST * band, REST_LEVELS * band
    most = np.where(resized, np.minimum(RESIZED_ALLOWANCE * most, RESIZED_REST), most)
    most_levels = np.where(resized, np.minimum(RESIZED_ALLOWANCE * most_levels, RESIZED_LEVELS), most_levels)
    crowded_alike = (share <= most) & (levels <= most_levels)
    alike: NDArray[np.bool_] = np.where(crowded, crowded_alike, lonely_alike)
    alike &= np.abs(waves.T @ over @ waves).max(axis=(1, 2)) <= PLACE_LEVELS
    alike &= (contrast < CONTRAST_CHANGE) & (contrast > 1 / CONTRAST_CHANGE)
    alike &= np.abs(fine["luma"].mean(axis=(1, 2)) - coarse["luma"].mean(axis=(1, 2))) <= BRIGHTNESS_LEVELS
    chroma = coarse["chroma"].astype(np.float32)
    for way in WAYS:
        chroma[ways == way] = _laid(chroma[ways == way], way)
    alike &= np.sqrt(((fine["chroma"] - chroma) ** 2).mean(axis=(1, 2, 3))) <= CHROMA_LEVELS
    return alike


def _laid(pictures: Numbers, way: int) -> Numbers:
    """Lay `[P, side, side, ...]` down in one of the eight ways."""
    if way & 4:
        pictures = np.swapaxes(pictures, 1, 2)
    return pictures[:, :: -1 if way & 2 else 1, :: -1 if way & 1 else 1]


def _laid_spectra(spectra: NDArray[np.float32], way: int) -> NDArray[np.float32]:
    """Do to spectra what `_laid` does to their pictures: a flip negates the odd frequencies across it."""
    if way & 4:
        spectra = np.swapaxes(spectra, 1, 2)
    signs = np.float32(-1) ** np.arange(spectra.shape[-1], dtype=np.float32)
    if way & 2:
        spectra = spectra * signs[:, None]
    return spectra * signs if way & 1 else spectra
