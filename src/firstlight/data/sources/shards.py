"""Read a folder of shards that `firstlight pack` wrote: images in place, by the index, without unpacking."""

import hashlib
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from firstlight.data.image_sources import content_key_of, remembered_key
from firstlight.data.samples import Samples
from firstlight.data.sources.shard_index import (
    DIGEST_BYTES,
    MANIFEST_FILE,
    Manifest,
    ShardIndex,
    content_digest,
    read_index,
    read_manifest,
)
from firstlight.errors import ImageError
from firstlight.escaping import escape_name, list_names
from firstlight.files import open_regular
from firstlight.progress import announce, progress
from firstlight.runtime.processors import default_workers

KEPT_OPEN = 200  # files; others are opened for each image


class ShardImages:
    """Images in the tar files of a folder; each is compared with its digest when it is read. Thread-safe.

    Args:
        folder: of the shards.
        manifest: what is in it.
        index: where each image is.
    """

    def __init__(self, folder: Path, manifest: Manifest, index: ShardIndex) -> None:
        self._folder, self._manifest, self._index = folder, manifest, index
        self._paths = [folder / shard.file for shard in manifest.shards]
        self._open: dict[int, int] = {}  # descriptors, by the number of the shard
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._open)

    def __len__(self) -> int:
        return len(self._index.names)

    def read(self, index: int) -> bytes:
        """Return the bytes of one image's file."""
        if index in self._index.reasons:
            raise ImageError(self._index.reasons[index])
        shard, offset, size = (
            int(column[index]) for column in (self._index.shards, self._index.offsets, self._index.sizes)
        )
        try:
            data = self._read_at(shard, offset, size)
        except OSError as error:
            raise ImageError(f"{self._paths[shard].name} cannot be read: {error.strerror}") from error
        if content_digest(data) != self._index.digests[index].tobytes():
            raise ImageError(f"{self._paths[shard].name} is damaged here: these are not the bytes that were packed")
        return data

    def content_key(self) -> str:
        """Return the same as a folder with these files would, so that both share what is packed.

        If a shard is not as it was written, it is another key. From the second call on only the files' times are read.
        """
        paths = [self._folder / MANIFEST_FILE, *self._paths]
        return remembered_key([path.name for path in paths], paths, self._hash_content)

    def _hash_content(self) -> str:
        index, joined = self._index, self._index.digests.tobytes()
        digests = [joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES)]
        for row in index.reasons:
            digests[row] = b"unreadable"
        key = content_key_of(index.names, digests)
        with (
            ThreadPoolExecutor(default_workers()) as pool,
            progress("comparing shards", sum(shard.bytes for shard in self._manifest.shards) >> 20, "MB") as advance,
        ):
            found = []
            for shard, digest in zip(self._manifest.shards, pool.map(_sha256, self._paths), strict=True):
                found.append(digest)
                advance(shard.bytes >> 20)
        damaged = [
            shard.file for shard, digest in zip(self._manifest.shards, found, strict=True) if shard.sha256 != digest
        ]
        if not damaged:
            return key
        announce(
            f"note: {self._folder}: damaged after packing: {list_names(damaged, most=4)}; pictures whose bytes have "
            "changed are set aside; copy these files again to have them back"
        )
        return content_key_of((), [key.encode(), *(digest.encode() for digest in found)])

    def _read_at(self, shard: int, offset: int, size: int) -> bytes:
        if shard >= KEPT_OPEN:
            with open_regular(self._paths[shard]) as file:
                file.seek(offset)
                return file.read(size)
        if shard not in self._open:
            with self._lock:
                if shard not in self._open:
                    with open_regular(self._paths[shard]) as file:
                        self._open[shard] = os.dup(file.fileno())
        return os.pread(self._open[shard], size, offset)


def read_shards(folder: Path, source: str, name: str) -> Samples:
    """Return the set in a folder of shards, in the order of the set that was packed.

    Args:
        folder: that holds the manifest.
        source: as the user gave it.
        name: a short name, for the folders of runs.

    Raises:
        DataError: if a shard is missing or was cut off, or the index is damaged.
    """
    where = escape_name(source)
    manifest = read_manifest(folder, where)
    index = read_index(folder, manifest, where)
    return Samples(
        name=name,
        source=source,
        images=ShardImages(folder, manifest, index),
        names=index.names,
        labels=index.labels,
        classes=manifest.classes,
        splits=index.splits,
        groups=index.groups,
        notes=manifest.notes,
    )


def open_shards(folder: Path, where: str) -> tuple[tuple[str, ...], ShardImages]:
    """Return the names and the images in a folder of shards; fails as `read_shards` does."""
    manifest = read_manifest(folder, where)
    index = read_index(folder, manifest, where)
    return index.names, ShardImages(folder, manifest, index)


def _sha256(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _close(descriptors: dict[int, int]) -> None:
    for descriptor in descriptors.values():
        with suppress(OSError):
            os.close(descriptor)
