"""Read classes and splits from folder names: `root/<class>/*` or `root/{train,valid,test}/<class>/*`.

The same rules hold for folders on disk and inside archives.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from firstlight.data.images import SUFFIXES
from firstlight.data.samples import SPLIT_WORDS
from firstlight.errors import DataError
from firstlight.escaping import escape_name

# Files and folders that operating systems add; names that begin with a dot are ignored as well.
_SYSTEM_NAMES = {"__MACOSX", "Thumbs.db", "desktop.ini"}


@dataclass
class FolderListing:
    """The names in a folder or archive, relative to its root, with forward slashes.

    Attributes:
        images: files with the extension of an image.
        other_files: all other files.
        links: symbolic links.
        folders: folders.
    """

    images: list[str] = field(default_factory=list)
    other_files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)

    def add_file(self, name: str) -> None:
        """Add a file to `images` or `other_files`, by its extension."""
        suffix = name[name.rfind(".") :].lower()
        (self.images if suffix in SUFFIXES else self.other_files).append(name)


@dataclass(frozen=True)
class Layout:
    """Each image's class and split, as folder names give them.

    Attributes:
        names: the images that belong to a class, sorted.
        words: the class name of each.
        splits: int8 `[N]`, or None where there are no split folders.
        notes: what was ignored.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    splits: NDArray[np.int8] | None
    notes: tuple[str, ...]


def is_ignored(part: str) -> bool:
    """Return whether files and folders of this name belong to no set: hidden ones, and those that systems add."""
    return part.startswith(".") or part in _SYSTEM_NAMES


def list_folder(root: Path) -> FolderListing:
    """Return all names below a folder. Symbolic links are listed but never followed: nothing is read twice, or outside.

    Raises:
        DataError: if a folder cannot be opened.
    """
    found = FolderListing()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    if is_ignored(entry.name):
                        continue
                    if entry.is_symlink():
                        found.links.append(name)
                    elif entry.is_dir(follow_symlinks=False):
                        found.folders.add(name)
                        waiting.append((Path(entry.path), name + "/"))
                    elif entry.is_file(follow_symlinks=False):
                        found.add_file(name)
                    else:
                        found.other_files.append(name)  # a pipe, a socket, a device
        except OSError as error:
            raise DataError(
                f"{escape_name(str(folder))} cannot be listed: {error.strerror}; make it readable or move it out"
            ) from error
    return found


def read_layout(found: FolderListing, where: str) -> Layout:
    """Return each image's class and split, read from the names of its folders.

    The first folder is the class. If every first folder is called train, val, valid, validation or test, it is the
    split, and the second folder is the class. Folders inside a class folder are part of that class.

    Raises:
        DataError: if there are no images, no class folders, an empty class folder, classes that differ between
            splits, or split folders beside others.
    """
    if not found.images:
        raise DataError(f"no pictures in {where}; {_what_instead(found)}")
    tops = {name.partition("/")[0] for name in found.images if "/" in name}
    depth = _class_depth(found, tops, where)
    kept = sorted(name for name in found.images if name.count("/") >= depth)
    misplaced = sorted(name for name in found.images if name.count("/") < depth)
    if not kept:
        lost = "train/ and test/ hold" if depth > 1 else f"{where} holds"
        raise DataError(
            f"{where}: {lost} {len(misplaced):,} pictures but no class folders; put each class's pictures into a "
            "folder that has the class's name"
        )
    paths = [name.split("/", depth) for name in kept]
    words = tuple(path[depth - 1] for path in paths)
    _refuse_empty(found, kept, depth, where)
    if depth == 1 and len(set(words)) == 1 and not any(name.count("/") == 1 for name in kept):
        raise DataError(
            f"{where} has only one class, {escape_name(words[0])}; if the folders in it are the classes, name "
            "that folder instead"
        )
    splits = None
    if depth == 2:
        _refuse_different_classes(paths, where)
        splits = np.array([SPLIT_WORDS[path[0].casefold()] for path in paths], np.int8)
    notes = (
        *_note(misplaced, "pictures lie outside the class folders and were left out"),
        *_note(found.other_files, "files do not have the extension of a picture and were left out"),
        *_note(found.links, "symbolic links were not followed"),
    )
    return Layout(tuple(kept), words, splits, notes)


def _class_depth(found: FolderListing, tops: set[str], where: str) -> int:
    """Return 1 if the first folder is the class, 2 if the second one is, below split folders."""
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
    # "train" may well be a class beside "bus"; if it holds folders only, it may be either
    direct = {name.partition("/")[0] for name in found.images if name.count("/") == 1}
    unclear = [top for top in splits if top not in direct]
    if unclear:
        raise DataError(
            f"{where} has the split folder {unclear[0]} beside {_listed(others)}; move the others out, or rename "
            f"{unclear[0]} if it is a class"
        )
    return 1


def _refuse_empty(found: FolderListing, kept: Iterable[str], depth: int, where: str) -> None:
    """Refuse empty class folders: they are more often a failed download than intended."""
    full = {"/".join(name.split("/", depth)[:depth]) for name in kept}
    empty = sorted(name for name in found.folders if name.count("/") == depth - 1 and name not in full)
    if depth == 2:
        tops = {name.partition("/")[0] for name in full}
        empty += sorted(n for n in found.folders if n.casefold() in SPLIT_WORDS and n not in tops)
        empty = [name for name in empty if name.partition("/")[0].casefold() in SPLIT_WORDS]
    if empty:
        links = " (symbolic links are not followed)" if found.links else ""
        raise DataError(
            f"{where} has class folders without pictures{links}: {_listed(empty)}; add pictures or remove the folders"
        )


def _refuse_different_classes(paths: Sequence[list[str]], where: str) -> None:
    classes: dict[str, set[str]] = {}
    for split, word, *_ in paths:
        classes.setdefault(split, set()).add(word)
    first, *rest = sorted(classes, key=lambda split: SPLIT_WORDS[split.casefold()])
    for other in rest:
        for here, there in ((first, other), (other, first)):
            if lacking := sorted(classes[here] - classes[there]):
                raise DataError(
                    f"{where}: {here} and {other if here == first else first} have different classes; only {here} has "
                    f"{_listed(lacking)}; rename or add the folders so that both have the same"
                )


def _what_instead(found: FolderListing) -> str:
    if found.links:
        return f"the {len(found.links):,} symbolic links in it are not followed; put the files themselves there"
    endings = Counter(PurePosixPath(name).suffix.lower() or "no extension" for name in found.other_files)
    known = "JPEG, PNG, WebP, GIF, BMP and TIFF are read, by their usual extensions"
    if endings:
        ending, count = endings.most_common(1)[0]
        return f"{count:,} of its {len(found.other_files):,} files have {ending}; {known}"
    return f"it is empty; {known}"


def _note(names: list[str], what: str) -> tuple[str, ...]:
    return (f"{len(names):,} {what}, for example {escape_name(min(names))}",) if names else ()


def _listed(names: Sequence[str], most: int = 8) -> str:
    names_text = ", ".join(escape_name(name, 60) for name in names[:most])
    return names_text if len(names) <= most else f"{names_text} and {len(names) - most:,} more"
