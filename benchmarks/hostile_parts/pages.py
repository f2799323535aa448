"""Names that are HTML or Markdown, in everything that a browser may show: parsed, nothing of them is markup."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.place import Place

MARK = "owned"
BARE = (
    "<script>owned()</script>", "</script><script>owned()</script>", "<img src=x onerror=owned()>",
    "<svg/onload=owned()>", '"><script>owned()</script>', "'><img src=x onerror=owned()>", '" onmouseover="owned()',
    "' autofocus onfocus='owned()", "<a href='javascript:owned()'>x</a>", "<iframe src=javascript:owned()>",
    "<style>@import 'owned'</style>", "--><owned>", "<!--<script>owned()", "]]><owned>", "</title><owned>",
    "</textarea><owned>", "</style><owned>", "<owned/x", "&lt;owned&gt;", "&#60;owned&#62;", "\\u003cowned\\u003e",
    "{{owned}}", "{% owned %}", "${owned}", "`owned`", "<base href=//owned>",
    "<meta http-equiv=refresh content=0;url=owned>", "<form action=owned><input>", "<object data=owned>",
    "<embed src=owned>", "<math><owned>", "<details open ontoggle=owned()>", "<body onload=owned()>",
    "<link rel=stylesheet href=owned>", "[x](javascript:owned())", "![x](owned)", "**owned** | x | y", "# owned",
    "<owned@x>", "a\n---\nowned: true", "\u2028<owned>", "<owned\u00a0onclick=owned()>", "\x00<owned>", "<\x00owned>",
    "</owned>", "<OWNED>", "<x-owned>", "{owned!r}", "%3Cowned%3E", "<p onclick\n=\nowned()>",
)  # fmt: skip


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for the names of classes and files."""
    yield tried("HTML in names", place.count(len(BARE)), lambda number: shown(place, BARE[number], number), seconds=120)


class Markup(HTMLParser):
    """What in a page is markup, or runs.

    Attributes:
        found: what a name has become part of, that it must not.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._runs = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at a tag and its attributes."""
        names = dict(attrs)
        self._runs = tag == "script" and "json" not in (names.get("type") or "")
        handlers = [name for name in names if name.startswith("on") or MARK in name]
        links = [names.get(name) or "" for name in ("href", "src", "action", "data")]
        runs = [
            link for link in links if link.lower().lstrip().startswith("javascript:") or link in (MARK, f"//{MARK}")
        ]
        if MARK in tag or handlers or runs:
            self.found.append(f"<{tag} {attrs}>")

    def handle_endtag(self, tag: str) -> None:
        """Look at the end of a tag."""
        self._runs = self._runs and tag != "script"
        if MARK in tag:
            self.found.append(f"</{tag}>")

    def handle_comment(self, data: str) -> None:
        """Look at a comment."""
        if MARK in data:
            self.found.append(f"<!--{data}-->")

    def handle_data(self, data: str) -> None:
        """Look at a script."""
        if self._runs and f"{MARK}()" in data:
            self.found.append(f"a script: {data[:80]}")


def markup_in(page: str) -> list[str]:
    """Return what in a page a name has become, besides text."""
    parser = Markup()
    parser.feed(page)
    parser.close()
    return parser.found


def shown(place: Place, name: str, number: int) -> Found:
    """Return what is wrong with a report, a card, and what notebooks show of a run with this name of a class."""
    import firstlight as fl
    from firstlight.delivery.share.card import card_of
    from firstlight.delivery.share.markdown import card_as_markdown

    chance = np.random.default_rng(number)
    images = chance.integers(0, 256, (60, 8, 8), np.uint8)
    labels = [(name, "b", "c")[place_ % 3] for place_ in range(60)]
    out = place.fresh("pages") / "run"
    run = fl.train((images, labels), model="mlp", hidden=(4,), epochs=1, batch_size=16, out=out)
    pages = {
        "report.html": (out / "report.html").read_text("utf-8"),
        "the notebook": run._repr_html_() + fl.predict(run, images[:4])._repr_html_(),
        "the card": rendered(card_as_markdown(card_of(run.model))),
    }
    for where, page in pages.items():
        if found := markup_in(page):
            return Found(f"{name!r} in {where}: {found[0]}", 10**7)
    json.loads((out / "evaluation.json").read_text("utf-8"), parse_constant=_refuse)
    return Found("", 10**7)


def rendered(card: str) -> str:
    """Return a card as a hub would show it: Markdown that may hold HTML, below a head."""
    from markdown_it import MarkdownIt

    _, _, text = card.removeprefix("---\n").partition("\n---\n")
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
