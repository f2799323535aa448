"""Tables for people: data frames of pandas, and small HTML that notebooks show, on light pages and on dark ones."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape as escape_html
from typing import TYPE_CHECKING, Any, Self

from firstlight.errors import UserError
from firstlight.escaping import escape_name

if TYPE_CHECKING:
    from pandas import DataFrame

Row = Mapping[str, Any]

# Colors are those of the page around it, so that it can be read on light pages and on dark ones.
_STYLE = (
    "<style>.firstlight{font-size:13px;line-height:1.45}"
    ".firstlight table{border-collapse:collapse;margin:.3em 0;color:inherit;font-size:inherit}"
    ".firstlight th,.firstlight td{text-align:left;padding:1px 12px 1px 0;border:0;background:none;color:inherit}"
    ".firstlight th{font-weight:600;opacity:.7}.firstlight caption{text-align:left;font-weight:600;color:inherit}"
    ".firstlight .n{text-align:right;font-variant-numeric:tabular-nums}.firstlight p{margin:.3em 0}"
    ".firstlight .bar{display:inline-block;height:.7em;background:#4c78a8;vertical-align:baseline}</style>"
)


def data_frame(rows: Iterable[Row], columns: Sequence[str] | None = None) -> "DataFrame":
    """Return rows as a data frame of pandas, with these columns if there is no row.

    Raises:
        UserError: if pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError("to_pandas needs pandas, which is not installed; run: pip install pandas") from None
    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))


class Html:
    """A piece of HTML that is built from top to bottom; all text in it is escaped.

    >>> Html("Run a<b").facts({"n": "3"}).text().startswith("<div class='firstlight'>")
    True
    """

    def __init__(self, title: str, *lines: str) -> None:
        heading = f"<p><b>{_cell(title)}</b></p>" if title else ""
        self._parts = [f"<div class='firstlight'>{_STYLE}{heading}"]
        self.notes(lines)

    def facts(self, facts: Mapping[str, str], caption: str = "") -> Self:
        """Add a table of two columns: what, and how much."""
        rows = "".join(f"<tr><th>{_cell(name)}</th><td>{_cell(value)}</td></tr>" for name, value in facts.items())
        self._parts.append(f"<table>{_caption(caption)}{rows}</table>")
        return self

    def table(self, rows: Sequence[Row], caption: str = "", more: int = 0) -> Self:
        """Add a table with one heading for each key of the first row; numbers are right-aligned."""
        if rows:
            heads = "".join(f"<th>{_cell(name)}</th>" for name in rows[0])
            lines = "".join("<tr>" + "".join(map(_data, row.values())) + "</tr>" for row in rows)
            self._parts.append(f"<table>{_caption(caption)}<tr>{heads}</tr>{lines}</table>")
        return self.notes([f"and {more:,} more"] if more > 0 else [])

    def images(self, pngs: Iterable[tuple[bytes, str]]) -> Self:
        """Add small pictures, each the bytes of a PNG, with its alternative text."""
        from base64 import b64encode

        self._parts += [
            f"<img alt='{_cell(words)}' title='{_cell(words)}' style='height:56px;margin:2px' "
            f"src='data:image/png;base64,{b64encode(png).decode()}'>"
            for png, words in pngs
        ]
        return self

    def figure(self, png: bytes, words: str) -> Self:
        """Add a figure, the bytes of a PNG, with its alternative text, as wide as there is room for."""
        from base64 import b64encode

        source = f"data:image/png;base64,{b64encode(png).decode()}"
        self._parts.append(f"<img alt='{_cell(words)}' style='max-width:100%' src='{source}'>")
        return self

    def notes(self, lines: Iterable[str]) -> Self:
        """Add paragraphs."""
        self._parts += [f"<p>{_cell(line, 400)}</p>" for line in lines]
        return self

    def line(self, html: str) -> Self:
        """Add a paragraph that is HTML already."""
        self._parts.append(f"<p>{html}</p>")
        return self

    def text(self) -> str:
        """Return all of it."""
        return "".join(self._parts) + "</div>"


def progress_html(description: str, fraction: float | None, words: str, lines: Sequence[str] = ()) -> str:
    """Return HTML with lines about what is done, and a bar beside what goes on, which moves if no fraction is known."""
    bar = "<progress></progress>" if fraction is None else f"<progress value='{fraction:.4f}'></progress>"
    return Html("", *lines).line(f"{_cell(description)} {bar} {_cell(words)}").text()


class Bar(float):
    """A fraction that is shown as a bar and in percent."""


def _caption(text: str) -> str:
    return f"<caption>{_cell(text)}</caption>" if text else ""


def _cell(value: object, limit: int = 120) -> str:
    return escape_html(escape_name(str(value), limit), quote=True)


def _data(value: object) -> str:
    if isinstance(value, Bar):
        width = f"<span class='bar' style='width:{max(0.0, min(1.0, value)) * 8:.2f}em'></span>"
        return f"<td>{width} {value:.1%}</td>"
    if isinstance(value, float):
        return f"<td class='n'>{value:.3f}</td>"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"<td class='n'>{value:,}</td>"
    return f"<td>{_cell('' if value is None else value)}</td>"
