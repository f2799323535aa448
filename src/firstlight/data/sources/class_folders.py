"""Class folders, `root/<class>/*` or `root/{train,valid,test}/<class>/*`: finding them, and what they mean.

What they mean is said once, for folders on disk and for archives.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from firstlight.data.images import SUFFIXES
from firstlight.data.samples import SPLIT_WORDS, shown
from firstlight.errors import DataError

# What systems leave behind in folders and archives, beside everything that begins with a dot.
_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}


@dataclass
class Listing:
    """The names in a folder or archive: relative to its root, with forward slashes."""

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)

    def add_file(self, name: str) -> None:
        """Sort a file in by its extension."""
        suffix = name[name.rfind(".") :].lower()
        (self.images if suffix in SUFFIXES else self.others).append(name)


@dataclass(frozen=True)
class Layout:
    """What a `Listing` means: each image's class and split.

    Attributes:
        names: the images that belong to a class, sorted.
        words: the class name of each.
        splits: int8 `[N]`, or None where there are no split folders.
        notes: what was left out.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    splits: NDArray[np.int8] | None
    notes: tuple[str, ...]


def is_litter(part: str) -> bool:
    """Tell whether a file or folder of this name is no part of anybody's set: hidden, or left by a system."""
    return part.startswith(".") or part in _LITTER


def list_folder(root: Path) -> Listing:
    """Walk a folder. Symbolic links are counted but never followed, so that nothing outside is read, or read twice.

    Raises:
        DataError: if a folder below cannot be opened.
    """
    found = Listing()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    if is_litter(entry.name):
                        continue
                    if entry.is_symlink():
                        found.links.append(name)
                    elif entry.is_dir(follow_symlinks=False):
                        found.folders.add(name)
                        waiting.append((Path(entry.path), name + "/"))
                    elif entry.is_file(follow_symlinks=False):
                        found.add_file(name)
                    else:
                        found.others.append(name)  # a pipe, a socket, a device
        except OSError as error:
            raise DataError(
                f"{shown(str(folder))} cannot be listed: {error.strerror}; make it readable or move it out"
            ) from error
    return found


def understand(found: Listing, where: str) -> Layout:
    """Read classes and splits from the names of folders.

    The first folder is the class, or the split if every such folder is called train, val, valid, validation or test;
    then the second is the class. Folders inside a class folder are part of that class.

    Raises:
        DataError: if there are no images, no class folders, an empty class folder, classes that differ between
            splits, or split folders beside others.
    """
    if not found.images:
        raise DataError(f"no pictures in {where}; {_what_instead(found)}")
    tops = {name.partition("/")[0] for name in found.images if "/" in name}
    depth = _class_depth(found, tops, where)
    kept = sorted(name for name in found.images if name.count("/") >= depth)
    stray = sorted(name for name in found.images if name.count("/") < depth)
    if not kept:
        lost = "train/ and test/ hold" if depth > 1 else f"{where} holds"
        raise DataError(
            f"{where}: {lost} {len(stray):,} pictures but no class folders; put each class's pictures into a folder "
            "that has the class's name"
        )
    parts = [name.split("/", depth) for name in kept]
    words = tuple(part[depth - 1] for part in parts)
    _refuse_empty(found, kept, depth, where)
    if depth == 1 and len(set(words)) == 1 and not any(name.count("/") == 1 for name in kept):
        raise DataError(
            f"{where} has only one class, {shown(words[0])}; if the folders in that are the classes, name it instead"
        )
    splits = None
    if depth == 2:
        _refuse_different(parts, where)
        splits = np.array([SPLIT_WORDS[part[0].casefold()] for part in parts], np.int8)
    notes = (
        *_note(stray, "pictures lie outside the class folders and were left out"),
        *_note(found.others, "files are no pictures by their extension and were left out"),
        *_note(found.links, "symbolic links were not followed"),
    )
    return Layout(tuple(kept), words, splits, notes)


def _class_depth(found: Listing, tops: set[str], where: str) -> int:
    """Tell whether the class is the first folder or, below split folders, the second."""
    splits = sorted(top for top in tops if top.casefold() in SPLIT_WORDS)
    others = sorted(tops - set(splits))
    if not splits:
        return 1
    if not others:
        meanings = Counter(SPLIT_WORDS[top.casefold()] for top in splits)
        same = [top for top in splits if meanings[SPLIT_WORDS[top.casefold()]] > 1]
        if same:
            raise DataError(f"{where}: {' and '.join(same)} are the same split; merge them")
        return 2
    # "train" may well be a class beside "bus"; a folder of folders beside others may be either
    direct = {name.partition("/")[0] for name in found.images if name.count("/") == 1}
    unclear = [top for top in splits if top not in direct]
    if unclear:
        raise DataError(
            f"{where} has the split folder {unclear[0]} beside {_some(others)}; move the others out, or rename "
            f"{unclear[0]} if it is a class"
        )
    return 1


def _refuse_empty(found: Listing, kept: Iterable[str], depth: int, where: str) -> None:
    """An empty class folder is more often a lost download than a wish."""
    full = {"/".join(name.split("/", depth)[:depth]) for name in kept}
    empty = sorted(name for name in found.folders if name.count("/") == depth - 1 and name not in full)
    if depth == 2:
        tops = {name.partition("/")[0] for name in full}
        empty += sorted(n for n in found.folders if n.casefold() in SPLIT_WORDS and n not in tops)
        empty = [name for name in empty if name.partition("/")[0].casefold() in SPLIT_WORDS]
    if empty:
        links = " (symbolic links are not followed)" if found.links else ""
        raise DataError(
            f"{where} has class folders without pictures{links}: {_some(empty)}; add pictures or remove the folders"
        )


def _refuse_different(parts: Sequence[list[str]], where: str) -> None:
    classes: dict[str, set[str]] = {}
    for split, word, *_ in parts:
        classes.setdefault(split, set()).add(word)
    first, *rest = sorted(classes, key=lambda split: SPLIT_WORDS[split.casefold()])
    for other in rest:
        for here, there in ((first, other), (other, first)):
            if lacking := sorted(classes[here] - classes[there]):
                raise DataError(
                    f"{where}: {here} and {other if here == first else first} have different classes; only {here} has "
                    f"{_some(lacking)}; rename or add the folders so that both have the same"
                )


def _what_instead(found: Listing) -> str:
    if found.links:
        return f"the {len(found.links):,} symbolic links in it are not followed; put the files themselves there"
    endings = Counter(PurePosixPath(name).suffix.lower() or "no extension" for name in found.others)
    known = "JPEG, PNG, WebP, GIF, BMP and TIFF are read, by their usual extensions"
    if endings:
        ending, count = endings.most_common(1)[0]
        return f"{count:,} of its {len(found.others):,} files have {ending}; {known}"
    return f"it is empty; {known}"


def _note(names: list[str], what: str) -> tuple[str, ...]:
    return (f"{len(names):,} {what}, for example {shown(min(names))}",) if names else ()


def _some(names: Sequence[str], most: int = 8) -> str:
    listed = ", ".join(shown(name, 60) for name in names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most:,} more"
