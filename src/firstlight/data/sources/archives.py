"""Read class folders inside a `.tar`, `.tar.gz` or `.zip` in place; no member is ever unpacked under its own name.

Paths and links that lead out of the archive, devices and encrypted members are refused, and counts, sizes and
compression are limited, so that an archive from anywhere can be opened safely. A compressed tar is unpacked once, into
an unnamed file.
"""

import gzip
import hashlib
import os
import stat
import struct
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from firstlight.cache import OTHER_CACHE, writable_cache_folder
from firstlight.data.image_sources import remembered_key
from firstlight.data.sources.archive_index import ArchiveIndex, Member
from firstlight.data.sources.layout import Layout
from firstlight.data.sources.listing import FolderListing
from firstlight.disk import require_room, writing
from firstlight.errors import DataError, ImageError, UserError, WriteError
from firstlight.escaping import escape_name
from firstlight.files import open_regular
from firstlight.progress import progress

T = TypeVar("T")
MAX_TOTAL_BYTES = 1 << 40
# Unpacked bytes per packed byte. Images hardly compress; even a tar of empty files stays below this, and an archive
# made to fill a disk reaches 1,000.
MAX_COMPRESSION_RATIO = 200
ALWAYS_ALLOWED_BYTES = 64 << 20  # unpacked; whatever the ratio

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_BLOCK_BYTES = 1 << 20
_ENCRYPTED, _MARKED_AS_UTF8 = 0x1, 0x800  # bits of a zip member
_MAX_PATH_BYTES = 4096


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
        with open_regular(self._path) as archive:
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


def open_archive(path: Path, where: str, read_names: Callable[[FolderListing], Layout]) -> tuple[Layout, ArchiveImages]:
    """Read an archive's index and return its images, with the classes that their names give.

    Args:
        path: the archive.
        where: the archive as the user named it, for messages.
        read_names: finds the classes and splits in the names.

    Raises:
        DataError: naming the archive and the member, if it is damaged, not what its extension says, or unsafe.
    """
    return _opened(path, where, read_names, lambda layout: layout.names)


def open_unlabeled(path: Path, where: str) -> tuple[list[str], ArchiveImages]:
    """Read an archive's index and return the names of all images in it, with their images; folders mean nothing.

    Raises:
        DataError: like `open_archive`.
    """
    return _opened(path, where, lambda found: sorted(found.images), lambda names: names)


def _opened(
    path: Path, where: str, read: Callable[[FolderListing], T], names_of: Callable[[T], Sequence[str]]
) -> tuple[T, ArchiveImages]:
    kind = archive_kind(path)
    assert kind is not None, path
    try:
        _check_content(path, kind, where)
        descriptor = _unpack(path, where) if kind == "tar.gz" else _descriptor_of(path)
        try:
            found, members = (_zip_members if kind == "zip" else _tar_members)(descriptor, where)
            contents = read(found)
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
        if isinstance(error, UserError):
            raise
        reason = escape_name(getattr(error, "strerror", None) or str(error))
        raise DataError(f"{where} cannot be read as a .{kind} archive ({reason}); download or pack it again") from error
    return contents, ArchiveImages(path, descriptor, [members[name] for name in names_of(contents)])


def _descriptor_of(path: Path) -> int:
    with open_regular(path) as file:
        return os.dup(file.fileno())


def archive_kind(path: Path) -> str | None:
    """Return `tar`, `tar.gz` or `zip` by the file's name; None for any other."""
    name = path.name.lower()
    endings = {".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar": "tar", ".zip": "zip"}
    return next((kind for ending, kind in endings.items() if name.endswith(ending)), None)


def _check_content(path: Path, kind: str, where: str) -> None:
    with open_regular(path) as file:
        head = file.read(512)
    if not head:
        raise DataError(f"{where} is empty (0 bytes); download or pack it again")
    content = "zip" if head[:2] == b"PK" else "tar.gz" if head[:2] == b"\x1f\x8b" else None
    content = "tar" if head[257:262] == b"ustar" else content
    if content not in (kind, None):
        raise DataError(f"{where} is named .{kind} but holds a .{content} archive; rename it")


