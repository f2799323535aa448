"""List what a folder or an archive holds: pictures, other files, links, and what belongs to no set."""

import os
import stat
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from firstlight.data.formats import SUFFIXES
from firstlight.data.sources.litter import OUR_MARKS, RUNS_FOLDER, Ignored, why_ignored
from firstlight.errors import DataError
from firstlight.escaping import escape_name

Inode = tuple[int, int]  # device, and number there


@dataclass
class FolderListing:
    """The names in a folder or archive, relative to its root, with forward slashes.

    Attributes:
        images: files with the extension of an image.
        other_files: all other files.
        special: pipes, sockets and devices.
        folders: folders.
        links: symbolic links that were not followed, with a slash at the end where they point to a folder.
        broken: symbolic links that point nowhere.
        repeated: symbolic links to what is listed already, with its name in the list.
        ignored: images in places that belong to no set, by the reason.
        runs: our own run folders, whose files are not listed.
        notes: what is unusual about the names.
    """

    images: list[str] = field(default_factory=list)
    other_files: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    repeated: dict[str, str] = field(default_factory=dict)
    ignored: dict[Ignored, list[str]] = field(default_factory=lambda: {reason: [] for reason in Ignored})
    runs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_file(self, name: str) -> None:
        """Add a file to `images` or `other_files`, by its extension."""
        suffix = name[name.rfind(".") :].lower()
        (self.images if suffix in SUFFIXES else self.other_files).append(name)

    def add_ignored(self, name: str, reason: Ignored) -> None:
        """Add a file that belongs to no set, if it is an image; `._cat.jpg` is what macOS keeps beside one."""
        path = PurePosixPath(name)
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("._"):
            self.ignored[reason].append(name)


def list_folder(root: Path, where: str, *, follow_links: bool = False) -> FolderListing:
    """Return all names below a folder.

    Args:
        root: the folder.
        where: the folder as the user named it, for messages.
        follow_links: whether to list what symbolic links point to, under the names of the links. Every file and folder
            is listed once: first what is no link, then links in the order of their names.

    Raises:
        DataError: if a folder cannot be opened, or `root` is one of our run folders.
    """
    walk = _Walk(root, remember=follow_links)
    found, links = walk.found, sorted(walk.list_below(""))
    if follow_links:
        waiting = deque(links)
        while waiting:
            waiting.extend(sorted(walk.follow(waiting.popleft())))
    else:
        found.links = links
    return without_runs(found, where)


class _Walk:
    """Lists folders; remembers which files and folders it has seen if links are to be followed."""

    def __init__(self, root: Path, *, remember: bool) -> None:
        self.found = FolderListing()
        self._root = root
        self._seen: dict[Inode, str] | None = {} if remember else None

    def list_below(self, top: str) -> list[str]:
        """List everything below a folder, `""` or a name with a slash at its end; return the links, unfollowed."""
        links: list[str] = []
        waiting: list[tuple[str, Ignored | None]] = [(top, None)]
        while waiting:
            prefix, ignored = waiting.pop()
            folder = self._root / prefix
            try:
                device = self._visit(folder, prefix)
                with os.scandir(folder) as entries:
                    for entry in entries:
                        name, reason = prefix + entry.name, ignored or why_ignored(entry.name)
                        if entry.is_symlink():
                            if not reason:
                                links.append(name + "/" if _is_folder(entry) else name)
                        elif entry.is_dir(follow_symlinks=False):
                            waiting.append((name + "/", reason))
                        elif reason:
                            self.found.add_ignored(name, reason)
                        else:
                            self._add(entry, name, device)
            except OSError as error:
                if ignored:  # such as lost+found, which only the administrator may open
                    continue
                raise DataError(
                    f"{escape_name(str(folder))} cannot be listed: {error.strerror}; make it readable or move it away"
                ) from error
            if prefix and not ignored:
                self.found.folders.add(prefix[:-1])
        return links

    def _add(self, entry: "os.DirEntry[str]", name: str, device: int) -> None:
        """Add a file, or something that is neither a file nor a folder."""
        if not entry.is_file(follow_symlinks=False):
            self.found.special.append(name)
            return
        self.found.add_file(name)
        if self._seen is not None:
            self._seen.setdefault((device, entry.inode()), name)

    def follow(self, link: str) -> list[str]:
        """List what a link points to; return the links found there."""
        assert self._seen is not None
        name = link.rstrip("/")
        try:
            status = (self._root / name).stat()
        except OSError:  # it points nowhere, or in a circle
            self.found.broken.append(name)
            return []
        inode = (status.st_dev, status.st_ino)
        if inode in self._seen:
            self.found.repeated[name] = self._seen[inode]
        elif stat.S_ISDIR(status.st_mode):
            return self.list_below(name + "/")
        elif stat.S_ISREG(status.st_mode):
            self._seen[inode] = name
            self.found.add_file(name)
        else:
            self.found.special.append(name)
        return []

    def _visit(self, folder: Path, prefix: str) -> int:
        """Remember a folder, if need be, and return the device that it is on."""
        if self._seen is None:
            return 0
        status = folder.stat()
        self._seen.setdefault((status.st_dev, status.st_ino), prefix.rstrip("/"))
        return status.st_dev


def without_runs(found: FolderListing, where: str) -> FolderListing:
    """Return a listing without our own run folders and folders of heatmaps, which people keep beside their pictures.

    Raises:
        DataError: if the root of the listing is such a folder.
    """
    endings = tuple(mark for pair in OUR_MARKS for mark in pair)
    marks = {name for names in (found.other_files, found.images) for name in names if name.endswith(endings)}
    runs = {
        folder
        for folder in map(_parent, marks)
        if any(folder + first in marks and folder + second in marks for first, second in OUR_MARKS)
    }
    if "" in runs:
        raise DataError(f"{where} is a run folder; give the folder of the pictures instead")
    ours = (*runs, *found.ignored[Ignored.HEATMAP])
    around = {parent for name in ours for parent in _parents(name)} | {RUNS_FOLDER} & found.folders
    if not around and not runs:
        return found
    inside = tuple(runs)
    images = [name for name in found.images if not name.startswith(inside)]
    full = {parent for parent in around if any(name.startswith(f"{parent}/") for name in images)}
    return replace(
        found,
        images=images,
        other_files=[name for name in found.other_files if not name.startswith(inside)],
        folders={name for name in found.folders if not f"{name}/".startswith(inside)} - (around - full),
        links=[name for name in found.links if not name.startswith(inside)],
        runs=sorted(run.rstrip("/") for run in runs),
    )


def _is_folder(link: "os.DirEntry[str]") -> bool:
    try:
        return link.is_dir()
    except OSError:  # it points in a circle
        return False


def _parent(name: str) -> str:
    """Return the folder of a file, with a slash at its end; empty at the root."""
    return name[: name.rfind("/") + 1]


def _parents(folder: str) -> list[str]:
    """Return the folders around `a/b/c/`: `a` and `a/b`."""
    parts = folder.rstrip("/").split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
