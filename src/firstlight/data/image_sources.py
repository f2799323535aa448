"""Images in memory, in files, or from a data set, and keys that change only when their content does."""

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.cache import cache_folder
from firstlight.data.in_memory import image_content, is_deep, to_uint8
from firstlight.errors import DataError, ImageError, WrongTypeError
from firstlight.files import read_regular
from firstlight.progress import progress
from firstlight.runtime.processors import default_workers
from firstlight.unfinished import sweep
from firstlight.verified import mark_as_used, read_line, remove_unused, write_line
from firstlight.white import FULL_WHITE, White

# A file that changes again within the clock tick in which it was read looks unchanged, so keys of younger files are
# not kept.
MIN_AGE_SECONDS = 2.0
FILES_PER_TASK = 256  # handing a task to a thread takes as long as hashing a small file
INDEX_FOLDER = "index"  # in the cache
ITEMS_READ_TWICE = 8  # of a data set, to see whether it gives the same images every time


class ArrayImages:
    """Images that are decoded already: `[N, H, W, C]` in memory, kept as uint8.

    Args:
        images: uint8, or another type that `to_uint8` takes.
        white: which value of uint16 is white; by default chosen by the brightest image.

    Attributes:
        images: uint8 `[N, H, W, C]`.
        white: which value of uint16 became white.
    """

    def __init__(self, images: NDArray[Any], white: White | None = None) -> None:
        assert images.ndim == 4, images.shape
        if white is None:
            white = White.of(integers=int(images.max())) if is_deep(images) else White()
        self.white = white
        self.images = np.ascontiguousarray(to_uint8(images, white))
        self._given = images

    def with_white(self, white: White) -> "ArrayImages":
        """Return the same images with another value as white, such as that of a model."""
        return ArrayImages(self._given, white) if is_deep(self._given) else self

    def notes(self) -> tuple[str, ...]:
        """Return a note on what was taken as white, if that was a choice."""
        if not is_deep(self._given) or self.white.integers in (None, FULL_WHITE):
            return ()
        return (f"uint16 was taken as 0..{self.white.integers}, by the brightest value, {self._given.max()}",)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return pixels `[H, W, C]`, as a view that must not be written to."""
        pixels: NDArray[np.uint8] = self.images[index]
        return pixels

    def content_key(self) -> str:
        """Return a hash of the pixels and their shape."""
        return _digest([repr(self.images.shape).encode(), self.images.data])


class ObjectImages:
    """Images that Python holds or makes one at a time: PIL images, arrays, bytes, paths, the items of a data set.

    They are made under a lock, since a data set need not be thread-safe; they are decoded outside of it.

    Args:
        fetch: returns image `index`, as anything that `image_content` takes.
        count: how many there are.
    """

    def __init__(self, fetch: Callable[[int], Any], count: int) -> None:
        self._fetch = fetch
        self._count = count
        self._lock = threading.Lock()
        self._key: str | None = None

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> bytes | NDArray[np.uint8]:
        """Return the bytes of one file, or pixels `[H, W, C]`."""
        with self._lock:
            try:
                return image_content(self._fetch(index))
            except (ImageError, MemoryError):
                raise
            except WrongTypeError as error:
                raise ImageError(str(error)) from None
            except Exception as error:  # a data set is anybody's code
                words = " ".join(str(error).split())
                raise ImageError(f"cannot be read: {type(error).__name__}{words and ': '}{words}") from error

    def content_key(self) -> str:
        """Return a hash of every image; it is computed once.

        Raises:
            DataError: if the images are not the same every time they are read.
        """
        if self._key is None:
            with progress("reading pictures for the first time", len(self), "pictures") as advance:
                digests = []
                for index in range(len(self)):
                    digests.append(self._digest(index))
                    advance()
            for index in range(0, len(self), max(1, len(self) // ITEMS_READ_TWICE)):
                if self._digest(index) != digests[index]:
                    raise DataError(
                        f"picture {index} changes every time it is read; give the data set without random transforms, "
                        "since training adds its own"
                    )
            self._key = _digest(digests)
        return self._key

    def _digest(self, index: int) -> bytes:
        try:
            content = self.read(index)
        except ImageError:
            return b"unreadable"
        if isinstance(content, bytes):
            return hashlib.blake2b(content, digest_size=16).digest()
        return bytes.fromhex(_digest([repr(content.shape).encode(), np.ascontiguousarray(content).data]))


class JoinedImages:
    """Images of several sources, one source after another."""

    def __init__(self, parts: "Sequence[ArrayImages | ObjectImages | FileImages | Any]") -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: int) -> bytes | NDArray[np.uint8]:
        """Return one image of the source that it is in."""
        part = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[part - 1]) if part else 0
        content: bytes | NDArray[np.uint8] = self._parts[part].read(index - first)
        return content

    def content_key(self) -> str:
        """Return a hash of the keys of all sources and of how many images each has."""
        return _digest(f"{len(part)} {part.content_key()}\n".encode() for part in self._parts)


class FileImages:
    """Images that are files, below `root` or (from a list) anywhere."""

    def __init__(self, root: Path, names: tuple[str, ...]) -> None:
        self._root = root
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> bytes:
        """Return the bytes of one file."""
        try:
            return read_regular(Path(self._root, self._names[index]))
        except OSError as error:
            raise ImageError(f"the file cannot be read: {error.strerror}") from error

    def content_key(self) -> str:
        """Return a hash of every name and every file; from the second call on only the files' times are read."""
        paths = [Path(self._root, name) for name in self._names]
        return remembered_key(self._names, paths, self._hash_files)

    def _hash_files(self) -> str:
        starts = range(0, len(self), FILES_PER_TASK)
        digests: list[bytes] = []
        with (
            ThreadPoolExecutor(default_workers()) as pool,
            progress("reading pictures for the first time", len(self), "pictures") as advance,
        ):
            for some in pool.map(self._digests_from, starts):
                digests += some
                advance(len(some))
        return content_key_of(self._names, digests)

    def _digests_from(self, start: int) -> list[bytes]:
        digests = []
        for index in range(start, min(start + FILES_PER_TASK, len(self))):
            try:
                digests.append(hashlib.blake2b(self.read(index), digest_size=16).digest())
            except ImageError:
                digests.append(b"unreadable")
        return digests


