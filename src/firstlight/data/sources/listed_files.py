"""Find the files of a list: by their paths, or, where a path leads nowhere, by their names below the list.

Lists are written on other systems, by programs that know only the names of the pictures, or their ids.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from firstlight.data.formats import SUFFIXES
from firstlight.data.sources.litter import is_ignored
from firstlight.errors import DataError
from firstlight.escaping import escape_name

MAX_FILES_BELOW = 1_000_000  # names that are kept to look for pictures by; a list in a folder of more has to say paths


class FileFinder:
    """Finds the files of a list, relative to its folder.

    Attributes:
        found_below: words of the list that were no paths, with the file that each of them means.
    """

    def __init__(self, folder: Path) -> None:
        self.found_below: dict[str, str] = {}
        self._folder = folder
        self._below: dict[str, list[str]] | None = None

    def find(self, word: str, where: str) -> str:
        """Return the path of a picture as it exists on this system, relative to the list's folder or absolute.

        It may be written with spaces around it, with backslashes, in another Unicode form, or with folders of another
        computer before it. A word that is no path may be the name of exactly one picture below the list's folder, with
        or without its extension.

        Args:
            word: what the list says.
            where: the list and its line, for messages.

        Raises:
            DataError: if there is no such file, or several may be meant.
        """
        name = word.strip()
        if not name:
            raise DataError(f"{where}: the picture is missing; fill it in or remove the row")
        if re.match(r"https?://", name):
            raise DataError(
                f"{where}: {escape_name(name)} is a web address; download the pictures and list their files"
            )
        for path in _spellings(word):
            if self._is_file(path):
                return path
        path = name.replace("\\", "/")
        tails = _tails(path) if path.startswith("/") or re.match(r"[A-Za-z]:/", path) else [path]
        for tail in tails:
            named = self._named(tail)
            if len(named) > 1:
                first, second = (escape_name(file) for file in named[:2])
                raise DataError(
                    f"{where}: {escape_name(name)} could be {first} or {second}; use the path of one of them"
                )
            if named:
                self.found_below[name] = named[0]
                return named[0]
        if not name.isascii() and "\udc80" <= max(name) <= "\udcff":
            raise DataError(f"{where}: {escape_name(name)} is not UTF-8; save the list as CSV UTF-8")
        raise DataError(f"{where}: no picture at {escape_name(word)}; fix the path or remove the row")

    def notes(self) -> tuple[str, ...]:
        """Return a note on the pictures that were found by their names, if there are any."""
        if not self.found_below:
            return ()
        word, file = next(iter(self.found_below.items()))
        count = len(self.found_below)
        what = "1 picture was" if count == 1 else f"{count:,} pictures were"
        return (f"{what} found below the list by name, such as {escape_name(word, 60)} at {escape_name(file, 60)}",)

    def _is_file(self, path: str) -> bool:
        try:
            return bool(path) and Path(self._folder, path).is_file()
        except (OSError, ValueError):  # too long, no right to enter the folder, a zero byte
            return False

    def _named(self, path: str) -> list[str]:
        """Return the pictures whose path below the list's folder ends with this one, with or without its extension."""
        if self._below is None:
            self._below = defaultdict(list)
            for file in _pictures_below(self._folder):
                key = _key(file.rpartition("/")[2])
                self._below[key].append(file)
                self._below[key[: key.rfind(".")]].append(file)
        end = _key(path).removeprefix("./")
        candidates = self._below.get(end.rpartition("/")[2], [])
        keys = ((file, "/" + _key(file)) for file in candidates)
        return [file for file, key in keys if key.endswith("/" + end) or key[: key.rfind(".")].endswith("/" + end)]


def _spellings(word: str) -> Iterator[str]:
    """Yield the ways in which one path may be written, the list's own first."""
    yield word
    for name in (word.strip(), word.strip().replace("\\", "/")):
        yield name
        if not name.isascii():  # macOS keeps accents as characters of their own
            yield unicodedata.normalize("NFC", name)
            yield unicodedata.normalize("NFD", name)


def _tails(path: str) -> Iterator[str]:
    """Yield what is left of a path as folders are taken away from its front, the longest first."""
    parts = path.split("/")[1:]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _pictures_below(folder: Path) -> Iterator[str]:
    """Yield the pictures below a folder, relative to it; hidden folders and links are not entered."""
    count = 0
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_ignored(name))
        inside = Path(root).relative_to(folder).as_posix()
        for name in sorted(files):
            if name[name.rfind(".") :].lower() in SUFFIXES and not is_ignored(name):
                yield name if inside == "." else f"{inside}/{name}"
        count += len(files)
        if count > MAX_FILES_BELOW:
            return
