"""`Samples`, the labeled set that every source becomes, and the names of splits and classes."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import DataError
from firstlight.escaping import escape_name, list_names
from firstlight.tables import Html

CLASSES_SHOWN = 10  # in a notebook


class Split(IntEnum):
    """What an image is used for: to train on, to choose the model by, or to be scored once."""

    TRAIN = 0
    VALID = 1
    TEST = 2

    @property
    def word(self) -> str:
        """The name in files and on the command line: `train`, `valid` or `test`."""
        return self.name.lower()


# What users call the splits, in folder names and in lists.
SPLIT_WORDS = {
    "train": Split.TRAIN,
    **dict.fromkeys(("val", "valid", "validation"), Split.VALID),
    "test": Split.TEST,
}


class ImageSource(Protocol):
    """Images by index; every method is thread-safe."""

    def __len__(self) -> int:
        """Return how many images there are."""

    def read(self, index: int) -> bytes | NDArray[np.uint8]:
        """Return one image: the bytes of a file, or pixels uint8 `[H, W, C]` if it is decoded already.

        Raises:
            ImageError: with the reason, if this image cannot be read.
        """

    def content_key(self) -> str:
        """Return hex digits that change only if the images, their names or their order change."""


@dataclass(frozen=True, repr=False)
class Samples:
    """A labeled set of images, whatever it was loaded from; row i of everything is about image i.

    Attributes:
        name: a short name, usable as part of a folder name.
        source: the source as the user gave it.
        images: the images, read one at a time.
        names: each image's own name: its path with forward slashes (relative to the root of a folder or archive,
            as written in a list), or a number such as `train/00017` where there are no files.
        labels: int64 `[N]`, positions in `classes`.
        classes: class names in lexicographic order; a named set keeps its official order, whole numbers theirs.
        splits: int8 `[N]` of `Split` values, or None if the source is not split.
        groups: images of one group stay in one split; None if the source defines no groups.
        notes: what a person should know about how the source was read.
    """

    name: str
    source: str
    images: ImageSource
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    splits: NDArray[np.int8] | None
    groups: tuple[str, ...] | None
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.images), len(self.names), len(self.labels)}
        lengths |= {len(column) for column in (self.splits, self.groups) if column is not None}
        assert len(lengths) == 1, f"{self.source}: columns of different lengths {lengths}"

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        shown = ", ".join(self.classes[:3]) + ", ..." * (len(self.classes) > 3)
        return f"Samples({self.source!r}, {len(self):,} images, {len(self.classes):,} classes: {shown})"

    def _repr_html_(self) -> str:
        return self.add_to(Html(f"{len(self):,} pictures from {self.source}")).text()

    def add_to(self, shown: Html) -> Html:
        """Add the number of pictures of each class, and of each split if there are any, to what a notebook shows."""
        columns: dict[str, NDArray[np.int64] | slice] = {"pictures": slice(None)}
        if self.splits is not None:
            columns |= {split.word: np.flatnonzero(self.splits == split) for split in Split}
        counts = {
            name: np.bincount(self.labels[rows], minlength=len(self.classes)).tolist() for name, rows in columns.items()
        }
        rows = [
            {"class": name, **{column: numbers[place] for column, numbers in counts.items()}}
            for place, name in enumerate(self.classes[:CLASSES_SHOWN])
        ]
        return shown.table(rows, more=len(self.classes) - CLASSES_SHOWN).notes(self.notes)


def number_names(count: int, prefix: str = "") -> list[str]:
    """Return names for images that have no files: numbers of at least five digits."""
    return [f"{prefix}{index:05d}" for index in range(count)]


def label_classes(words: Sequence[str], where: str) -> tuple[tuple[str, ...], NDArray[np.int64], tuple[str, ...]]:
    """Turn each image's class name into a number; classes are sorted by their characters.

    Args:
        words: the class name of each image.
        where: the source, for messages.

    Returns:
        The classes (in Unicode form NFC), int64 labels `[N]`, and notes.

    Raises:
        DataError: if a name is not valid Unicode, or two names are the same in different Unicode forms.
    """
    composed: dict[str, str] = {}
    for word in sorted(set(words)):
        name = unicodedata.normalize("NFC", word)
        if name.encode("utf-8", "replace") != name.encode("utf-8", "surrogateescape"):
            raise DataError(f"{where}: the class name {escape_name(word)} is not valid Unicode; rename it")
        if name in composed:
            raise DataError(
                f"{where}: the classes {ascii(composed[name])} and {ascii(word)} are the same name in two "
                "Unicode forms; merge them under one name"
            )
        composed[name] = word
    classes = tuple(sorted(composed))
    number = {composed[name]: label for label, name in enumerate(classes)}
    notes = []
    if alike := [list_names(names, last=" and ") for names in _alike(classes)]:
        shown = list_names(alike, most=4)
        notes.append(f"classes whose names differ only in case or spaces: {shown}; give them one name if they are one")
    if all(name.isdecimal() for name in classes) and list(classes) != sorted(classes, key=int):
        example = ", ".join(classes[:4])
        notes.append(f"the class names are numbers but are ordered as text: {example}{', ...' * (len(classes) > 4)}")
    return classes, np.array([number[word] for word in words], np.int64), tuple(notes)


def _alike(classes: Sequence[str]) -> list[list[str]]:
    """Return the classes whose names differ only in case, or in spaces around them, together."""
    by_name: dict[str, list[str]] = {}
    for name in classes:
        by_name.setdefault(name.strip().casefold(), []).append(name)
    return [alike for alike in by_name.values() if len(alike) > 1]
