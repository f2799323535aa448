"""The index of a folder of shards: where each image's bytes are, its name, label, split and group, and their digests.

A folder of shards holds `shard-000000.tar`, ... that webdataset reads; `index.parquet`, one row per image in the order
of the set; and `firstlight-shards.json`, written last, with the classes and the digests of all the other files.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from firstlight.data.samples import Split
from firstlight.data.sources.archive_index import MAX_MEMBER_BYTES
from firstlight.errors import DataError
from firstlight.escaping import escape_name
from firstlight.files import read_regular

MANIFEST_FILE, INDEX_FILE = "firstlight-shards.json", "index.parquet"
UNFINISHED_FILE = "unfinished-pack.part"  # exists, and is locked, while shards are written
FORMAT = 1
SHARD_NAME = re.compile(r"shard-\d{6,}\.tar")
DIGEST_BYTES = 16
NOT_PACKED = -1  # instead of the shard, the offset and the size of an image that could not be read
_SPLITS = (None, *(split.word for split in Split))

Digest = np.dtype(f"V{DIGEST_BYTES}")


@dataclass(frozen=True)
class Shard:
    """One tar file: its name, how many bytes and images it has, and its SHA-256 in hex digits."""

    file: str
    bytes: int
    images: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards is.

    Attributes:
        format: counts up when the files hold something else.
        name: a short name of the set.
        images: how many there are.
        classes: their names, in the order of their numbers.
        notes: what a person should know about how the source was read.
        index: the SHA-256 of the index, in hex digits.
        shards: the tar files, in order.
    """

    format: int
    name: str
    images: int
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    index: str
    shards: tuple[Shard, ...]

    def to_text(self) -> str:
        """Return the manifest as JSON that any program can read."""
        return json.dumps(asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class ShardIndex:
    """Where each image of a set is, in the order of the set.

    Attributes:
        names: of the images.
        labels: int64 `[N]`, positions in the classes.
        splits: int8 `[N]`, or None if the set is not split.
        groups: of the images, or None.
        shards: the number of each image's shard, int32 `[N]`.
        offsets: of the first byte in it, int64 `[N]`.
        sizes: in bytes, int64 `[N]`.
        digests: BLAKE2b of the bytes, V16 `[N]`.
        reasons: why an image could not be read when the set was packed, by row; it is in no shard.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: NDArray[np.int8] | None
    groups: tuple[str, ...] | None
    shards: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    digests: NDArray[np.void]
    reasons: dict[int, str]

    def write(self, path: Path, members: Sequence[str | None]) -> None:
        """Write the index as Parquet.

        Args:
            path: of the file.
            members: the name of each image's file in its shard, for other programs; None if it is in none.
        """
        import pyarrow as pa
        from pyarrow import parquet

        count = len(self.names)
        words = [None] * count if self.splits is None else [Split(split).word for split in self.splits.tolist()]
        reasons = [self.reasons.get(row) for row in range(count)] if self.reasons else [None] * count
        table = pa.table(
            {
                "name": _text_column(self.names),
                "label": pa.array(self.labels, pa.int32()),
                "split": pa.array(words, pa.string()),
                "group": _text_column(self.groups) if self.groups else pa.nulls(count, pa.string()),
                "shard": pa.array(self.shards, pa.int32()),
                "offset": pa.array(self.offsets, pa.int64()),
                "size": pa.array(self.sizes, pa.int64()),
                "blake2b": pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(DIGEST_BYTES), count, [None, pa.py_buffer(self.digests.tobytes())]
                ),
                "member": pa.array(members, pa.string()),
                "reason": _text_column(reasons),
            }
        )
        parquet.write_table(table, path, compression="zstd")


def content_digest(data: bytes) -> bytes:
    """Return the digest of the bytes of one image."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def is_shard_folder(folder: Path) -> bool:
    """Return whether a folder holds shards that we wrote completely."""
    try:
        return (folder / MANIFEST_FILE).is_file()
    except OSError:
        return False


def refuse_unfinished(folder: Path, where: str) -> None:
    """Refuse a folder in which shards are being written, or were not written to the end.

    Raises:
        DataError: if it is one.
    """
    if (folder / UNFINISHED_FILE).is_file():
        raise DataError(f"{where}: its shards are not packed to the end; run firstlight pack again")


def read_manifest(folder: Path, where: str) -> Manifest:
    """Return what is in a folder of shards, after a look at the sizes of its files.

    Args:
        folder: that holds `MANIFEST_FILE`.
        where: the folder as the user named it, for messages.

    Raises:
        DataError: if the manifest is damaged or of a newer firstlight, or a shard is missing or was cut off.
    """
    try:
        content = json.loads(read_regular(folder / MANIFEST_FILE))
        found = content.get("format")
        if isinstance(found, int) and found > FORMAT:
            raise DataError(f"{where} was packed by a newer firstlight (format {found}); update firstlight")
        manifest = msgspec.convert(content, Manifest)
    except OSError as error:
        raise DataError(f"{where}: {MANIFEST_FILE} cannot be read: {error.strerror}; make it readable") from None
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: {MANIFEST_FILE} is damaged; pack the set again") from None
    for number, shard in enumerate(manifest.shards):
        if not SHARD_NAME.fullmatch(shard.file) or int(shard.file[6:-4]) != number:
            raise DataError(f"{where}: {MANIFEST_FILE} is damaged: {escape_name(shard.file)}; pack the set again")
        try:
            size = (folder / shard.file).stat().st_size
        except OSError as error:
            raise DataError(f"{where}: {shard.file} cannot be read: {error.strerror}; copy it again") from None
        if size != shard.bytes:
            raise DataError(
                f"{where}: {shard.file} has {size:,} bytes, but {shard.bytes:,} were written; copy it again"
            )
    return manifest


def read_index(folder: Path, manifest: Manifest, where: str) -> ShardIndex:
    """Return where each image of a folder of shards is.

    Raises:
        DataError: if the index is damaged, or does not belong to this manifest.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        content = read_regular(folder / INDEX_FILE)
    except OSError as error:
        raise DataError(f"{where}: {INDEX_FILE} cannot be read: {error.strerror}; copy it again") from None
    if hashlib.sha256(content).hexdigest() != manifest.index:
        raise DataError(f"{where}: {INDEX_FILE} is not the one that was written with {MANIFEST_FILE}; copy both again")
    try:
        columns = [field.name for field in parquet.read_schema(pa.BufferReader(content)) if field.name != "member"]
        table = parquet.read_table(pa.BufferReader(content), columns=columns).combine_chunks()
        index = _index_of(table)
        index_fits = _fits(index, manifest)
    except (pa.ArrowException, ValueError, KeyError, TypeError, UnicodeError, OverflowError):
        index_fits = False
    if not index_fits:
        raise DataError(f"{where}: {INDEX_FILE} does not fit {MANIFEST_FILE}; pack the set again")
    return index


def _index_of(table: Any) -> ShardIndex:
    words = table["split"].to_pylist() if table["split"].null_count < len(table) else None
    groups = _texts(table["group"]) if table["group"].null_count < len(table) else None
    digests = b"".join(table["blake2b"].to_pylist())
    return ShardIndex(
        names=tuple(_texts(table["name"])),
        labels=table["label"].to_numpy().astype(np.int64),
        splits=None if words is None else np.array([_SPLITS.index(word) - 1 for word in words], np.int8),
        groups=None if groups is None else tuple(groups),
        shards=table["shard"].to_numpy().astype(np.int32),
        offsets=table["offset"].to_numpy().astype(np.int64),
        sizes=table["size"].to_numpy().astype(np.int64),
        digests=np.frombuffer(digests, Digest),
        reasons={row: reason for row, reason in enumerate(_texts(table["reason"])) if reason is not None},
    )


def _fits(index: ShardIndex, manifest: Manifest) -> bool:
    """Return whether an index is possible: an image lies within its shard, and has a class and a name of its own."""
    count, classes = len(index.names), len(manifest.classes)
    in_shard = index.sizes >= 0
    ends = np.array([*(shard.bytes for shard in manifest.shards), 0], np.int64)
    return (
        count == manifest.images == len(index.digests) > 0
        and len(set(manifest.classes)) == classes
        and None not in index.names
        and (index.groups is None or None not in index.groups)
        and (index.splits is None or int(index.splits.min()) >= 0)
        and bool(((index.labels >= 0) & (index.labels < classes)).all())
        and bool(((index.shards >= NOT_PACKED) & (index.shards < len(manifest.shards))).all())
        and bool((index.sizes <= MAX_MEMBER_BYTES).all())
        and bool((in_shard == (index.shards >= 0)).all())
        and bool((index.offsets[in_shard] >= 0).all())
        and bool((index.offsets <= ends[index.shards] - index.sizes)[in_shard].all())
        and sorted(index.reasons) == np.flatnonzero(~in_shard).tolist()
    )


def _text_column(texts: Sequence[str | None]) -> Any:
    """Return a column of text; of bytes if a text is not valid Unicode, as file names need not be."""
    import pyarrow as pa

    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([text and text.encode("utf-8", "surrogateescape") for text in texts], pa.binary())


def _texts(column: Any) -> list[Any]:
    found: list[Any] = column.to_pylist()
    return [text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text for text in found]
