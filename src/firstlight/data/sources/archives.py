"""Read class folders inside a `.tar`, `.tar.gz` or `.zip` in place; no member is ever unpacked under its own name.

Paths that lead out of the archive, links, devices and encrypted members are refused, and counts, sizes and compression
are limited, so that an archive from anywhere can be opened safely. A compressed tar is unpacked once, into an unnamed
file.
"""

import gzip
import hashlib
import os
import re
import stat
import struct
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from firstlight.data.image_sources import remembered_key
from firstlight.data.samples import SPLIT_WORDS
from firstlight.data.sources.class_folders import FolderListing, Layout, is_ignored, read_layout
from firstlight.errors import DataError, ImageError
from firstlight.escaping import escape_name
from firstlight.files import cache_folder
from firstlight.progress import progress

MAX_MEMBERS = 10_000_000
MAX_MEMBER_BYTES = 1 << 30
MAX_TOTAL_BYTES = 1 << 40
# Unpacked bytes per packed byte. Images hardly compress; even a tar of empty files stays below this, and an archive
# made to fill a disk reaches 1,000.
MAX_COMPRESSION_RATIO = 200
ALWAYS_ALLOWED_BYTES = 64 << 20  # unpacked; whatever the ratio

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """Where an image's bytes are in the archive.

    Attributes:
        offset: of the data in a tar, of the local header in a zip, whose data follow it.
        stored_size: bytes in the archive.
        size: bytes once inflated.
        deflated: whether a zip member is compressed.
        checksum: the CRC-32 of a zip member; None in a tar.
    """

    offset: int
    stored_size: int
    size: int
    deflated: bool = False
    checksum: int | None = None


class ArchiveImages:
    """Images at known offsets of one open file; reads are positional, hence thread-safe."""

    def __init__(self, path: Path, descriptor: int, members: list[Member]) -> None:
        self._path = path
        self._descriptor = descriptor
        self._members = members
        weakref.finalize(self, os.close, descriptor)

    def __len__(self) -> int:
        return len(self._members)

    def read(self, index: int) -> bytes:
        """Return one member's bytes, verified where the archive has a checksum."""
        member = self._members[index]
        try:
            return (
                self._read_zipped(member) if member.checksum is not None else self._read_at(member.offset, member.size)
            )
        except (OSError, zlib.error, struct.error) as error:
            raise ImageError(f"the archive is damaged here: {error}") from error

    def content_key(self) -> str:
        """Return a hash of the archive file; from the second call on only the file's times are read."""
        return remembered_key([self._path.name], [self._path], self._hash_archive)

    def _hash_archive(self) -> str:
        with self._path.open("rb") as archive:
            return hashlib.file_digest(archive, lambda: hashlib.blake2b(digest_size=20)).hexdigest()

    def _read_at(self, offset: int, size: int) -> bytes:
        data = os.pread(self._descriptor, size, offset)
        if len(data) < size:
            raise ImageError("the archive ends inside this picture")
        return data

    def _read_zipped(self, member: Member) -> bytes:
        magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(self._read_at(member.offset, _LOCAL_HEADER.size))
        if magic != b"PK\x03\x04":
            raise ImageError("the archive is damaged here: no file begins where its index says")
        data = self._read_at(member.offset + _LOCAL_HEADER.size + name_bytes + extra_bytes, member.stored_size)
        if member.deflated:
            # one byte more than the index says is enough to detect that it is wrong
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        if len(data) != member.size or zlib.crc32(data) != member.checksum:
            raise ImageError("the archive is damaged here: wrong checksum")
        return data


def open_archive(path: Path, where: str) -> tuple[Layout, ArchiveImages]:
    """Read an archive's index and return the class folders in it, with their images.

    Raises:
        DataError: naming the archive and the member, if it is damaged, not what its extension says, or unsafe.
    """
    kind = archive_kind(path)
    assert kind is not None, path
    try:
        _check_content(path, kind, where)
        descriptor = _unpack(path, where) if kind == "tar.gz" else os.open(path, os.O_RDONLY)
        try:
            found, members = (_zip_members if kind == "zip" else _tar_members)(descriptor, where)
            layout = read_layout(found, where)
        except BaseException:
            os.close(descriptor)
            raise
    # each library has its own exception for a damaged archive
    except (
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{where} cannot be read as a .{kind} archive ({escape_name(str(error))}); download or pack it again"
        ) from error
    return layout, ArchiveImages(path, descriptor, [members[name] for name in layout.names])


def archive_kind(path: Path) -> str | None:
    """Return `tar`, `tar.gz` or `zip` by the file's name; None for any other."""
    name = path.name.lower()
    endings = {".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar": "tar", ".zip": "zip"}
    return next((kind for ending, kind in endings.items() if name.endswith(ending)), None)


def _check_content(path: Path, kind: str, where: str) -> None:
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise DataError(f"{where} is empty (0 bytes); download or pack it again")
    content = "zip" if head[:2] == b"PK" else "tar.gz" if head[:2] == b"\x1f\x8b" else None
    content = "tar" if head[257:262] == b"ustar" else content
    if content not in (kind, None):
        raise DataError(f"{where} is named .{kind} but holds a .{content} archive; rename it")


