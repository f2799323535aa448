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

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates.candidates import candidates
from firstlight.data.duplicates.spectra import HASH_BAND, SIDE, cosine_terms, hashes
from firstlight.data.duplicates.verification import verified

FLAT = 2.0  # grey levels, root mean square: below this a hash would describe noise


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
    terms = cosine_terms(once["luma"], HASH_BAND)
    detail = np.sqrt((terms**2).sum(axis=(1, 2)))
    detailed = detail >= FLAT * SIDE
    comparable = np.flatnonzero(detailed | once["plain"])
    _, first_look, looks = np.unique(_looks(once[comparable]), return_index=True, return_inverse=True)
    twins = np.column_stack([comparable[first_look[looks]], comparable])  # the same thumbnail to the last level
    shown = comparable[first_look]
    shown = shown[detailed[shown]]
    hashed = terms[shown] / detail[shown, None, None]
    pairs, crowded = candidates(hashes(hashed), np.sort(once["size"][shown], axis=1))
    same = verified(once[shown], hashed, pairs, crowded)
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
