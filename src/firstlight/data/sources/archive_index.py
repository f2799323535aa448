"""The index of an archive: where each image's bytes are, by safe names; links are resolved inside the archive only."""

import re
from dataclasses import dataclass

from firstlight.data.sources.listing import FolderListing, without_runs
from firstlight.data.sources.litter import Ignored, why_ignored
from firstlight.data.sources.split_folders import outer_folder
from firstlight.errors import DataError
from firstlight.escaping import escape_name

MAX_MEMBERS = 10_000_000
MAX_MEMBER_BYTES = 1 << 30
_MAX_LINKS = 40  # from one to the next, as Linux allows


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


class ArchiveIndex:
    """Collects an archive's members, refuses unsafe ones, and finally removes the folders around them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._members: dict[str, Member] = {}
        self._links: dict[str, tuple[str, str | None]] = {}  # what it says, and the member's name that it means
        self._folders: set[str] = set()
        self._unmarked: list[str] = []
        self._count = 0

    def add_folder(self, name: str) -> None:
        """Add a folder."""
        safe = self._safe_name(name)
        if safe and not _why_ignored(safe):
            self._folders.add(safe)

    def add_file(self, name: str, member: Member, *, marked: bool = True) -> None:
        """Add a file; `marked` is whether the archive says how its name is to be read."""
        safe = self._safe_name(name)
        if member.size > MAX_MEMBER_BYTES or member.stored_size > MAX_MEMBER_BYTES:
            raise DataError(
                f"{self._where}: {escape_name(name)} has {member.size:,} bytes, "
                f"more than the limit of {MAX_MEMBER_BYTES:,}; leave it out"
            )
        self._refuse_twice(safe)
        if safe:
            self._members[safe] = member
            if not marked or not _is_unicode(safe):
                self._unmarked.append(safe)

    def add_link(self, name: str, target: str, *, beside: bool) -> None:
        """Add a link to another member.

        Args:
            name: of the link.
            target: what it says.
            beside: whether that is a path from the folder of the link, as of a symbolic link; else from the root.
        """
        if not (safe := self._safe_name(name)):
            return
        self._refuse_twice(safe)
        parts = safe.split("/")[:-1] if beside else []
        inside = not target.startswith(("/", "\\"))
        for part in target.split("/"):
            if part == "..":
                inside = inside and bool(parts)
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        self._links[safe] = (target, "/".join(parts) if inside else None)

    def finish(self, encoding: str) -> tuple[FolderListing, dict[str, Member]]:
        """Return the names, and the member of each image; `encoding` is how names were read that are not marked.

        Raises:
            DataError: if a link does not lead to a file in the archive.
        """
        if any("\\" in name for name in self._members) and not any("/" in name for name in self._members):
            self._members = {name.replace("\\", "/"): member for name, member in self._members.items()}
        ignored = {name: reason for name in (*self._members, *self._links) if (reason := _why_ignored(name))}
        members = {name: member for name, member in self._members.items() if name not in ignored}
        members |= {name: self._linked(name) for name in self._links if name not in ignored}
        folders = self._folders | {parent for name in members for parent in _parents(name)}
        listing = FolderListing()
        for name in members:
            listing.add_file(name)
        outer = outer_folder(listing.images)
        inside = {name.removeprefix(outer): member for name, member in members.items()}
        found = FolderListing(folders={name.removeprefix(outer) for name in folders if name.startswith(outer)})
        for name in inside:
            found.add_file(name)
        for name, reason in ignored.items():
            found.add_ignored(name, reason)
        if unmarked := [name for name in self._unmarked if name in members]:
            found.notes.append(
                f"names that are not marked as UTF-8, read as {encoding}: {len(unmarked):,}, such as "
                f"{escape_name(unmarked[0])}; if that looks wrong, pack the archive again"
            )
        return without_runs(found, self._where), inside

    def _linked(self, link: str) -> Member:
        """Return the member that a link leads to, through other links if need be."""
        name: str | None = link
        for _ in range(_MAX_LINKS):
            if name in self._members:
                return self._members[name]
            name = self._links[name][1] if name in self._links else None
        raise DataError(
            f"{self._where}: {escape_name(link)} is a link to {escape_name(self._links[link][0])}, which is not a file "
            "in the archive; pack the files themselves"
        )

    def _refuse_twice(self, name: str) -> None:
        if (name in self._members or name in self._links) and not _why_ignored(name):
            raise DataError(f"{self._where}: {escape_name(name)} is in the archive twice; remove one")

    def _safe_name(self, name: str) -> str:
        """Return the name without `./`.

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
        return "/".join(part for part in name.split("/") if part not in ("", "."))


def _why_ignored(name: str) -> Ignored | None:
    return next(filter(None, map(why_ignored, name.split("/"))), None)


def _is_unicode(name: str) -> bool:
    """Return whether a name is valid Unicode; where it was not, Python keeps its bytes as surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeError:
        return False
    return True


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]
