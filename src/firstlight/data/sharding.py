"""Write a set as shards: tar files that webdataset reads, with an index to read single images by.

Each image becomes two or three files in a tar: its own, byte for byte, under a number, since webdataset cuts names at
the first dot; `.cls`, the number of its class; and `.json`, its name, label, split and group. The same set always
becomes the same bytes.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.formats import SUFFIXES, kind_of
from firstlight.data.parallel import in_order
from firstlight.data.samples import Samples, Split
from firstlight.data.sources.shard_index import (
    FORMAT,
    INDEX_FILE,
    MANIFEST_FILE,
    NOT_PACKED,
    SHARD_NAME,
    UNFINISHED_FILE,
    Digest,
    Manifest,
    Shard,
    ShardIndex,
    content_digest,
)
from firstlight.disk import writing
from firstlight.errors import DataError, ImageError, RecipeError
from firstlight.escaping import escape_name
from firstlight.files import write_text
from firstlight.locks import try_lock
from firstlight.progress import announce, progress
from firstlight.runtime.processors import default_workers

SHARD_MB = 1000  # megabytes of a shard, at most, unless one picture is larger
LIMITS = {"shard_mb": (1, 8000), "shard_images": (1, 10_000_000)}
ROWS_AT_ONCE = 16
_BLOCK = 512  # bytes: a tar consists of such
_LEFTOVER = re.compile(rf"(?:{SHARD_NAME.pattern}|{re.escape(INDEX_FILE)})(?:\.part)?|{re.escape(UNFINISHED_FILE)}")
_SUFFIX_OF = {"JPEG": "jpg"}  # of other kinds it is their name


@dataclass(frozen=True)
class Packed:
    """Shards that were written.

    Attributes:
        folder: of the shards; a source like any other.
        images: how many there are.
        shards: how many tar files there are.
        bytes: of all tar files.
        unreadable: why an image could not be read, by its name; the index has it, and no shard.
    """

    folder: Path
    images: int
    shards: int
    bytes: int
    unreadable: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return this as plain values, as the command line prints it."""
        return {**vars(self), "folder": str(self.folder)}


def write_shards(
    samples: Samples,
    folder: Path,
    *,
    shard_mb: int = SHARD_MB,
    shard_images: int | None = None,
    workers: int | None = None,
) -> Packed:
    """Write a set as shards.

    Args:
        samples: from `load_data`.
        folder: new or empty; or what an interrupted `write_shards` left, which is removed first.
        shard_mb: a shard ends before it would exceed this many megabytes.
        shard_images: a shard ends after this many images.
        workers: threads that read images.

    Raises:
        DataError: if the folder holds something else, or another process writes there.
        RecipeError: if a number is out of range.
        WriteError: if the shards cannot be written; nothing is left of them then.
    """
    for name, value in (("shard_mb", shard_mb), ("shard_images", shard_images)):
        low, high = LIMITS[name]
        if value is not None and not (type(value) is int and low <= value <= high):
            raise RecipeError(f"choose a whole number from {low} to {high:,}", field=name, value=value)
    folder = folder.absolute()
    with _own(folder):
        writer = _ShardWriter(samples, folder, shard_mb * 1_000_000, shard_images or LIMITS["shard_images"][1])
        try:
            with (
                writing(folder / MANIFEST_FILE, "or choose a folder on another disk; nothing of the shards is kept"),
                progress("packing shards", len(samples), "pictures") as advance,
            ):
                rows = [
                    range(start, min(start + ROWS_AT_ONCE, len(samples)))
                    for start in range(0, len(samples), ROWS_AT_ONCE)
                ]
                read = in_order(
                    lambda some: [_content(samples, row) for row in some], rows, workers or default_workers()
                )
                for some, contents in zip(rows, read, strict=True):
                    for row, content in zip(some, contents, strict=True):
                        writer.add(row, content)
                    advance(len(some))
                return writer.finish()
        except BaseException:
            writer.discard()
            raise


@contextmanager
def _own(folder: Path) -> Iterator[None]:
    """Hold a folder for writing; what an interrupted process left in it is removed.

    Raises:
        DataError: if it holds something else, or another process holds it.
    """
    where = escape_name(str(folder))
    marker = folder / UNFINISHED_FILE
    with writing(marker, "or choose another folder"):
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{where} is a file; choose a new folder for the shards")
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if names and not (UNFINISHED_FILE in names and all(map(_LEFTOVER.fullmatch, names))):
            raise DataError(f"{where} is not empty; choose a new folder for the shards")
        lock = marker.open("ab")
    with lock:
        if not try_lock(lock):
            raise DataError(f"{where}: another process is writing shards there; wait for it, or choose another folder")
        if names - {UNFINISHED_FILE}:
            announce(
                f"note: {where}: an earlier pack was interrupted; what it left is removed, and all is packed again"
            )
        for name in names - {UNFINISHED_FILE}:
            (folder / name).unlink()
        try:
            yield
        finally:
            with suppress(OSError):
                marker.unlink()
                if is_new:
                    folder.rmdir()  # which fails unless it is empty


