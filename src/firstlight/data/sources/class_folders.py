"""Read classes and splits from folder names: `root/<class>/*` or `root/{train,valid,test}/<class>/*`.

The same rules hold for folders on disk and inside archives.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from firstlight.data.formats import LIST_SUFFIXES
from firstlight.data.samples import Split
from firstlight.data.sources.layout import Layout, refuse_classes_that_train_lacks
from firstlight.data.sources.left_out import left_out, note, refuse_no_images
from firstlight.data.sources.listing import FolderListing
from firstlight.data.sources.name_habits import suggest_label_from
from firstlight.data.sources.split_folders import (
    TAKE_FIRST_FOLDER,
    find_split_folders,
    outer_folder,
    splits_inside_classes,
    without_labels,
)
from firstlight.data.sources.split_words import is_split_word, split_of
from firstlight.errors import DataError
from firstlight.escaping import escape_name, list_names


class _Place(NamedTuple):
    """Where a folder is: its split folder, its class (empty if it is in no class folder), and whether it is inside."""

    prefix: str
    word: str
    is_inside: bool


def read_layout(found: FolderListing, where: str) -> Layout:
    """Return each image's class and split, read from the names of its folders.

    The first folder is the class. If the first folders are named as splits, they are the splits, and the folders in
    them are the classes. Folders inside a class folder are part of that class.

    Raises:
        DataError: if there are no images, no class folders, an empty class folder, a class that train lacks, mostly
            links in a class, or split folders beside others.
    """
    refuse_no_images(found, where)
    # note: a set has far fewer folders than images, so what can be decided by the folder is decided once for each
    images = sorted(found.images)
    parents = [_folder(name) for name in images]
    folders = set(parents)
    prefixes = find_split_folders(folders, where)
    layout = _Folders(prefixes, without_labels(prefixes, folders))
    if two_classes := [*layout.in_another_class(found.repeated)]:
        images = sorted([*images, *two_classes])
        parents = [_folder(name) for name in images]
    place = {folder: layout.place(folder) for folder in set(parents)}
    placed = [place[folder] for folder in parents]
    names = tuple(name for name, at in zip(images, placed, strict=True) if at.word)
    misplaced = [name for name, at in zip(images, placed, strict=True) if not at.word]
    if not names:
        raise DataError(_no_classes(misplaced, prefixes, _lists_in(found), where))
    placed = [at for at in placed if at.word]
    words = tuple(at.word for at in placed)
    notes = _misplaced_notes(misplaced, prefixes)
    _refuse_links(found.links, placed, layout, where)
    if prefixes:
        classes = {prefix: {at.word for at in place.values() if at.prefix == prefix} - {""} for prefix in prefixes}
        refuse_classes_that_train_lacks(_by_split(classes, prefixes), where)
        notes += _refuse_empty_splits(found, prefixes, classes, where)
    else:
        classes = {"": {at.word for at in place.values()} - {""}}
        if len(classes[""]) == 1 and all(at.is_inside for at in place.values() if at.word):
            only, inner = escape_name(words[0]), escape_name(outer_folder(images).rstrip("/") or words[0])
            raise DataError(
                f"{where} has only one class, {only}; if the folders in it are classes or splits, use {where}/{inner}"
            )
        _refuse_empty_classes(found, classes[""], where)
        notes += _unusual_classes(sorted(classes[""]), folders)
        if len(classes[""]) == 1 and (advice := _advice_on_names(names)):
            notes += (f"there is only one class folder, {escape_name(words[0])}; {advice}",)
    splits = np.array([prefixes[at.prefix] for at in placed], np.int8) if prefixes else None
    return Layout(names, words, splits, (*notes, *left_out(found)))


class _Folders:
    """The folders of a set: which are splits, and which of these hold images without labels."""

    def __init__(self, prefixes: dict[str, Split], unlabeled: set[str]) -> None:
        self._by_top = {prefix.partition("/")[0]: prefix for prefix in prefixes}
        self._unlabeled = unlabeled

    def place(self, folder: str) -> _Place:
        """Return where a folder is."""
        prefix = ""
        if self._by_top:
            prefix = self._by_top.get(folder.partition("/")[0], "")
            if not prefix or prefix in self._unlabeled or not f"{folder}/".startswith(prefix):
                return _Place(prefix, "", is_inside=False)
        word, slash, _ = folder[len(prefix) :].partition("/")
        return _Place(prefix, word, is_inside=bool(slash))

    def is_above_images(self, folder: str) -> bool:
        """Return whether a folder is a split or a class."""
        top, _, rest = folder.partition("/")
        prefix = self._by_top.get(top, f"{top}/") if self._by_top else ""
        return not rest or (folder.startswith(prefix) and "/" not in folder[len(prefix) :])

    def in_another_class(self, repeated: dict[str, str]) -> Iterator[str]:
        """Yield the links whose file is listed in another class: a picture of two classes, which people must see."""
        for link, first in repeated.items():
            here, there = self.place(_folder(link)), self.place(_folder(first))
            if here.word and there.word and here.word != there.word:
                yield link


def _folder(name: str) -> str:
    """Return the folder of a file; empty at the root."""
    return name[: max(0, name.rfind("/"))]


def _by_split(classes: dict[str, set[str]], prefixes: dict[str, Split]) -> dict[Split, set[str]]:
    """Return the classes of each split that has any."""
    return {prefixes[prefix]: words for prefix, words in classes.items() if words}


def _no_classes(misplaced: list[str], prefixes: dict[str, Split], lists: Sequence[str], where: str) -> str:
    """Return the message about images outside class folders."""
    lost = f"{where}: {list_names(sorted(prefixes), last=' and ')} hold" if len(prefixes) > 1 else f"{where} holds"
    advice = "put each class's pictures into a folder that has the class's name"
    train = tuple(prefix for prefix, split in prefixes.items() if split == Split.TRAIN)
    if advice_on_names := _advice_on_names([name for name in misplaced if name.startswith(train or "")]):
        advice = f"{advice_on_names}, or {advice}"
    elif lists:
        which = escape_name(lists[0]) if len(lists) == 1 else f"one of {list_names(lists, most=4)}"
        advice = f"if {which} lists their labels, use that file, or {advice}"
    elif len(prefixes) > 1:
        advice += f"; if they are the classes, {TAKE_FIRST_FOLDER}"
    return f"{lost} {len(misplaced):,} picture{'s' * (len(misplaced) != 1)} but no class folders; {advice}"


def _lists_in(found: FolderListing) -> Sequence[str]:
    """Return the files that may list the labels of images in no class folder."""
    return sorted(name for name in found.other_files if name.lower().endswith(LIST_SUFFIXES))


def _advice_on_names(names: Sequence[str]) -> str:
    """Return how to take the classes from these file names, if they seem to hold any."""
    found = suggest_label_from(names)
    return f"names look like {escape_name(found[1])}: add `label_from` '{found[0]}'" if found else ""


def _misplaced_notes(misplaced: list[str], prefixes: dict[str, Split]) -> tuple[str, ...]:
    """Return notes on images outside class folders."""
    notes: tuple[str, ...] = ()
    tops = {prefix.partition("/")[0] for prefix in prefixes}
    by_top: dict[str, list[str]] = {}
    for name in misplaced:
        top, slash, _ = name.partition("/")
        by_top.setdefault(top if slash and prefixes else "", []).append(name)
    for top, names in sorted(by_top.items()):
        if top:
            where = escape_name(top, 60)
            beside = "" if top in tops else ", beside the split folders"
            notes += (
                f"left out: {len(names):,} picture{'s' * (len(names) != 1)} in {where}/{beside}, outside class "
                "folders; classify them with `firstlight predict`",
            )
        else:
            notes += note(names, "picture", "outside the class folders")
    return notes


def _unusual_classes(classes: list[str], folders: set[str]) -> tuple[str, ...]:
    """Return notes on class folders that are named as splits, or hold folders that are."""
    notes = []
    named = [name for name in classes if is_split_word(name)]
    if named:
        others = [name for name in classes if name not in named]
        beside = f", like {list_names(others, most=3)}" if others else ""
        which = (
            f"the folder {named[0]} is read as a class"
            if len(named) == 1
            else (f"the folders {list_names(named, last=' and ')} are read as classes")
        )
        notes.append(f"{which}{beside}; if that is a split, put folders of every class into it and into train")
    if inside := splits_inside_classes(folders):
        notes.append(
            f"every class folder holds the folders {list_names(inside, last=' and ')}, which are not used: the set is "
            "split anew; to keep a split, put the class folders into train and test"
        )
    return tuple(notes)


def _refuse_links(links: list[str], placed: list[_Place], layout: _Folders, where: str) -> None:
    """Refuse a class that consists mostly of links: the rest is not a fair sample.

    Raises:
        DataError: naming the first such class, or a class or split that is a link itself.
    """
    if not links:
        return
    linked: Counter[tuple[str, str]] = Counter()
    counts = Counter((at.prefix, at.word) for at in placed)
    advice = "set `follow_links` to read what they point to, or copy the files there"
    for link in links:
        if link.endswith("/") and layout.is_above_images(link.rstrip("/")):
            name = escape_name(link.rstrip("/"))
            raise DataError(f"{where}: {name} is a symbolic link, and links are not followed; {advice}")
        at = layout.place(_folder(link.rstrip("/")))
        if at.word:
            linked[at.prefix, at.word] += 1
    for (prefix, word), count in sorted(linked.items()):
        if count > counts[prefix, word]:
            raise DataError(
                f"{where}: {count:,} of the {count + counts[prefix, word]:,} pictures of {escape_name(word)} are "
                f"symbolic links, which are not followed; {advice}"
            )


def _refuse_empty_classes(found: FolderListing, words: set[str], where: str) -> None:
    """Refuse empty class folders: most are the result of a failed download."""
    _refuse_empty(found, sorted(name for name in found.folders if "/" not in name and name not in words), where)


def _refuse_empty_splits(
    found: FolderListing, prefixes: dict[str, Split], classes: dict[str, set[str]], where: str
) -> tuple[str, ...]:
    """Refuse class folders for training that are empty; return notes on other splits that hold nothing."""
    notes: tuple[str, ...] = ()
    tops = {prefix.partition("/")[0] for prefix in prefixes}
    for top in sorted(name for name in found.folders if "/" not in name and name not in tops):
        split = split_of(top) if is_split_word(top) else None
        if split == Split.TRAIN:
            raise DataError(f"{where}: {escape_name(top)}/ holds no pictures; add some or remove the folder")
        if split is not None:
            notes += (f"{escape_name(top)}/ holds no pictures, so a {split.word} split is taken from train",)
    train = [prefix for prefix, split in prefixes.items() if split == Split.TRAIN]
    empty = [
        name
        for prefix in train
        for name in sorted(found.folders)
        if name.startswith(prefix) and "/" not in (word := name[len(prefix) :]) and word not in classes[prefix]
    ]
    _refuse_empty(found, empty, where)
    return notes


def _refuse_empty(found: FolderListing, empty: list[str], where: str) -> None:
    if not empty:
        return
    links = " (symbolic links are not followed; `follow_links` does)" if found.links else ""
    links = " (links to pictures that are listed elsewhere are read once)" if found.repeated else links
    raise DataError(
        f"{where} has class folders without pictures{links}: {list_names(empty)}; add pictures or remove the folders"
    )
