"""Shortcuts: what tells the classes apart and is not the object, such as a border, a size, or a camera.

A cue of single values, such as the size of a picture, predicts the class of each image from the classes of those images
of other folds that have the same value. A patch at the edge predicts it from the most similar patch of another image,
and has to do better than the patch just inside it, since background belongs to many objects. All p-values are exact,
and corrected for the number of looks.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
MAX_P_ONE_LOOK = 3.2e-5  # four standard deviations
MAX_P = 1e-3  # corrected for all looks
MIN_RATIO = 6  # a value is a mark of a class if it is so many times as frequent in it as in the others
# How much of a class, or of all classes, a cue has to tell beyond its baseline.
MIN_GAIN, MIN_GAIN_OF_CLASS = 0.15, 0.20
MIN_EXCESS, MIN_EXCESS_OF_CLASS = 0.10, 0.23
# The backgrounds of a class may be alike, as of hats on one cloth. If less of a class is told than this, it counts only
# if the patches are nearly the same: gray levels, root mean square.
SURE_EXCESS_OF_CLASS, NEARLY_SAME = 0.40, 4.0
MIN_IMAGES_OF_CLASS = 4
MAX_CELLS = 2**23  # of a table of distances that is in memory at a time

Labels = NDArray[np.int64]


class ValueCue(NamedTuple):
    """A cue of single values: its name, and several ways to write it as a whole number, each int64 `[n]`."""

    name: str
    codes: Sequence[NDArray[np.int64]]


class PatchCue(NamedTuple):
    """A cue of patches: its name, and features at the edge and just inside it, each float32 `[n, D]`."""

    name: str
    edge: NDArray[np.float32]
    inside: NDArray[np.float32]


@dataclass(frozen=True)
class Shortcut:
    """A cue that tells classes apart.

    Attributes:
        cue: such as `border`, `corner top left`, `size`, `jpeg`, `exif camera`.
        gain: what it tells beyond the baseline, as a fraction of the images.
        baseline: what is told without it. Of all classes: the mean accuracy of guessing, or of the patch just inside.
            Of one class: the fraction of other images that have its mark; or, just inside, how much more of the class
            than of the others is taken for it.
        p: how likely so much is by chance, corrected for the number of looks.
        label: the one class that is told from all others; None if all are told apart.
    """

    cue: str
    gain: float
    baseline: float
    p: float
    label: str | None = None


def find_shortcuts(
    values: Iterable[ValueCue],
    patches: Iterable[PatchCue],
    labels: Labels,
    classes: Sequence[str],
    groups: NDArray[np.int64] | None = None,
) -> tuple[Shortcut, ...]:
    """Return the shortcuts in a set, the one that tells most first; one for each name of a cue.

    Args:
        values: cues of single values.
        patches: cues of patches.
        labels: int64 `[n]`.
        classes: the K names.
        groups: int64 `[n]`; of the images of one group and class, such as copies, only one is looked at.
    """
    values, patches = list(values), list(patches)
    rows = _one_of_each(labels, np.arange(len(labels)) if groups is None else groups)
    present, labels = np.unique(labels[rows], return_inverse=True)
    if len(present) < 2:
        return ()
    names = [classes[label] for label in present]
    looks = (len(present) + 1) * (sum(len(cue.codes) for cue in values) + len(patches))
    found = [_told_by_value(cue.name, code[rows], labels, names) for cue in values for code in cue.codes]
    found += [_told_by_patch(cue.name, cue.edge[rows], cue.inside[rows], labels, names) for cue in patches]
    best: dict[str, Shortcut] = {}
    for one in found:
        if one is None or one.p > MAX_P_ONE_LOOK or one.p * looks > MAX_P:
            continue
        if one.cue not in best or one.gain > best[one.cue].gain:
            best[one.cue] = Shortcut(one.cue, one.gain, one.baseline, one.p * looks, one.label)
    return tuple(sorted(best.values(), key=lambda one: -one.gain))


def _one_of_each(labels: Labels, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one row for each group and class in an order that says nothing, always the same: int64 `[m]`."""
    _, first = np.unique(np.stack([labels, groups]), axis=1, return_index=True)
    return np.random.default_rng(0).permutation(first)