def _unpack(path: Path, where: str) -> int:
    """Unpack gzip into an unnamed file, which the system removes with its last descriptor; return a descriptor."""
    packed_bytes = path.stat().st_size
    limit = min(MAX_TOTAL_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_COMPRESSION_RATIO * packed_bytes))
    folder = cache_folder()
    written = read_megabytes = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryFile(dir=folder) as unpacked,
            path.open("rb") as packed,
            gzip.open(packed) as stream,
            progress(f"unpacking {escape_name(path.name)}", packed_bytes >> 20, "MB") as advance,
        ):
            while block := stream.read(_BLOCK_BYTES):
                written += len(block)
                if written > limit:
                    raise DataError(
                        f"{where} unpacks to more than {limit:,} bytes, {MAX_COMPRESSION_RATIO} times "
                        "its size, as no set of pictures does; pack it again"
                    )
                unpacked.write(block)
                advance((packed.tell() >> 20) - read_megabytes)
                read_megabytes = packed.tell() >> 20
            unpacked.flush()
            return os.dup(unpacked.fileno())
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise DataError(
            f"{where} cannot be unpacked into {folder}: {error.strerror}; set FIRSTLIGHT_CACHE to a folder with room"
        ) from error


def _tar_members(descriptor: int, where: str) -> tuple[FolderListing, dict[str, Member]]:
    index = _ArchiveIndex(where)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                if info.issym() or info.islnk():
                    raise DataError(f"{where}: {escape_name(info.name)} is a link; pack the files themselves")
                if not (info.isfile() or info.isdir()) or info.issparse():
                    raise DataError(f"{where}: {escape_name(info.name)} is not a regular file; leave it out")
                if info.isdir():
                    index.add_folder(info.name)
                else:
                    index.add_file(info.name, Member(info.offset_data, info.size, info.size))
            # tarfile takes a damaged header for the end of the archive
            after = os.pread(descriptor, 512, archive.offset)
            if after.strip(b"\0"):
                raise DataError(f"{where} is damaged at byte {archive.offset:,}; download or pack it again")
    return index.finish()


def _zip_members(descriptor: int, where: str) -> tuple[FolderListing, dict[str, Member]]:
    index = _ArchiveIndex(where)
    size = os.fstat(descriptor).st_size
    total = 0
    with os.fdopen(os.dup(descriptor), "rb") as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")  # some Windows programs write backslashes
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind == stat.S_IFLNK:
                raise DataError(f"{where}: {escape_name(name)} is a link; pack the files themselves")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{where}: {escape_name(name)} is not a regular file; leave it out")
            total += info.file_size
            if total > min(MAX_TOTAL_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_COMPRESSION_RATIO * size)):
                raise DataError(
                    f"{where} unpacks to more than {MAX_COMPRESSION_RATIO} times its size, at {escape_name(name)}, "
                    "as no set of pictures does; pack it again"
                )
            if info.flag_bits & 1:
                raise DataError(f"{where}: {escape_name(name)} is encrypted; pack it without a password")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(
                    f"{where}: {escape_name(name)} is compressed by method {info.compress_type}; use deflate"
                )
            if name.endswith("/"):
                index.add_folder(name)
            else:
                deflated = info.compress_type == zipfile.ZIP_DEFLATED
                index.add_file(name, Member(info.header_offset, info.compress_size, info.file_size, deflated, info.CRC))
    return index.finish()


class _ArchiveIndex:
    """Collects an archive's members, refuses unsafe ones, and in the end removes one folder around all of them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._members: dict[str, Member] = {}
        self._folders: set[str] = set()
        self._count = 0

    def add_folder(self, name: str) -> None:
        if safe := self._safe_name(name):
            self._folders.add(safe)

    def add_file(self, name: str, member: Member) -> None:
        safe = self._safe_name(name)
        if member.size > MAX_MEMBER_BYTES or member.stored_size > MAX_MEMBER_BYTES:
            raise DataError(
                f"{self._where}: {escape_name(name)} has {member.size:,} bytes, "
                f"more than the limit of {MAX_MEMBER_BYTES:,}; leave it out"
            )
        if safe in self._members:
            raise DataError(f"{self._where}: {escape_name(name)} is in it twice; pack it once")
        if safe:
            self._members[safe] = member
            self._folders.update(_parents(safe))

    def finish(self) -> tuple[FolderListing, dict[str, Member]]:
        outer = self._outer_folder()
        inside = {name.removeprefix(outer): member for name, member in self._members.items()}
        folders = {name.removeprefix(outer) for name in self._folders if name.startswith(outer)}
        found = FolderListing(folders=folders)
        for name in inside:
            found.add_file(name)
        return found, inside

    def _outer_folder(self) -> str:
        """Return the one folder around everything, if splits or several classes begin below it; else nothing."""
        found = FolderListing()
        for name in self._members:
            found.add_file(name)
        tops = {name.partition("/")[0] for name in found.images}
        inner = {name.split("/")[1] if name.count("/") > 1 else "" for name in found.images}
        holds_classes = "" not in inner and (len(inner) > 1 or inner <= SPLIT_WORDS.keys())
        return f"{tops.pop()}/" if len(tops) == 1 and holds_classes and not tops & SPLIT_WORDS.keys() else ""

    def _safe_name(self, name: str) -> str:
        """Return the name without `./`; empty if the member is to be ignored.

        Raises:
            DataError: if the name is absolute or contains `..`, or there are too many members.
        """
        self._count += 1
        if self._count > MAX_MEMBERS:
            raise DataError(f"{self._where} has more than {MAX_MEMBERS:,} members, the limit; pack fewer files")
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", name) or ".." in re.split(r"[/\\]", name):
            raise DataError(
                f"{self._where}: the name {escape_name(name)} leads out of the archive; pack it again with "
                "relative names"
            )
        parts = [part for part in name.split("/") if part not in ("", ".")]
        return "" if any(is_ignored(part) for part in parts) else "/".join(parts)


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]
