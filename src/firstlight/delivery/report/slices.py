"""Slices: whether some kinds of images are recognized worse than the others, by size, brightness, group and folder.

With many looks, chance alone makes one of them seem bad. So the p-values are corrected for their number (Holm).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from firstlight.delivery.report.answers import Answers
from firstlight.delivery.report.classes import Score, score_of
from firstlight.delivery.wording import counted, points
from firstlight.escaping import escape
from firstlight.evaluation.intervals import proportion
from firstlight.runs.outputs import ImageFacts

FEWEST = 20  # images of a slice, and of the others
PARTS = 4  # of equal size, that a measure is cut into
MOST_NAMED = 12  # groups, and folders: the largest
SIGNIFICANT = 0.05
SAME = 1e-7  # relative; closer than this, two probabilities differ only by rounding

Members = NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """Some of the images: what they have in common, how many, their accuracy, and how it compares with the others'."""

    kind: str
    name: str
    count: int
    accuracy: Score
    compared: str
    differs: bool


@dataclass(frozen=True)
class Slices:
    """The slices that were looked at, those that differ first, and what follows, in words."""

    words: str
    rows: tuple[Slice, ...]


def slices_of(answers: Answers, facts: ImageFacts | None) -> Slices | None:
    """Return how well each kind of images is recognized; None if there is no kind with enough of them."""
    looks = [
        (kind, name, members)
        for kind, name, members in kinds(answers, facts)
        if FEWEST <= int(members.sum()) <= len(answers) - FEWEST
    ]
    if not looks:
        return None
    p = holm([chance(answers.right, members) for _, _, members in looks])
    rows = [_slice(*look, answers.right, corrected) for look, corrected in zip(looks, p, strict=True)]
    rows.sort(key=lambda row: (not row.differs, row.accuracy.value if row.differs else 0.0))
    worse = sum(row.differs and not row.compared.startswith("+") for row in rows)
    found = (
        f"{counted(worse, 'kind')} of pictures {'is' if worse == 1 else 'are'} recognized worse than the others."
        if worse
        else "No kind of pictures is recognized worse than the others, as far as can be told."
    )
    made = f"{counted(len(rows), 'comparison')} {'was' if len(rows) == 1 else 'were'} made"
    care = "what chance alone would show among so many is taken into account. A kind may differ because of its classes."
    return Slices(f"{found} {made}; {care}", tuple(rows))


def kinds(answers: Answers, facts: ImageFacts | None) -> Iterator[tuple[str, str, Members]]:
    """Yield the kinds of images that are looked at: what they are about, their name, and which images they are."""
    if facts is not None:
        area = facts.sizes.astype(np.float64).prod(axis=1) / 1e6
        yield from _parts("size", area, "megapixels", known=area > 0)
        yield from _parts("brightness", 100 * facts.brightness.astype(np.float64), "% of white", known=area >= 0)
        yield from _named("group", facts.groups)
    folders = [str(PurePosixPath(name).parent) if "/" in name else "" for name in answers.names]
    labels_in: dict[str, set[int]] = {}
    for folder, label in zip(folders, answers.labels.tolist(), strict=True):
        labels_in.setdefault(folder, set()).add(label)
    if any(len(labels) > 1 for labels in labels_in.values()):  # else a folder is a class, which has its own table
        yield from _named("folder", folders)


def chance(right: Members, members: Members) -> float:
    """Return how likely so large a difference in accuracy is by chance: Fisher's exact test against the others.

    It is calculated here, because importing `scipy.stats` takes longer than a report.
    """
    total, correct, size = len(right), int(right.sum()), int(members.sum())
    possible = np.arange(max(0, correct - (total - size)), min(correct, size) + 1)  # how many of the members are right
    log_ways = -sum(gammaln(n + 1) for n in (possible, correct - possible, size - possible))
    log_ways = log_ways - gammaln(total - correct - size + possible + 1)
    ways = np.exp(log_ways - log_ways.max())
    seen = ways[int((right & members).sum()) - possible[0]]
    return float(ways[ways <= seen * (1 + SAME)].sum() / ways.sum())


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the same order.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.
    """
    corrected, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        highest = max(highest, min(1.0, p[place] * (len(p) - rank)))
        corrected[place] = highest
    return corrected


def _parts(kind: str, values: NDArray[np.float64], unit: str, *, known: Members) -> Iterator[tuple[str, str, Members]]:
    """Yield the images with about the lowest values, and so on; nothing if all are about the same."""
    if not known.any() or len(set(values[known].tolist())) < PARTS:
        return
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, PARTS + 1)))
    for low, high in zip(edges, edges[1:], strict=False):
        last = high == edges[-1]
        members = known & (values >= low) & ((values <= high) if last else (values < high))
        yield kind, f"{low:.3g} to {high:.3g} {unit}", members


def _named(kind: str, names: Sequence[str]) -> Iterator[tuple[str, str, Members]]:
    array = np.array(names, object)
    for name, _ in Counter(name for name in names if name).most_common(MOST_NAMED):
        yield kind, escape(name), np.asarray(array == name, np.bool_)


def _slice(kind: str, name: str, members: Members, right: Members, p: float) -> Slice:
    count, hits = int(members.sum()), int((right & members).sum())
    difference = hits / count - float(right[~members].mean())
    compared = f"{'+' if difference > 0 else '−' if difference < 0 else ''}{points(difference)}"
    return Slice(kind, name, count, score_of(proportion(hits, count)), compared, p < SIGNIFICANT)
