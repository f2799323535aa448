"""Chapters as pages of the site: scripts with cells in, notebooks for Sphinx out.

A page shows more than a notebook: a download link, the title of every cell, and the
alternative text of every figure, which the cell's code says in a comment.
"""

import re

import nbformat

from firstlight.delivery.notebooks import read_chapter

# `# Figure: what it shows`, over one or more lines, at the beginning of a cell
FIGURE = re.compile(r"\A# Figure: ((?:.*\n)(?:# .*\n)*)")
DRAWING = {"code_prompt_show": "Show how it is drawn", "code_prompt_hide": "Hide"}


def chapter(text: str) -> nbformat.NotebookNode:
    """Turn a chapter into a notebook with all that a page shows."""
    notebook = read_chapter(text)
    heading, _, rest = notebook.cells[0].source.partition("\n")
    name = file_name(heading)
    file = f"/made/notebooks/{name}.ipynb"
    link = f"{{download}}`Download this chapter as a notebook <{file}>`"
    notebook.cells[0].source = f"{heading}\n\n{link}\n{rest}"
    notebook.cells = [shown for cell in notebook.cells for shown in titled(cell)]
    return notebook


def file_name(heading: str) -> str:
    """Return a chapter's file name from its heading, such as `# 3. Neural networks`."""
    number, _, words = heading.removeprefix("# ").partition(". ")
    return f"{int(number):02}_" + re.sub(r"\W+", "_", words.lower())


def titled(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return a cell, after its title if it has one, with its figure described."""
    if cell.cell_type != "code":
        return [cell]
    options = cell.metadata.setdefault("mystnb", {})
    if alt := alternative_text(cell.source):
        options["image"] = {"alt": alt}
        cell.source = FIGURE.sub("", cell.source)
    if "hide-input" in cell.metadata.get("tags", []):
        options.update(DRAWING)
    if not (title := cell.metadata.get("title")):
        return [cell]
    words = nbformat.v4.new_markdown_cell(f"{{.cell-title}}\n{title}")
    words["id"] = f"{cell['id']}-title"
    return [words, cell]


def alternative_text(source: str) -> str:
    """Return what a cell says of its figure, on one line; nothing if it has none."""
    found = FIGURE.match(source)
    words = " ".join(re.sub(r"^# ", "", found[1], flags=re.M).split()) if found else ""
    return words[:1].upper() + words[1:]