def content_key_of(names: Sequence[str], digests: Iterable[bytes]) -> str:
    """Return the key of images by their names and the digests of their files."""
    return _digest(itertools.chain((name.encode("utf-8", "surrogateescape") + b"\0" for name in names), digests))


def remembered_key(names: Sequence[str], paths: Sequence[Path], compute: Callable[[], str]) -> str:
    """Return `compute()`, or its result from when the files had the same names, sizes, times and inodes as now.

    Results are kept in the cache folder, one small file each. They are not kept if that folder cannot be written, or
    if a file is so young that its next change might not show.
    """
    signature, newest = _signature(names, paths)
    remembered = cache_folder() / INDEX_FOLDER / signature
    if (key := read_line(remembered)) is not None:
        mark_as_used(remembered)
        sweep(remembered.parent)
        return key
    key = compute()
    if newest < time.time() - MIN_AGE_SECONDS and _signature(names, paths)[0] == signature:
        with suppress(OSError):
            remembered.parent.mkdir(parents=True, exist_ok=True)
            remove_unused(remembered.parent)
            write_line(remembered, key)
    return key


def _signature(names: Sequence[str], paths: Sequence[Path]) -> tuple[str, float]:
    """Return a hash of the files' metadata, as git's index keeps it, and when the youngest changed (Unix time)."""
    lines, newest = [], 0
    for name, path in zip(names, paths, strict=True):
        metadata: tuple[int, ...] = ()
        with suppress(OSError):
            status = path.stat()
            metadata = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
            newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
        lines.append(os.fsencode(f"{name}\0{metadata}\n"))
    return _digest(lines), newest / 1e9


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
