"""Files and folders that belong to no set of pictures: hidden ones, those that systems add, and what we wrote."""

from enum import Enum

# Names are compared without case. A name that begins with a dot is hidden, whoever made it.
_SYSTEM_FOLDERS = {
    "__macosx",  # macOS, in archives
    "$recycle.bin", "recycler", "system volume information",  # Windows
    "lost+found",  # Linux
    "@eadir", "@tmp", "#recycle", "#snapshot",  # Synology: thumbnails, deleted files
    "@recycle", "@recently-snapshot",  # QNAP
    "__pycache__",
}  # fmt: skip  # one line per system reads best
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
_SYSTEM_NAMES = _SYSTEM_FOLDERS | _SYSTEM_FILES

# A folder that holds both files of a pair was written by us: a run, or the figures of an evaluation.
OUR_MARKS = (("recipe.toml", "split.csv"), ("confusion.png", "mistakes.png"))
RUNS_FOLDER = "runs"
HEATMAP_SUFFIX = ".heatmap.png"  # of the pictures that `firstlight explain` writes


class Ignored(Enum):
    """Why a file or folder belongs to no set."""

    HIDDEN = "in hidden files or folders"
    SYSTEM = "in folders that a system adds"
    HEATMAP = "drawn by `firstlight explain`"


def why_ignored(part: str) -> Ignored | None:
    """Return why files and folders of this name belong to no set; None if they may belong to one."""
    if part[0] == ".":
        return Ignored.HIDDEN
    if part.lower().endswith(HEATMAP_SUFFIX):
        return Ignored.HEATMAP
    return Ignored.SYSTEM if part.lower() in _SYSTEM_NAMES else None


def is_ignored(part: str) -> bool:
    """Return whether files and folders of this name belong to no set."""
    return why_ignored(part) is not None
