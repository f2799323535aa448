"""Class folders inside a `.tar`, `.tar.gz` or `.zip`, read in place: nothing is ever unpacked by its name.

Names that climb out, links, devices and encrypted members are refused, and counts, sizes and compression are capped,
so that an archive from anywhere can be opened. A compressed tar is unpacked once, into a file without a name.
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

from firstlight.data.samples import SPLIT_WORDS, remembered_key, shown
from firstlight.data.sources.class_folders import Layout, Listing, is_litter, understand
from firstlight.errors import DataError, ImageError
from firstlight.files import cache_folder
from firstlight.progress import progress

MAX_MEMBERS = 10_000_000
MAX_MEMBER_BYTES = 1 << 30
MAX_TOTAL_BYTES = 1 << 40
# Images hardly compress; even a tar of empty files stays below this, and a bomb reaches 1,000.
MAX_RATIO = 200
# Small archives may compress as they like.
RATIO_FREE_BYTES = 64 << 20

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """Where an image's bytes lie in the archive; `header` is that of a zip, whose data follow it."""

    offset: int
    stored_size: int
    size: int
    deflated: bool = False
    checksum: int | None = None


class ArchiveImages:
    """Images at known places of one open file; reading is positional, so threads do not disturb each other."""

    def __init__(self, path: Path, descriptor: int, members: list[Member]) -> None:
        self._path = path
        self._descriptor = descriptor
        self._members = members
        weakref.finalize(self, os.close, descriptor)

    def __len__(self) -> int:
        return len(self._members)

    def read(self, index: int) -> bytes:
        """Give one member's bytes, verified where the archive has a checksum."""
        member = self._members[index]
        try:
            return self._zipped(member) if member.checksum is not None else self._plain(member.offset, member.size)
        except (OSError, zlib.error, struct.error) as error:
            raise ImageError(f"the archive is damaged here: {error}") from error

    def content_key(self) -> str:
        """Hash the archive file; from the second time on this costs a look at its times only."""
        return remembered_key([self._path.name], [self._path], self._hash_archive)

    def _hash_archive(self) -> str:
        with self._path.open("rb") as archive:
            return hashlib.file_digest(archive, lambda: hashlib.blake2b(digest_size=20)).hexdigest()

    def _plain(self, offset: int, size: int) -> bytes:
        data = os.pread(self._descriptor, size, offset)
        if len(data) < size:
            raise ImageError("the archive ends inside this picture")
        return data

    def _zipped(self, member: Member) -> bytes:
        magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(self._plain(member.offset, _LOCAL_HEADER.size))
        if magic != b"PK\x03\x04":
            raise ImageError("the archive is damaged here: no file begins where its index says")
        data = self._plain(member.offset + _LOCAL_HEADER.size + name_bytes + extra_bytes, member.stored_size)
        if member.deflated:
            # one byte more than promised is enough to know that the promise is broken
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        if len(data) != member.size or zlib.crc32(data) != member.checksum:
            raise ImageError("the archive is damaged here: wrong checksum")
        return data


def open_archive(path: Path, where: str) -> tuple[Layout, ArchiveImages]:
    """Read an archive's index and give the class folders in it, with their images.

    Raises:
        DataError: naming the archive and the member, if it is damaged, not what its extension says, or unsafe.
    """
    kind = archive_kind(path)
    assert kind is not None, path
    try:
        _check_content(path, kind, where)
        descriptor = _unpacked(path, where) if kind == "tar.gz" else os.open(path, os.O_RDONLY)
        try:
            found, members = (_zip_members if kind == "zip" else _tar_members)(descriptor, where)
            layout = understand(found, where)
        except BaseException:
            os.close(descriptor)
            raise
    # each library has its own way to say that an archive is damaged
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
            f"{where} cannot be read as a .{kind} archive ({shown(str(error))}); fetch or pack it again"
        ) from error
    return layout, ArchiveImages(path, descriptor, [members[name] for name in layout.names])


def archive_kind(path: Path) -> str | None:
    """Tell `tar`, `tar.gz` or `zip` by the file's name; None for any other."""
    name = path.name.lower()
    endings = {".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar": "tar", ".zip": "zip"}
    return next((kind for ending, kind in endings.items() if name.endswith(ending)), None)


def _check_content(path: Path, kind: str, where: str) -> None:
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise DataError(f"{where} is empty (0 bytes); fetch or pack it again")
    content = "zip" if head[:2] == b"PK" else "tar.gz" if head[:2] == b"\x1f\x8b" else None
    content = "tar" if head[257:262] == b"ustar" else content
    if content not in (kind, None):
        raise DataError(f"{where} is named .{kind} but holds a .{content} archive; rename it")


