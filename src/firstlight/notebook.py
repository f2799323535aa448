"""Show progress in a notebook: a bar below the cell, which needs no widgets and is removed at the end."""

import sys
import time
from typing import Any

from firstlight.tables import progress_html

SECONDS_BEFORE_FIRST = 0.5  # shorter work shows nothing
SECONDS_BETWEEN = 0.2  # at least, so that hardly any time goes into it
LINES_KEPT = 5  # of those that stay above the bar while work goes on


def in_notebook() -> bool:
    """Return whether this runs in a kernel of Jupyter, whose cells show HTML; IPython is not imported to find out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NotebookWork:
    """Work that is shown in a notebook, instead of the work that it is part of; see `progress`."""

    shown: Any = None  # the output of the cell; works that follow each other in a cell share it
    cell: Any = None  # which cell that was
    under_way: "list[NotebookWork]" = []  # noqa: RUF012 - one screen for all
    lines: "list[str]" = []  # noqa: RUF012

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self.description, self.total, self.unit, self.done = description, total, unit, 0
        self.started = self.last = time.monotonic()
        self.under_way.append(self)

    def advance(self, steps: int = 1, description: str | None = None) -> None:
        """Count steps that are done."""
        self.done, self.description = self.done + steps, description or self.description
        now = time.monotonic()
        if now - self.started >= SECONDS_BEFORE_FIRST and now - self.last >= SECONDS_BETWEEN:
            self.last = now
            self._show(now)

    def keep(self, line: str) -> None:
        """Leave a line above the bar until the work is done."""
        self.lines[:] = [*self.lines, line][-LINES_KEPT:]

    def end(self) -> None:
        """Remove the bar once no work is left."""
        self.under_way.remove(self)
        if not self.under_way:
            self.lines.clear()
            if NotebookWork.shown is not None:
                _update(NotebookWork.shown, "")

    def _show(self, now: float) -> None:
        fraction, words = None, ""
        if self.total and self.done:
            fraction = min(1.0, self.done / self.total)
            left = (now - self.started) * (1 - fraction) / fraction
            words = f"{self.done:,} of {self.total:,} {self.unit}".rstrip() + f", about {left:.0f} s left"
        html = progress_html(self.description, fraction, words, self.lines)
        cell = sys.modules["IPython"].get_ipython().execution_count
        if NotebookWork.shown is None or NotebookWork.cell != cell:
            NotebookWork.shown, NotebookWork.cell = _display(html), cell
        else:
            _update(NotebookWork.shown, html)


def _display(html: str) -> Any:
    from IPython.display import HTML, display

    return display(HTML(html), display_id=True)


def _update(handle: Any, html: str) -> None:
    from IPython.display import HTML

    handle.update(HTML(html))
