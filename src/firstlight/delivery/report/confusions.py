"""What is confused with what: the matrix, its pairs, and the images behind each."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from firstlight.delivery.report.answers import Answers
from firstlight.delivery.report.tiles import Tile, tile_of
from firstlight.delivery.wording import counted, percent
from firstlight.escaping import escape
from firstlight.evaluation.confusion import Cell, Confusion

MOST_CLASSES = 30  # in one matrix
MOST_PAIRS = 60
SHADES = 6  # of a cell, from none to the strongest


@dataclass(frozen=True)
class Square:
    """A cell of the matrix: how many images, how dark it is (0 to 6), its gallery (empty: none), and what it means."""

    count: int
    shade: int
    gallery: str
    words: str
    right: bool


@dataclass(frozen=True)
class Pair:
    """Two classes of which one is taken for the other, how often, and in percent of the images of the true class."""

    true: str
    predicted: str
    count: int
    share: str
    gallery: str


@dataclass(frozen=True)
class Gallery:
    """The images of a pair of classes, as far as they were kept."""

    key: str
    title: str
    shown: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Confusions:
    """What the page shows of a confusion matrix.

    Attributes:
        names: of the classes in the matrix.
        rows: their squares, one row for each true class.
        left_out: how many classes are not in the matrix.
        pairs: the most frequent confusions.
        more_pairs: how many there are besides.
        galleries: the images of each pair, and of each class that was recognized.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[Square, ...], ...]
    left_out: int
    pairs: tuple[Pair, ...]
    more_pairs: int
    galleries: tuple[Gallery, ...]


def confusions_of(
    confusion: Confusion, classes: tuple[str, ...], answers: Answers | None, kept: set[str]
) -> Confusions:
    """Return what is confused with what.

    Args:
        confusion: the counts.
        classes: the K names.
        answers: of the images; without them there are no galleries.
        kept: the names of the images that can be shown.
    """
    galleries = galleries_of(answers, classes, kept) if answers else ()
    keys = {gallery.key for gallery in galleries}
    sizes = confusion.true_counts
    mistakes = confusion.mistakes()
    members = most_confused(mistakes, len(classes))
    counts = {(cell.true, cell.predicted): cell.n for cell in confusion.cells}
    names = tuple(map(escape, classes))

    def square(true: int, predicted: int) -> Square:
        count, key = counts.get((true, predicted), 0), key_of(true, predicted)
        shade = int(np.ceil(SHADES * count / sizes[true])) if count else 0
        said = "recognized" if true == predicted else f"taken for {names[predicted]}"
        words = f"{count:,} of {counted(int(sizes[true]), 'picture')} of {names[true]} {said}"
        return Square(count, shade, key if key in keys else "", words, true == predicted)

    def pair(cell: Cell) -> Pair:
        key, share = key_of(cell.true, cell.predicted), percent(cell.n / int(sizes[cell.true]), 0)
        return Pair(names[cell.true], names[cell.predicted], cell.n, share, key if key in keys else "")

    return Confusions(
        names=tuple(names[member] for member in members),
        rows=tuple(tuple(square(true, predicted) for predicted in members) for true in members),
        left_out=len(classes) - len(members),
        pairs=tuple(map(pair, mistakes[:MOST_PAIRS])),
        more_pairs=max(0, len(mistakes) - MOST_PAIRS),
        galleries=galleries,
    )


def most_confused(mistakes: list[Cell], classes: int) -> list[int]:
    """Return the classes of the matrix, in their order: all, or those of the most frequent confusions."""
    if classes <= MOST_CLASSES:
        return list(range(classes))
    members = dict.fromkeys(place for cell in mistakes for place in (cell.true, cell.predicted))
    return sorted([*members, *(place for place in range(classes) if place not in members)][:MOST_CLASSES])


def galleries_of(answers: Answers, classes: tuple[str, ...], kept: set[str]) -> tuple[Gallery, ...]:
    """Return the images of each pair of a true and a predicted class: the worst first, or the least sure."""
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, pair in enumerate(zip(answers.labels.tolist(), answers.predicted.tolist(), strict=True)):
        places[pair].append(place)
    galleries = []
    for (true, predicted), members in sorted(places.items()):
        shown = [place for place in members if answers.names[place] in kept]
        if not shown:
            continue
        sign = 1 if true == predicted else -1
        shown.sort(key=lambda place: (sign * answers.confidence[place], place))
        label, said = escape(classes[true]), escape(classes[predicted])
        title = f"{label}, recognized" if true == predicted else f"{label}, taken for {said}"
        tiles = tuple(tile_of(answers, place, classes) for place in shown)
        galleries.append(Gallery(key_of(true, predicted), title, _shown(len(tiles), len(members), sign), tiles))
    return tuple(galleries)


def key_of(true: int, predicted: int) -> str:
    """Return the identifier of a gallery on the page."""
    return f"pair-{true}-{predicted}"


def _shown(shown: int, of: int, sign: int) -> str:
    if shown == of:
        return counted(of, "picture")
    return f"the {shown:,} {'least' if sign > 0 else 'most'} confident of {counted(of, 'picture')}"