def _unpacked(path: Path, where: str) -> int:
    """Unpack gzip into a file without a name, which the system removes with its last descriptor."""
    packed_bytes = path.stat().st_size
    cap = min(MAX_TOTAL_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * packed_bytes))
    folder = cache_folder()
    written = position = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryFile(dir=folder) as unpacked,
            path.open("rb") as packed,
            gzip.open(packed) as stream,
            progress(f"unpacking {shown(path.name)} (MB)", packed_bytes >> 20) as advance,
        ):
            while block := stream.read(_BLOCK):
                written += len(block)
                if written > cap:
                    raise DataError(f"{where} unpacks to more than {cap:,} bytes, {MAX_RATIO} times its size; a bomb?")
                unpacked.write(block)
                advance((packed.tell() >> 20) - position)
                position = packed.tell() >> 20
            unpacked.flush()
            return os.dup(unpacked.fileno())
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise DataError(
            f"{where} cannot be unpacked into {folder}: {error.strerror}; set FIRSTLIGHT_CACHE to a folder with room"
        ) from error


def _tar_members(descriptor: int, where: str) -> tuple[Listing, dict[str, Member]]:
    shelf = _Shelf(where)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                if info.issym() or info.islnk():
                    raise DataError(f"{where}: {shown(info.name)} is a link; pack the files themselves")
                if not (info.isfile() or info.isdir()) or info.issparse():
                    raise DataError(f"{where}: {shown(info.name)} is not a regular file; leave it out")
                if info.isdir():
                    shelf.add_folder(info.name)
                else:
                    shelf.add_file(info.name, Member(info.offset_data, info.size, info.size))
            # tarfile takes a damaged header for the end
            after = os.pread(descriptor, 512, archive.offset)
            if after.strip(b"\0"):
                raise DataError(f"{where} is damaged at byte {archive.offset:,}; fetch or pack it again")
    return shelf.finish()


def _zip_members(descriptor: int, where: str) -> tuple[Listing, dict[str, Member]]:
    shelf = _Shelf(where)
    size = os.fstat(descriptor).st_size
    total = 0
    with os.fdopen(os.dup(descriptor), "rb") as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")  # some packers for Windows do not
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind == stat.S_IFLNK:
                raise DataError(f"{where}: {shown(name)} is a link; pack the files themselves")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{where}: {shown(name)} is not a regular file; leave it out")
            total += info.file_size
            if total > min(MAX_TOTAL_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * size)):
                raise DataError(f"{where} unpacks to more than {MAX_RATIO} times its size, at {shown(name)}; a bomb?")
            if info.flag_bits & 1:
                raise DataError(f"{where}: {shown(name)} is encrypted; pack it without a password")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f"{where}: {shown(name)} is compressed by method {info.compress_type}; use deflate")
            if name.endswith("/"):
                shelf.add_folder(name)
            else:
                deflated = info.compress_type == zipfile.ZIP_DEFLATED
                shelf.add_file(name, Member(info.header_offset, info.compress_size, info.file_size, deflated, info.CRC))
    return shelf.finish()


class _Shelf:
    """Takes an archive's members in, refuses the unsafe ones, and takes one common leading folder off in the end."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._members: dict[str, Member] = {}
        self._folders: set[str] = set()
        self._count = 0

    def add_folder(self, name: str) -> None:
        if safe := self._safe(name):
            self._folders.add(safe)

    def add_file(self, name: str, member: Member) -> None:
        safe = self._safe(name)
        if member.size > MAX_MEMBER_BYTES or member.stored_size > MAX_MEMBER_BYTES:
            raise DataError(f"{self._where}: {shown(name)} has {member.size:,} bytes, too many; leave it out")
        if safe in self._members:
            raise DataError(f"{self._where}: {shown(name)} is there twice; pack it once")
        if safe:
            self._members[safe] = member
            self._folders.update(_parents(safe))

    def finish(self) -> tuple[Listing, dict[str, Member]]:
        wrapper = self._wrapper()
        inside = {name.removeprefix(wrapper): member for name, member in self._members.items()}
        folders = {name.removeprefix(wrapper) for name in self._folders if name.startswith(wrapper)}
        found = Listing(folders=folders)
        for name in inside:
            found.add_file(name)
        return found, inside

    def _wrapper(self) -> str:
        """Find the one folder that holds every image, below which splits or several classes begin."""
        found = Listing()
        for name in self._members:
            found.add_file(name)
        tops = {name.partition("/")[0] for name in found.images}
        inner = {name.split("/")[1] if name.count("/") > 1 else "" for name in found.images}
        holds_classes = "" not in inner and (len(inner) > 1 or inner <= SPLIT_WORDS.keys())
        return f"{tops.pop()}/" if len(tops) == 1 and holds_classes and not tops & SPLIT_WORDS.keys() else ""

    def _safe(self, name: str) -> str:
        """Give the name without `./`; empty for what is no part of the set.

        Raises:
            DataError: if the name is absolute, climbs, or there are too many.
        """
        self._count += 1
        if self._count > MAX_MEMBERS:
            raise DataError(f"{self._where} has more than {MAX_MEMBERS:,} members, too many")
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", name) or ".." in re.split(r"[/\\]", name):
            raise DataError(f"{self._where}: the name {shown(name)} leads out of the archive; pack it again without")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        return "" if any(is_litter(part) for part in parts) else "/".join(parts)


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]
