"""Pairs worth a look, found without comparing all pairs, and which images stand in a crowd of look-alikes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LEAF, LARGEST_LEAF = 1024, 4096  # hashes compared by one matrix product
CUT_TERMS = 14  # the lowest and steadiest terms of the hash, which the tree cuts along
CUT_MARGIN = 0.04  # how far such a term may move between copies
WORST_CUT = 0.7  # a side that keeps more than this share means that the images lie too close to be cut apart
CANDIDATES_KEPT, NEIGHBORS_KEPT = 64, 2  # of each image, where a whole leaf looks alike

# Distances of hashes, at which images become candidates.
CROWD_REACH, CROWD = 0.25, 3  # with more neighbors than this so near, an image is in a crowd of look-alikes
CROWDED_REACH, LONELY_REACH, RESIZED_REACH = 0.09, 0.15, 0.18


def candidates(hashes: NDArray[np.float32], sizes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the pairs worth a look, `[P, 2]`, and which images are in a crowd, `[N]`."""
    count = len(hashes)
    neighbors = np.zeros(count, np.int64)
    found = [np.empty(0, np.int64)]
    sides = sizes[:, 0].astype(np.int64) << 32 | sizes[:, 1]
    for rows in _leaves(hashes):
        likeness = hashes[rows] @ hashes[rows].T
        near = np.add.reduce((likeness > cosine(CROWD_REACH)).view(np.uint8), axis=0, dtype=np.uint16) - 1
        neighbors[rows] = np.maximum(neighbors[rows], near)
        floor = np.where(near > CROWD, cosine(CROWDED_REACH), cosine(LONELY_REACH)).astype(np.float32)
        side = sides[rows]
        reached = np.flatnonzero(likeness > cosine(RESIZED_REACH))  # few: what follows looks at no other pairs
        one = reached // len(rows)
        other, alike = reached - one * len(rows), likeness.ravel()[reached]
        close = alike > np.maximum(floor[one], floor[other])
        if len(resized := np.flatnonzero(side != _commonest(side))):
            may_be_resized = np.isin(one, resized) | np.isin(other, resized)
            close |= (alike > cosine(RESIZED_REACH)) & may_be_resized & (side[one] != side[other])
        one, other = one[close], other[close]
        if len(one) > CANDIDATES_KEPT * len(rows):  # each keeps its nearest, and a chain joins all
            nearest = np.argpartition(likeness, -NEIGHBORS_KEPT - 1, axis=1)[:, -NEIGHBORS_KEPT - 1 :]
            order = np.arange(len(rows))
            one, other = np.append(np.repeat(order, NEIGHBORS_KEPT + 1), order[:-1]), np.append(nearest, order[1:])
            one, other = np.append(one, other), np.append(other, one)
        low, high = rows[one], rows[other]
        found.append((low * count + high)[low < high])
    pairs = np.unique(np.concatenate(found))
    return np.column_stack([pairs // max(count, 1), pairs % max(count, 1)]), neighbors > CROWD


def _commonest(values: NDArray[np.int64]) -> np.int64:
    kinds, counts = np.unique(values, return_counts=True)
    commonest: np.int64 = kinds[counts.argmax()]
    return commonest


def cosine(distance: float) -> np.float32:
    """Give the cosine between two hashes of length one that lie this far apart."""
    return np.float32(1 - distance**2 / 2)


def _leaves(hashes: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    """Cut the images into small sets, so that two closer than CUT_MARGIN in every cut term share one."""
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
