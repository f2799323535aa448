"""The guide as notebooks: finds its nine chapters, which are scripts, and writes them as `.ipynb` files."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.errors import DataError, UserError
from firstlight.files import write_text

if TYPE_CHECKING:
    from nbformat import NotebookNode

CHAPTER_PATTERN = "[0-9][0-9]_*.py"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def find_chapters() -> list[Path]:
    """Return the chapters' files: inside an installed package, or beside `src` in a checkout.

    Raises:
        DataError: if this copy of firstlight came without them.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "guide", package.parents[1] / "guide"):
        if chapters := sorted(folder.glob(CHAPTER_PATTERN)):
            return chapters
    raise DataError(f"the guide's chapters are not in {package / 'guide'}; install firstlight again")


def read_chapter(text: str) -> "NotebookNode":
    """Return a chapter, a script with cells in the percent format, as a notebook without output.

    Raises:
        UserError: if jupytext is not installed.
    """
    notebook: NotebookNode = _require("jupytext").reads(text, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random otherwise: the same chapter gives the same file
    notebook.metadata["kernelspec"] = dict(KERNEL)
    return notebook


def write_notebooks(folder: Path) -> list[Path]:
    """Write every chapter as a notebook into a folder, which is made if it does not exist; return their paths.

    Raises:
        DataError: if one of them exists, since it may have been worked in, or if they cannot be written.
        UserError: if jupytext or nbformat is not installed.
    """
    writes = _require("nbformat").writes
    notebooks = {folder / f"{chapter.stem}.ipynb": chapter for chapter in find_chapters()}
    if there := [path for path in notebooks if path.exists()]:
        raise DataError(f"{there[0]} exists already, perhaps with your changes; choose another folder, or move it")
    texts = {path: writes(_titled(read_chapter(chapter.read_text("utf-8")))) for path, chapter in notebooks.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            write_text(path, text + "\n")
    except OSError as error:
        raise DataError(
            f"{folder}: notebooks cannot be written there ({error.strerror}); choose another folder"
        ) from None
    return list(notebooks)


def _titled(notebook: "NotebookNode") -> "NotebookNode":
    """Return the notebook with the title of each code cell as its first line; Jupyter does not show metadata."""
    for cell in notebook.cells:
        if title := cell.metadata.get("title"):
            cell.source = f"# {title}\n{cell.source}"
    return notebook


def _require(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UserError(
            f"making notebooks needs {name}, which is not installed; run: pip install 'firstlight[guide]'"
        ) from None
