"""Images that are the same image, so that no split can put copies on both sides.

Exact copies share a digest of their decoded pixels. Near copies (re-encoded, resized, turned by quarter turns,
mirrored, a little brighter) are found in three steps, none of which compares all pairs:

1. Every image becomes a 32x32 gray thumbnail and a spectrum, the lowest 8x8 terms of its cosine transform.
   Turning or mirroring an image only swaps and negates those terms, so their sorted sizes are the same for all
   eight ways to lay an image down. That, scaled to length one, is the perceptual hash: 63 real numbers.
2. A tree cuts the hashes into small leaves that overlap by more than a copy can move, and each leaf is compared
   by one matrix product.
3. Each candidate is laid down as its partner lies and verified on the thumbnails' pixels, as finely as both
   images truly show. An image among many look-alikes (handwritten ones) must match far more closely than
   an image that stands alone. The limits below were measured on real sets;
   `benchmarks/planted_faults.py` measures what they find.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.data.duplicates.candidates import candidates
from firstlight.data.duplicates.spectra import HASH_BAND, SIDE, cosine_terms, hashes
from firstlight.data.duplicates.verification import verified

FLAT = 2.0  # gray levels, root mean square: below this a hash would describe noise


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
    """Find the groups of images that are the same image, in about N log N time.

    Images of one color count as near copies only when their thumbnails are equal to the last gray level: there is
    nothing else to know them by.

    Args:
        prints: FINGERPRINT `[N]`.
    """
    if len(prints) == 0:
        return Duplicates([], [])
    first, digests = _equal(prints["digest"].tolist())
    terms, detail = _detail(prints["luma"][first])
    detailed = detail >= FLAT * SIDE
    comparable = np.flatnonzero(detailed | prints["plain"][first])
    first_look, reading = _equal(_looks(prints, first[comparable]))
    twins = np.column_stack([comparable[first_look[reading]], comparable])  # the same thumbnail to the last level
    shown = comparable[first_look]
    shown = shown[detailed[shown]]
    hashed = terms[shown] / detail[shown, None, None]
    pairs, crowded = candidates(hashes(hashed), np.sort(prints["size"][first[shown]], axis=1))
    same = verified(prints[first[shown]], hashed, pairs, crowded)
    links = np.concatenate([twins[twins[:, 0] != twins[:, 1]], shown[pairs[same]]])
    images = _merged(len(first), links.tolist())
    return Duplicates(
        exact=_groups(digests, np.bincount(digests, minlength=len(first)) > 1),
        near=_groups(images[digests], np.bincount(images, minlength=len(first)) > 1),
    )


def is_faint(prints: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which images, `[N]`, show too little to be known by their thumbnails: only all of their pixels tell."""
    return _detail(prints["luma"])[1] < FLAT * SIDE


def told_apart(found: Duplicates, digests: Mapping[int, bytes]) -> Duplicates:
    """Tell exact copies from near ones anew, by better digests than the fingerprints had.

    Args:
        found: by fingerprints whose digests were of files: equal ones mean equal pixels, but not the other way round.
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
    """Merge exact copies, near copies and the user's own groups into one group an image.

    Args:
        count: how many images there are, N.
        duplicates: what `find_duplicates` found among them.
        groups: indices that belong together for other reasons, such as images of one patient.

    Returns:
        int64 `[N]`: the smallest index in each image's group; its own for an image alone.
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


def _detail(luma: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the terms of the hash, and how much there is to see in them."""
    terms = cosine_terms(luma, HASH_BAND)
    return terms, np.sqrt((terms**2).sum(axis=(1, 2)))


def _looks(prints: NDArray[np.void], rows: NDArray[np.int64]) -> list[bytes]:
    """Give the bytes of each thumbnail."""
    both = zip(prints["luma"][rows], prints["chroma"][rows], strict=True)
    return [luma.tobytes() + chroma.tobytes() for luma, chroma in both]


def _equal(things: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort the kinds of equal things: where each kind first is, and the kind of each thing."""
    first: dict[bytes, int] = {}
    for place, thing in enumerate(things):
        first.setdefault(thing, place)
    kinds = {thing: kind for kind, thing in enumerate(sorted(first))}
    firsts = np.fromiter((first[thing] for thing in kinds), np.int64, len(kinds))
    return firsts, np.fromiter((kinds[thing] for thing in things), np.int64, len(things))
