"""What every source gives: `Samples`, and the `Images` behind them (files, archives, arrays)."""

import hashlib
import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import DataError, ImageError
from firstlight.escaping import escape
from firstlight.files import cache_folder, write_text
from firstlight.progress import progress
from firstlight.runtime.processors import default_workers

SPLIT_WORDS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}

# A file changed within the tick of the clock in which it was read looks unchanged; younger ones are read again.
_SETTLED_SECONDS = 2.0
_HANDFUL = 256


class ImageSource(Protocol):
    """Images by number; every method may be called from many threads."""

    def __len__(self) -> int:
        """How many images there are."""

    def read(self, index: int) -> bytes | NDArray[np.uint8]:
        """Give one image: a file's bytes, or pixels uint8 `[H, W, C]` where they are decoded already.

        Raises:
            ImageError: with the reason, if this one cannot be read.
        """

    def content_key(self) -> str:
        """Give hex digits that stay the same as long as the images, their names and their order do."""


@dataclass(frozen=True)
class Samples:
    """A labeled set of images, wherever they come from; row i of everything is about image i.

    Attributes:
        name: a short name, fit for a run folder.
        source: the source as the user gave it.
        images: the images, read one at a time.
        names: each image's own name: its path with forward slashes (relative to the root of a folder or archive,
            as written in a list), or a number such as `train/00017` where there are no files.
        labels: int64 `[N]`, positions in `classes`.
        classes: names, in lexicographic order; a named set keeps its official order, whole numbers theirs.
        splits: int8 `[N]`: 0 train, 1 valid, 2 test; None if the source is not split.
        groups: images of one group stay in one split; None if the source tells no groups.
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
        rows = {len(self.images), len(self.names), len(self.labels)}
        rows |= {len(column) for column in (self.splits, self.groups) if column is not None}
        assert len(rows) == 1, f"{self.source}: columns of different lengths {rows}"

    def __len__(self) -> int:
        return len(self.names)


class ArrayImages:
    """Images that are decoded already: uint8 `[N, H, W, C]` in memory."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        assert images.dtype == np.uint8 and images.ndim == 4, (images.dtype, images.shape)
        self.images = np.ascontiguousarray(images)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Give pixels `[H, W, C]`; they are a view, not to be written to."""
        pixels: NDArray[np.uint8] = self.images[index]
        return pixels

    def content_key(self) -> str:
        """Hash the pixels and their shape."""
        return _digest([repr(self.images.shape).encode(), self.images.data])


class FileImages:
    """Images that are files, below `root` or (from a list) anywhere."""

    def __init__(self, root: Path, names: tuple[str, ...]) -> None:
        self._root = root
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> bytes:
        """Read one file."""
        try:
            return Path(self._root, self._names[index]).read_bytes()
        except OSError as error:
            raise ImageError(f"the file cannot be read: {error.strerror}") from error

    def content_key(self) -> str:
        """Hash every name and every file; from the second time on this costs a look at each file's times only."""
        paths = [Path(self._root, name) for name in self._names]
        return remembered_key(self._names, paths, self._hash_files)

    def _hash_files(self) -> str:
        """Hash in parallel, by handfuls: a thread's errand costs as much as a small file."""
        starts = range(0, len(self), _HANDFUL)
        digests: list[bytes] = []
        with (
            ThreadPoolExecutor(default_workers()) as pool,
            progress("reading pictures for the first time", len(self)) as advance,
        ):
            for handful in pool.map(self._hash_handful, starts):
                digests += handful
                advance(len(handful))
        names = (os.fsencode(name) + b"\0" for name in self._names)
        return _digest([*names, *digests])

    def _hash_handful(self, start: int) -> list[bytes]:
        digests = []
        for index in range(start, min(start + _HANDFUL, len(self))):
            try:
                digests.append(hashlib.blake2b(self.read(index), digest_size=16).digest())
            except ImageError:
                digests.append(b"unreadable")
        return digests


def remembered_key(names: Sequence[str], paths: Sequence[Path], compute: Callable[[], str]) -> str:
    """Give `compute()`, or what it gave when the files had the same names, sizes, times and inodes as now.

    The answers lie in the cache folder, one small file each. They are neither kept nor needed where that cannot be
    written, and not kept where a file is so young that its next change might not show.
    """
    signature, newest = _signature(names, paths)
    remembered = cache_folder() / "index" / signature
    with suppress(OSError):
        return remembered.read_text("ascii")
    key = compute()
    if newest < time.time() - _SETTLED_SECONDS and _signature(names, paths)[0] == signature:
        with suppress(OSError):
            remembered.parent.mkdir(parents=True, exist_ok=True)
            write_text(remembered, key)
    return key


def label_classes(words: Sequence[str], where: str) -> tuple[tuple[str, ...], NDArray[np.int64], tuple[str, ...]]:
    """Turn each image's class name into a number; classes are in the order of their characters.

    Returns:
        The classes (in Unicode form NFC), int64 labels `[N]`, and notes.

    Raises:
        DataError: if there is one class only, a name is not Unicode, or two are the same name in different forms.
    """
    composed: dict[str, str] = {}
    for word in sorted(set(words)):
        name = unicodedata.normalize("NFC", word)
        if name.encode("utf-8", "replace") != name.encode("utf-8", "surrogateescape"):
            raise DataError(f"{where}: the class name {shown(word)} is not valid Unicode; rename it")
        if name in composed:
            raise DataError(
                f"{where}: the classes {ascii(composed[name])} and {ascii(word)} are the same name in two "
                "Unicode forms; merge them under one name"
            )
        composed[name] = word
    classes = tuple(sorted(composed))
    if len(classes) < 2:
        raise DataError(f"{where} has only one class, {shown(classes[0])}; a classifier needs two or more")
    number = {composed[name]: label for label, name in enumerate(classes)}
    notes: tuple[str, ...] = ()
    if all(name.isdigit() for name in classes):
        example = ", ".join(classes[:4])
        notes = (f"the class names are numbers but are ordered as text: {example}{', ...' * (len(classes) > 4)}",)
    return classes, np.array([number[word] for word in words], np.int64), notes


def shown(name: str, limit: int = 120) -> str:
    """Write a name from outside so that it prints anywhere, on one line: what is not printable is escaped."""
    text = escape(name)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _signature(names: Sequence[str], paths: Sequence[Path]) -> tuple[str, float]:
    """Say what the files look like from outside, as git's index does, and when the youngest one changed."""
    lines, newest = [], 0
    for name, path in zip(names, paths, strict=True):
        status: tuple[int, ...] = ()
        with suppress(OSError):
            seen = path.stat()
            status = (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_dev)
            newest = max(newest, seen.st_mtime_ns, seen.st_ctime_ns)
        lines.append(os.fsencode(f"{name}\0{status}\n"))
    return _digest(lines), newest / 1e9


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
