"""Report which files are not in a set and why, so that nothing is left out silently."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from firstlight.data.formats import FORMATS_READ
from firstlight.data.sources.listing import FolderListing
from firstlight.errors import DataError
from firstlight.escaping import escape_name


def refuse_no_images(found: FolderListing, where: str) -> None:
    """Refuse a listing without images, and say what is there instead.

    Raises:
        DataError: if there are none.
    """
    if not found.images:
        raise DataError(f"no pictures in {where}; {_what_instead(found)}")


def left_out(found: FolderListing) -> tuple[str, ...]:
    """Return notes on the files that are not in the set, and on unusual names."""
    return (
        *note(found.other_files, "file", "without the extension of a picture"),
        *note(found.special, "special file", "(a pipe, a socket or a device)"),
        *(text for reason, names in found.ignored.items() for text in note(names, "picture", reason.value)),
        *note(found.runs, "folder", "of an earlier run"),
        *note([link.rstrip("/") for link in found.links], "symbolic link", "which `follow_links` would read"),
        *note(found.broken, "symbolic link", "pointing nowhere"),
        *note([*found.repeated], "symbolic link", "to what is in the set already"),
        *found.notes,
    )


def note(names: Sequence[str], noun: str, what: str) -> tuple[str, ...]:
    """Return a note on what was left out, if anything was."""
    count = f"{len(names):,} {noun}{'s' * (len(names) != 1)}"
    return (f"left out: {count}{what and f' {what}'}, such as {escape_name(min(names))}",) if names else ()


def _what_instead(found: FolderListing) -> str:
    """Return what a folder holds instead of images."""
    if found.links:
        one = len(found.links) == 1
        links = "the symbolic link in it is" if one else f"the {len(found.links):,} symbolic links in it are"
        return f"{links} not followed; set `follow_links`, or copy the files there"
    if found.broken:
        return (
            f"its symbolic links point nowhere, such as {escape_name(found.broken[0])}; put the files themselves there"
        )
    for reason, names in found.ignored.items():
        if names:
            return f"all are {reason.value}, such as {escape_name(min(names))}; rename these"
    if found.runs:
        return f"it holds only folders of earlier runs, such as {escape_name(found.runs[0])}"
    if found.other_files:
        return f"{_most_common_ending(found.other_files)}; {FORMATS_READ} are read, by their usual extensions"
    return "its folders are empty" if found.folders else "it is empty"


def _most_common_ending(files: Sequence[str]) -> str:
    (ending, count), *_ = Counter(PurePosixPath(name).suffix.lower() for name in files).most_common(1)
    if len(files) == 1:
        return f"its only file {f'ends in {escape_name(ending)}' if ending else 'has no extension'}"
    which = f"end in {escape_name(ending)}" if ending else "have no extension"
    return f"{'all' if count == len(files) else f'{count:,}'} of its {len(files):,} files {which}"
