"""Find the pairs of images that may be near copies, without comparing all pairs.

An image with many similar neighbors, such as a handwritten digit among thousands, is in a dense region of the hash
space: there a pair must be much closer to be a candidate.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LEAF_HASHES, MAX_LEAF_HASHES = 1024, 4096  # compared by one matrix product
CUT_TERMS = 14  # the lowest and most stable terms of the hash, along which the tree cuts
CUT_MARGIN = 0.04  # how far such a term may differ between copies
# The sides of a cut overlap. Where each row of a part of the set is in so many parts on average, further sides overlap
# by this fraction at most, so that an image is compared about as often however large the set is.
MAX_SPREAD, NARROW_OVERLAP = 4.0, 0.02
MAX_CUT_FRACTION = 0.7  # if a side keeps a larger fraction, the images are too similar to be cut apart
MAX_PAIRS_PER_IMAGE = 64  # in a leaf; with more, each image keeps only its nearest neighbors
NEIGHBORS_KEPT = 2

# Euclidean distances between hashes.
DENSE_DISTANCE, DENSE_NEIGHBORS = 0.25, 3  # an image with more neighbors within this distance is in a dense region
DENSE_PAIR_DISTANCE, SPARSE_PAIR_DISTANCE, RESIZED_PAIR_DISTANCE = 0.09, 0.15, 0.18  # of candidate pairs, at most


def candidate_pairs(
    hashes: NDArray[np.float32], sizes: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the pairs that may be near copies, and which images are in a dense region.

    Args:
        hashes: float32 `[N, 63]`, each of length one.
        sizes: int32 `[N, 2]`, the shorter and the longer side of each image in pixels.

    Returns:
        Pairs of rows int64 `[P, 2]`, and bool `[N]`.
    """
    count = len(hashes)
    neighbors = np.zeros(count, np.int64)
    found = [np.empty(0, np.int64)]
    sides = sizes[:, 0].astype(np.int64) << 32 | sizes[:, 1]
    for rows in _leaves(hashes):
        similarity = hashes[rows] @ hashes[rows].T
        near = np.add.reduce((similarity > cosine(DENSE_DISTANCE)).view(np.uint8), axis=0, dtype=np.uint16) - 1
        neighbors[rows] = np.maximum(neighbors[rows], near)
        is_dense = near > DENSE_NEIGHBORS
        floor = np.where(is_dense, cosine(DENSE_PAIR_DISTANCE), cosine(SPARSE_PAIR_DISTANCE)).astype(np.float32)
        side = sides[rows]
        reached = np.flatnonzero(similarity > cosine(RESIZED_PAIR_DISTANCE))  # few: only these pairs are considered
        one = reached // len(rows)
        other, similar = reached - one * len(rows), similarity.ravel()[reached]
        close = similar > np.maximum(floor[one], floor[other])
        if len(resized := np.flatnonzero(side != _most_common(side))):
            may_be_resized = np.isin(one, resized) | np.isin(other, resized)
            close |= (similar > cosine(RESIZED_PAIR_DISTANCE)) & may_be_resized & (side[one] != side[other])
        one, other = one[close], other[close]
        if len(one) > MAX_PAIRS_PER_IMAGE * len(rows):  # keep the nearest of each image, and a chain through all
            nearest = np.argpartition(similarity, -NEIGHBORS_KEPT - 1, axis=1)[:, -NEIGHBORS_KEPT - 1 :]
            order = np.arange(len(rows))
            one, other = np.append(np.repeat(order, NEIGHBORS_KEPT + 1), order[:-1]), np.append(nearest, order[1:])
            one, other = np.append(one, other), np.append(other, one)
        low, high = rows[one], rows[other]
        found.append((low * count + high)[low < high])
    pairs = np.unique(np.concatenate(found))
    return np.column_stack([pairs // max(count, 1), pairs % max(count, 1)]), neighbors > DENSE_NEIGHBORS


def _most_common(values: NDArray[np.int64]) -> np.int64:
    kinds, counts = np.unique(values, return_counts=True)
    most_common: np.int64 = kinds[counts.argmax()]
    return most_common


def cosine(distance: float) -> np.float32:
    """Return the cosine of the angle between two hashes of length one that are this far apart."""
    return np.float32(1 - distance**2 / 2)


def _leaves(hashes: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    """Yield small sets of rows, such that two images closer than CUT_MARGIN in every cut term share a set.

    In a part of the set whose rows are in MAX_SPREAD sets already, they may be in two sets if more than about
    NARROW_OVERLAP of that part lies between them.
    """
    waiting = [(np.arange(len(hashes)), 1.0)] if len(hashes) else []
    while waiting:
        rows, spread = waiting.pop()
        if len(rows) <= LEAF_HASHES:
            yield rows
            continue
        terms = hashes[rows, :CUT_TERMS]
        term = terms[:, np.argmax(terms.std(axis=0))]
        cut = np.median(term)
        low, high = cut - CUT_MARGIN / 2, cut + CUT_MARGIN / 2
        if spread > MAX_SPREAD:
            narrow = np.quantile(term, (0.5 - NARROW_OVERLAP / 2, 0.5 + NARROW_OVERLAP / 2))
            low, high = max(low, narrow[0]), min(high, narrow[1])
        sides = rows[term <= high], rows[term >= low]
        if max(map(len, sides)) <= MAX_CUT_FRACTION * len(rows):
            wider = spread * sum(map(len, sides)) / len(rows)
            waiting.extend((side, wider) for side in sides)
        elif len(rows) <= MAX_LEAF_HASHES:
            yield rows
        else:  # too many similar images to compare: each is compared with those next to it along the widest term
            rows = rows[np.argsort(term, kind="stable")]
            step = LEAF_HASHES // 2
            yield from (rows[start : start + LEAF_HASHES] for start in range(0, len(rows) - step, step))
