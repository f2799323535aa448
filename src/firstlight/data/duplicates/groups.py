"""Group images that are the same image, from their fingerprints.

Exact copies share a digest of their decoded pixels. Near copies (re-encoded, resized, rotated by quarter turns,
mirrored, a little brighter) are found in three steps, none of which compares all pairs:

1. Every image becomes a 32x32 gray thumbnail and a spectrum, the lowest 8x8 terms of its cosine transform.
   Rotating or mirroring an image only swaps and negates those terms, so their sorted magnitudes are the same in all
   eight orientations. Scaled to length one, they are the perceptual hash: 63 real numbers.
2. A tree cuts the hashes into small leaves that overlap by more than a copy can move, and each leaf is compared
   by one matrix product.
3. Each candidate is brought to the orientation of its partner and verified on the pixels of the thumbnails, at the
   finest resolution that both images have. An image with many similar neighbors (a handwritten one) must match far
   more closely than an image without. The limits were measured on real sets; `benchmarks/planted_faults.py`
   measures what they find.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from firstlight.data.duplicates.candidates import candidate_pairs
from firstlight.data.duplicates.spectra import HASH_BAND, SIDE, cosine_terms, hashes
from firstlight.data.duplicates.verification import verify

MIN_DETAIL = 2.0  # gray levels, root mean square: with less, a hash would describe noise


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Groups of images that are the same image; each a sorted list of two or more indices.

    Attributes:
        exact: groups with the same decoded pixels.
        near: groups joined by near copies: each holds at least two different digests, and all exact copies of its
            members. A chain of near copies is one group.
    """

    exact: list[list[int]]
    near: list[list[int]]


def find_duplicates(prints: NDArray[np.void]) -> Duplicates:
    """Return the groups of images that are the same image; takes about N log N time.

    Images of a single color count as near copies only if their thumbnails are exactly equal: there is nothing else
    to compare.

    Args:
        prints: FINGERPRINT `[N]`.
    """
    if len(prints) == 0:
        return Duplicates([], [])
    first, digests = _group_equal(prints["digest"].tolist())
    terms, detail = _detail(prints["luma"][first])
    detailed = detail >= MIN_DETAIL * SIDE
    comparable = np.flatnonzero(detailed | prints["plain"][first])
    first_thumbnail, thumbnails = _group_equal(_thumbnail_digests(prints, first[comparable]))
    equal = np.column_stack([comparable[first_thumbnail[thumbnails]], comparable])  # pairs with equal thumbnails
    distinct = comparable[first_thumbnail]
    distinct = distinct[detailed[distinct]]
    spectra = terms[distinct] / detail[distinct, None, None]
    pairs, is_dense = candidate_pairs(hashes(spectra), np.sort(prints["size"][first[distinct]], axis=1))
    same = verify(prints[first[distinct]], spectra, pairs, is_dense)
    links = np.concatenate([equal[equal[:, 0] != equal[:, 1]], distinct[pairs[same]]])
    images = _merge(len(first), links.tolist())
    return Duplicates(
        exact=_groups(digests, np.bincount(digests, minlength=len(first)) > 1),
        near=_groups(images[digests], np.bincount(images, minlength=len(first)) > 1),
    )


def is_nearly_plain(prints: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which images, `[N]`, have too little detail to be compared by thumbnails; all of their pixels must be."""
    return _detail(prints["luma"])[1] < MIN_DETAIL * SIDE


def separate_exact_copies(found: Duplicates, digests: Mapping[int, bytes]) -> Duplicates:
    """Return the same groups, with exact copies separated from near ones by digests of their pixels.

    Args:
        found: by fingerprints whose digests were of files: equal files have equal pixels, but not the other way round.
        digests: of the pixels, for every index in `found.near`.
    """
    exact, near = [group for group in found.exact if group[0] not in digests], []
    for group in found.near:
        equal: dict[bytes, list[int]] = {}
        for index in group:
            equal.setdefault(digests[index], []).append(index)
        exact += [copies for copies in equal.values() if len(copies) > 1]
        near += [group] if len(equal) > 1 else []
    return Duplicates(sorted(exact), near)


def group_ids(count: int, duplicates: Duplicates, groups: Iterable[Sequence[int]] = ()) -> NDArray[np.int64]:
    """Return one group for each image, merged from exact copies, near copies and the user's own groups.

    Args:
        count: how many images there are, N.
        duplicates: what `find_duplicates` found among them.
        groups: indices that belong together for other reasons, such as images of one patient.

    Returns:
        int64 `[N]`: the smallest index in each image's group; its own for an image without a group.
    """
    return _merge(count, itertools.chain(duplicates.exact, duplicates.near, groups))


def _merge(count: int, groups: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    """Return for each index the smallest one that a chain of groups joins it to: int64 `[count]`."""
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
    """Return lists of the indices that share a wanted name, each list sorted, the lists by their first index."""
    members = np.flatnonzero(wanted[names])
    members = members[np.argsort(names[members], kind="stable")]
    cuts = np.flatnonzero(np.diff(names[members])) + 1
    return sorted(group.tolist() for group in np.split(members, cuts) if len(group))


def _detail(luma: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the terms of the hash, `[N, 8, 8]`, and their length, which is how much detail an image has: `[N]`."""
    terms = cosine_terms(luma, HASH_BAND)
    return terms, np.sqrt((terms**2).sum(axis=(1, 2)))


def _thumbnail_digests(prints: NDArray[np.void], rows: NDArray[np.int64]) -> list[bytes]:
    """Return a digest of each thumbnail: as large a number as no two of them share by chance."""
    return [
        xxhash.xxh3_128_digest(prints["luma"][row].tobytes() + prints["chroma"][row].tobytes()) for row in rows.tolist()
    ]


def _group_equal(values: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first index of each distinct value, in sorted order, and for each value its number in that order."""
    first: dict[bytes, int] = {}
    for index, value in enumerate(values):
        first.setdefault(value, index)
    numbers = {value: number for number, value in enumerate(sorted(first))}
    firsts = np.fromiter((first[value] for value in numbers), np.int64, len(numbers))
    return firsts, np.fromiter((numbers[value] for value in values), np.int64, len(values))