class _ShardWriter:
    """Writes images into one shard after another, and collects the index."""

    def __init__(self, samples: Samples, folder: Path, most_bytes: int, most_images: int) -> None:
        count = len(samples)
        self._samples, self._folder = samples, folder
        self._most_bytes, self._most_images = most_bytes, most_images
        self._shards: list[Shard] = []
        self._file: IO[bytes] | None = None
        self._bytes = self._images = 0
        self._sha256 = hashlib.sha256()
        self._members: list[str | None] = [None] * count
        self._number_of = np.full(count, NOT_PACKED, np.int32)
        self._offsets, self._sizes = np.full(count, NOT_PACKED, np.int64), np.full(count, NOT_PACKED, np.int64)
        self._digests = np.zeros(count, Digest)
        self._reasons: dict[int, str] = {}

    def add(self, row: int, content: tuple[str, bytes] | ImageError) -> None:
        """Add an image: its suffix and the bytes of its file, or why it cannot be read."""
        if isinstance(content, ImageError):
            self._reasons[row] = str(content)
            return
        suffix, data = content
        key = f"{row:08d}"
        files = {suffix: data, "cls": b"%d" % self._samples.labels[row], "json": _described(self._samples, row)}
        entries = [
            _header(f"{key}.{end}", len(each)) + each + bytes(-len(each) % _BLOCK) for end, each in files.items()
        ]
        needed = sum(map(len, entries)) + 2 * _BLOCK
        if self._file and (self._images == self._most_images or self._bytes + needed > self._most_bytes):
            self._end_shard()
        if self._file is None:
            self._file = self._part(len(self._shards)).open("wb")
        self._members[row] = f"{key}.{suffix}"
        self._number_of[row], self._offsets[row] = len(self._shards), self._bytes + _BLOCK
        self._sizes[row], self._digests[row] = len(data), np.void(content_digest(data))
        for entry in entries:
            self._write(entry)
        self._images += 1

    def finish(self) -> Packed:
        """Write the last shard, the index and the manifest."""
        if self._file:
            self._end_shard()
        samples = self._samples
        index = ShardIndex(
            samples.names,
            samples.labels,
            samples.splits,
            samples.groups,
            self._number_of,
            self._offsets,
            self._sizes,
            self._digests,
            self._reasons,
        )
        part = self._folder / f"{INDEX_FILE}.part"
        index.write(part, self._members)
        _sync(part)
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        part.replace(self._folder / INDEX_FILE)
        manifest = Manifest(
            FORMAT, samples.name, len(samples), samples.classes, samples.notes, digest, tuple(self._shards)
        )
        write_text(self._folder / MANIFEST_FILE, manifest.to_text())
        total = sum(shard.bytes for shard in self._shards)
        unreadable = {samples.names[row]: reason for row, reason in self._reasons.items()}
        return Packed(self._folder, len(samples), len(self._shards), total, unreadable)

    def discard(self) -> None:
        """Remove what was written."""
        if self._file:
            with suppress(OSError):
                self._file.close()
        for path in self._folder.iterdir():
            if _LEFTOVER.fullmatch(path.name) and path.name != UNFINISHED_FILE:
                with suppress(OSError):
                    path.unlink()

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._sha256.update(data)
        self._bytes += len(data)

    def _end_shard(self) -> None:
        assert self._file is not None
        self._write(bytes(2 * _BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        name = f"shard-{len(self._shards):06d}.tar"
        self._part(len(self._shards)).replace(self._folder / name)
        self._shards.append(Shard(name, self._bytes, self._images, self._sha256.hexdigest()))
        self._file, self._bytes, self._images, self._sha256 = None, 0, 0, hashlib.sha256()

    def _part(self, number: int) -> Path:
        return self._folder / f"shard-{number:06d}.tar.part"


def _content(samples: Samples, row: int) -> tuple[str, bytes] | ImageError:
    """Return the suffix of an image and the bytes of its file; pixels become a PNG file."""
    try:
        found = samples.images.read(row)
    except ImageError as reason:
        return reason
    except OSError as reason:
        return ImageError(f"cannot be read: {reason.strerror or reason}")
    if not isinstance(found, bytes):
        return "png", _png(found)
    name = samples.names[row]
    suffix = name[name.rfind(".") :].lower()
    if suffix in SUFFIXES:
        return suffix[1:], found
    try:
        kind = kind_of(found)
    except ImageError:
        return "bin", found
    return _SUFFIX_OF.get(kind, kind.lower()), found


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels `[H, W, C]` as a PNG file without anything else in it."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


def _described(samples: Samples, row: int) -> bytes:
    """Return what is known of an image, as JSON in ASCII; any name comes back."""
    about = {"name": samples.names[row], "label": samples.classes[samples.labels[row]]}
    if samples.splits is not None:
        about["split"] = Split(samples.splits[row]).word
    if samples.groups is not None:
        about["group"] = samples.groups[row]
    return json.dumps(about).encode("ascii")


def _header(name: str, size: int) -> bytes:
    """Return the header of a file in a tar: of no owner and no time, so that the same set gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