def _unpack(path: Path, where: str) -> int:
    """Unpack gzip into an unnamed file, which the system removes with its last descriptor; return a descriptor.

    Compression and the room that is left are looked at all the way, so that an archive that is made to fill a disk, or
    is too large for this one, is refused at its beginning.
    """
    packed_bytes, folder = path.stat().st_size, writable_cache_folder()
    written = read_megabytes = 0
    try:
        with (
            writing(folder / f"unpacked {path.name}", OTHER_CACHE),
            tempfile.TemporaryFile(dir=folder) as unpacked,
            open_regular(path) as packed,
            gzip.open(packed) as stream,
            progress(f"unpacking {escape_name(path.name)}", packed_bytes >> 20, "MB") as advance,
        ):
            while block := stream.read(_BLOCK_BYTES):
                if written % ALWAYS_ALLOWED_BYTES < _BLOCK_BYTES:
                    left = max(written, packed.tell()) * (packed_bytes - packed.tell()) // max(1, packed.tell())
                    require_room(folder, left, f"unpacking {where}", f"free some room, {OTHER_CACHE}")
                written += len(block)
                if written > min(MAX_TOTAL_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_COMPRESSION_RATIO * packed.tell())):
                    raise DataError(
                        f"{where} unpacks to more than {MAX_COMPRESSION_RATIO} times its size, as no set of pictures "
                        "does; pack it again"
                    )
                unpacked.write(block)
                advance((packed.tell() >> 20) - read_megabytes)
                read_megabytes = packed.tell() >> 20
            unpacked.flush()
            return os.dup(unpacked.fileno())
    except WriteError as error:
        raise DataError(
            f"{where} cannot be unpacked into {folder}: {error.why}; free some room, {OTHER_CACHE}"
        ) from None


def _tar_members(descriptor: int, where: str) -> tuple[FolderListing, dict[str, Member]]:
    index = ArchiveIndex(where)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                if info.issym():
                    index.add_link(info.name, info.linkname, beside=True)
                elif info.islnk():
                    index.add_link(info.name, info.linkname, beside=False)
                elif info.isdir():
                    index.add_folder(info.name)
                elif not info.isfile() or info.issparse():
                    raise DataError(f"{where}: {escape_name(info.name)} is not a regular file; remove it")
                else:
                    index.add_file(info.name, Member(info.offset_data, info.size, info.size))
            # tarfile takes a damaged header for the end of the archive
            after = os.pread(descriptor, 512, archive.offset)
            if after.strip(b"\0"):
                raise DataError(f"{where} is damaged at byte {archive.offset:,}; download or pack it again")
    return index.finish("UTF-8")


def _zip_members(descriptor: int, where: str) -> tuple[FolderListing, dict[str, Member]]:
    index = ArchiveIndex(where)
    size = os.fstat(descriptor).st_size
    total = 0
    with os.fdopen(os.dup(descriptor), "rb") as file, zipfile.ZipFile(file) as archive:
        encoding = _unmarked_encoding(archive)
        for info in archive.infolist():
            marked = info.flag_bits & _MARKED_AS_UTF8 or info.filename.isascii()
            decoded = info.filename if marked else info.filename.encode("cp437").decode(encoding)
            name = decoded.replace("\\", "/")  # some Windows programs write backslashes
            kind = stat.S_IFMT(info.external_attr >> 16)
            total += info.file_size
            if total > min(MAX_TOTAL_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_COMPRESSION_RATIO * size)):
                raise DataError(
                    f"{where} unpacks to more than {MAX_COMPRESSION_RATIO} times its size, at {escape_name(name)}, "
                    "as no set of pictures does; pack it again"
                )
            if info.flag_bits & _ENCRYPTED:
                raise DataError(f"{where}: {escape_name(name)} is encrypted; pack it without a password")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(
                    f"{where}: {escape_name(name)} is compressed by method {info.compress_type}, "
                    "which is not supported; use deflate"
                )
            if kind == stat.S_IFLNK:  # it holds the path that it points to
                target = archive.read(info) if info.file_size <= _MAX_PATH_BYTES else b""
                index.add_link(name, target.decode("utf-8", "surrogateescape"), beside=True)
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{where}: {escape_name(name)} is not a regular file; remove it")
            elif name.endswith("/"):
                index.add_folder(name)
            else:
                deflated = info.compress_type == zipfile.ZIP_DEFLATED
                index.add_file(
                    name,
                    Member(info.header_offset, info.compress_size, info.file_size, deflated, info.CRC),
                    marked=bool(marked),
                )
    return index.finish(encoding)


def _unmarked_encoding(archive: zipfile.ZipFile) -> str:
    """Return how to read names that are not marked as UTF-8: as UTF-8 if all of them are, else as the format says."""
    for info in archive.infolist():
        if not info.flag_bits & _MARKED_AS_UTF8 and not info.filename.isascii():
            try:
                info.filename.encode("cp437").decode("utf-8")
            except UnicodeError:
                return "cp437"
    return "utf-8"