def _told_by_value(cue: str, code: NDArray[np.int64], labels: Labels, names: list[str]) -> Shortcut | None:
    """Return what a cue of single values tells, whatever its p; None if that is too little."""
    _, code = np.unique(code, return_inverse=True)
    if code.max() == 0:
        return None
    count, sizes = len(labels), np.bincount(labels)
    guess, marked = np.full(count, -1), np.zeros((count, len(sizes)), np.bool_)
    folds = np.arange(count) % FOLDS
    for fold in range(FOLDS):
        rest, here = folds != fold, folds == fold
        table = np.zeros((code.max() + 1, len(sizes)))
        np.add.at(table, (code[rest], labels[rest]), 1)
        known = np.maximum(table.sum(axis=0), 1)
        others = (table.sum(axis=1, keepdims=True) - table) / np.maximum(rest.sum() - known, 1)
        likely = table / known
        best = np.where(table.any(axis=1), likely.argmax(axis=1), -1)
        guess[here] = best[code[here]]
        marked[here] = (likely > MIN_RATIO * (others + 1 / count))[code[here]]
    right = guess == labels
    in_class = marked[np.arange(count), labels]
    hits = np.bincount(labels, in_class, len(sizes))
    false = (marked.sum(axis=0) - hits) / np.maximum(count - sizes, 1)
    gains = np.where(sizes >= MIN_IMAGES_OF_CLASS, hits / sizes - false, 0)
    recall, baseline = _mean_by_class(right, labels).mean(), 1 / len(sizes)
    if recall - baseline > MIN_GAIN and (gains > MIN_GAIN_OF_CLASS).sum() != 1:
        by_chance = float(np.bincount(guess[guess >= 0], minlength=len(sizes)) @ sizes) / count**2
        return Shortcut(cue, float(recall - baseline), baseline, _tail(int(right.sum()), count, by_chance))
    top = int(gains.argmax())
    if gains[top] <= MIN_GAIN_OF_CLASS:
        return None
    p = _overlap_p(int(hits[top]), int(sizes[top]), int(marked[:, top].sum()), count)
    return Shortcut(cue, float(gains[top]), float(false[top]), p, names[top])


def _told_by_patch(
    cue: str, edge: NDArray[np.float32], inside: NDArray[np.float32], labels: Labels, names: list[str]
) -> Shortcut | None:
    """Return what patches at the edge tell beyond those inside, whatever its p; None if that is too little."""
    count, sizes = len(labels), np.bincount(labels)
    neighbors = _nearest(edge)
    guess, guess_inside = labels[neighbors], labels[_nearest(inside)]
    right, right_inside = guess == labels, guess_inside == labels

    def told(answers: Labels) -> NDArray[np.float64]:
        """Return of each class the fraction that is taken for it, beyond the fraction of the others that is."""
        hits = np.bincount(labels, answers == labels, len(sizes))
        false = np.bincount(answers, minlength=len(sizes)) - hits
        return hits / sizes - false / np.maximum(count - sizes, 1)

    baselines = np.maximum(told(guess_inside), 0)
    gains = np.where(sizes >= MIN_IMAGES_OF_CLASS, told(guess) - baselines, 0)
    top = int(gains.argmax())
    baseline = _mean_by_class(right_inside, labels).mean()
    excess = _mean_by_class(right, labels).mean() - baseline
    of_class = labels == top
    won = np.flatnonzero(of_class & right & ~right_inside)
    apart = np.sqrt(np.square(edge[won] - edge[neighbors[won]]).mean(axis=1))
    is_marked = (
        gains[top] > MIN_EXCESS_OF_CLASS
        and (gains[top] > SURE_EXCESS_OF_CLASS or (won.size > 0 and np.median(apart) <= NEARLY_SAME))
        and _paired_p(right[of_class], right_inside[of_class]) <= MAX_P
    )
    if excess > MIN_EXCESS and not (is_marked and (gains > MIN_EXCESS_OF_CLASS).sum() == 1):
        return Shortcut(cue, float(excess), float(baseline), _paired_p(right, right_inside))
    if not is_marked:
        return None
    p = _overlap_p(int(right[of_class].sum()), int(sizes[top]), int((guess == top).sum()), count)
    return Shortcut(cue, float(gains[top]), float(baselines[top]), p, names[top])


def _nearest(features: NDArray[np.float32]) -> Labels:
    """Return for each row of float32 `[n, D]` the nearest other one, int64 `[n]`."""
    squares = np.square(features).sum(axis=1)
    step = max(1, MAX_CELLS // len(features))
    nearest = []
    for start in range(0, len(features), step):
        some = features[start : start + step]
        distances = some @ (-2 * features.T)
        distances += squares
        distances[np.arange(len(some)), np.arange(start, start + len(some))] = np.inf
        nearest.append(distances.argmin(axis=1))
    return np.concatenate(nearest)


def _mean_by_class(right: NDArray[np.bool_], labels: Labels) -> NDArray[np.float64]:
    return np.bincount(labels, right) / np.bincount(labels)


def _paired_p(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the p of the sign test that `right` is no more often true than `other`."""
    wins, losses = int((right & ~other).sum()), int((other & ~right).sum())
    return _tail(wins, wins + losses, 0.5)


def _tail(hits: int, n: int, p: float) -> float:
    """Return how likely a binomial distribution of n draws gives at least so many hits."""
    if hits <= 0 or p >= 1:
        return 1.0
    if p <= 0:
        return 0.0
    logs = (_log_choose(n, k) + k * math.log(p) + (n - k) * math.log1p(-p) for k in range(hits, n + 1))
    return min(1.0, math.fsum(math.exp(log) for log in logs))


def _overlap_p(hits: int, in_class: int, marked: int, n: int) -> float:
    """Return how likely so many of n images would be in the class and marked, if the marks were dealt out by chance.

    This is the tail of a hypergeometric distribution, Fisher's exact test.
    """
    fewest, most = max(0, in_class + marked - n), min(in_class, marked)
    logs = (
        _log_choose(in_class, k) + _log_choose(n - in_class, marked - k) - _log_choose(n, marked)
        for k in range(max(hits, fewest), most + 1)
    )
    return min(1.0, math.fsum(math.exp(log) for log in logs))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
