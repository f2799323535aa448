"""What to look at in the data: labels, shortcuts, copies of pictures, and pictures that could not be used."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

from firstlight.delivery.report.tiles import Tile
from firstlight.delivery.wording import as_sentence, counted
from firstlight.escaping import escape
from firstlight.evaluation.shortcut_words import sentence
from firstlight.evaluation.shortcuts import Shortcut
from firstlight.runs.kept import MOST_SUSPECTS
from firstlight.runs.suspects import Suspect

Item = TypeVar("Item")
MOST_GROUPS = 60  # of copies
MOST_QUARANTINED = 200
KIND_WORDS = {"exact": "the same pixels", "near": "nearly the same"}
SPLIT_WORDS = {"train": "training", "valid": "validation", "test": "test", "": "not used"}


@dataclass(frozen=True)
class Review:
    """An image whose label is in doubt, and what can be written about it to `corrections.csv`.

    Attributes:
        image: its name.
        label: as the page shows it.
        suggested: the label that the image looks like, as the page shows it; empty if there is none.
        flagged: whether the evidence is strong.
        exact: name, label and suggestion in JSON, which brings every character to the script unharmed; empty if the
            name is not valid Unicode, which a page cannot write.
    """

    image: str
    label: str
    suggested: str
    flagged: bool
    exact: str

    @property
    def path(self) -> str:
        """The name as the page shows it."""
        return escape(self.image)


@dataclass(frozen=True)
class Group:
    """Images that belong together, and what they are."""

    words: str
    tiles: tuple[Tile, ...]
    is_leak: bool = False


@dataclass(frozen=True)
class Several(Generic[Item]):
    """What is shown of a longer list, and how long it is."""

    shown: tuple[Item, ...]
    count: int


def suspects_of(suspects: Sequence[Suspect]) -> Several[Review]:
    """Return the suspects to be reviewed, the most suspect first."""
    shown = (_review(each.image, each.label, each.suggested, flagged=each.flagged) for each in suspects[:MOST_SUSPECTS])
    return Several(tuple(shown), len(suspects))


def _review(image: str, label: str, suggested: str, *, flagged: bool) -> Review:
    exact = json.dumps({"image": image, "label": label, "suggested": suggested})
    return Review(image, escape(label), escape(suggested), flagged, exact if is_unicode(image) else "")


def is_unicode(text: str) -> bool:
    """Return whether a text is valid Unicode, as not every name of a file is."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def two_labels_of(groups: Iterable[Sequence[Mapping[str, str]]]) -> tuple[tuple[Review, ...], ...]:
    """Return the copies of each image that is in several classes, to be reviewed; each suggests another's label."""
    found = []
    for group in groups:
        labels = [copy["label"] for copy in group]
        others = [next(other for other in labels if other != label) for label in labels]
        rows = zip(group, others, strict=True)
        found.append(tuple(_review(copy["image"], copy["label"], other, flagged=False) for copy, other in rows))
    return tuple(found)


def conflicts_of(groups: Iterable[Sequence[Mapping[str, str]]], words: str) -> tuple[Group, ...]:
    """Return images that are in two classes, each with its label."""
    return tuple(
        Group(words, tuple(Tile(copy["image"], f"labeled {escape(copy['label'])}") for copy in group))
        for group in groups
    )


def shortcuts_of(shortcuts: Sequence[Shortcut]) -> tuple[str, ...]:
    """Return what tells the classes apart and is not the object, in a sentence each."""
    return tuple(as_sentence(escape(sentence(each))) for each in shortcuts)


def copies_of(rows: Sequence[Mapping[str, str]]) -> Several[Group]:
    """Return groups of copies, those in several splits first."""
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row["group"])]
    found = sorted(map(_copies, groups), key=lambda group: not group.is_leak)
    return Several(tuple(found[:MOST_GROUPS]), len(found))


def _copies(group: Sequence[Mapping[str, str]]) -> Group:
    splits = {row["split"] for row in group} - {""}
    tiles = (
        Tile(row["image"], f"{escape(row['label'])}, {SPLIT_WORDS.get(row['split'], 'not used')}") for row in group
    )
    kind = KIND_WORDS.get(group[0]["kind"], "copies")
    return Group(f"{counted(len(group), 'picture')}, {kind}", tuple(tiles), is_leak=len(splits) > 1)


def leaks_of(leaked: Iterable[Sequence[str]]) -> Several[Group]:
    """Return groups of images that are in more than one split."""
    groups = [
        Group("in more than one split", tuple(Tile(name, "") for name in names), is_leak=True) for names in leaked
    ]
    return Several(tuple(groups[:MOST_GROUPS]), len(groups))


def quarantine_of(rows: Sequence[Mapping[str, str]]) -> Several[tuple[str, str]]:
    """Return the images that could not be used, each with the reason."""
    shown = ((escape(row["image"]), escape(row["reason"])) for row in rows[:MOST_QUARANTINED])
    return Several(tuple(shown), len(rows))
