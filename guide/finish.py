"""The last step of the site: figures that follow the theme, pages that anyone can use.

What Sphinx, furo and MyST-NB write is changed only where axe-core finds fault with it,
and by exact patterns: if one of these tools changes its pages, `guide/axe` says so.
"""

import re
from html import unescape
from pathlib import Path

from sphinx.application import Sphinx

# colors of figures on light pages, and what they become on dark ones
DARK = {
    "#ffffff": "#1c2126",  # the paper
    "#000000": "#dfe4e8",  # text and axes
    "#30363b": "#dfe4e8",  # text of the library's figures
    "#262626": "#dfe4e8",
    "#9aa5ae": "#8f9aa3",  # gray curves
    "#808080": "#9aa5ae",
    "#cfd6db": "#59636b",  # axes of the library's figures
    "#cccccc": "#59636b",
    "#b0b0b0": "#4a535a",  # grids
    "#e4e8eb": "#333b41",
    "#0072b2": "#56b4e9",  # the accent, and matplotlib's first colors
    "#1f77b4": "#56b4e9",
    "#d55e00": "#f0a35e",
    "#ff7f0e": "#f0a35e",
}
LONG_LINE = 80  # characters: a longer line of code scrolls on a laptop
HTML = (
    # captions of the contents are headings without a level
    (r'(<p class="caption" role="heading")(?! aria-level)', r'\1 aria-level="2"'),
    # two landmarks of one kind need names
    (
        r'<aside class="sidebar-drawer">',
        '<aside class="sidebar-drawer" aria-label="Site">',
    ),
    (r'<aside class="toc-drawer', '<aside aria-label="This page" class="toc-drawer'),
    # a folded cell is called by the words that it shows
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    # a wide table scrolls, also by keyboard
    (r'<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    # the first column of some tables has no heading: then it is a cell
    (r'<th class="head( [\w-]+)?">(<p></p>)?</th>', r'<td class="head\1"></td>'),
    # the page that searches has no heading
    (
        r'(?<!</h1>\n)<div id="search-results">',
        '<h1>Search</h1>\n<div id="search-results">',
    ),
)
BACK = re.compile(r'(class="viewcode-back" href="[^"#]*)#firstlight\.([\w.]+)"')
PARAMETERS = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")


def when_built(app: Sphinx, error: Exception | None) -> None:
    """Finish a site that was built without an error."""
    if error is None:
        finish(Path(app.outdir))


def finish(site: Path) -> None:
    """Change the figures and the pages of a site that has just been written."""
    for figure in (site / "_images").glob("*.svg"):
        figure.write_text(follow_theme(figure.read_text("utf-8")), "utf-8")
    for page in site.rglob("*.html"):
        page.write_text(accessible(page.read_text("utf-8")), "utf-8")
    reference = (site / "reference" / "python.html").read_text("utf-8")
    sources = site / "_modules"
    for page in (sources / "firstlight").rglob("*.html"):
        module = ".".join(page.relative_to(sources).with_suffix("").parts)
        page.write_text(lead_back(page.read_text("utf-8"), module, reference), "utf-8")


def follow_theme(svg: str) -> str:
    """Add a second set of colors to a figure; one with pixels in it stays on white."""
    if "<image" in svg or "--paper" in svg:
        return svg
    names = {color: f"--c{color[1:]}" for color in DARK} | {"#ffffff": "--paper"}
    for color, name in names.items():
        svg = re.sub(rf"((?:fill|stroke): ?){color}", rf"\1var({name})", svg)
    light, dark = (
        "".join(f"{name}: {colors[color]}; " for color, name in names.items())
        for colors in (dict(zip(DARK, DARK, strict=True)), DARK)
    )
    style = (
        f":root {{ {light}fill: var(--c000000) }} "
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}"
    )
    return re.sub(r"(<svg[^>]*>)", rf"\1<style>{style}</style>", svg, count=1)


def accessible(html: str) -> str:
    """Return a page that axe-core finds no fault with."""
    for pattern, replacement in HTML:
        html = re.sub(pattern, replacement, html)
    html = PARAMETERS.sub(parameters, html)
    return re.sub(r"<pre>(.*?)</pre>", focusable, html, flags=re.DOTALL)


def lead_back(source: str, module: str, reference: str) -> str:
    """Return a page of source code whose links lead to where its names are described.

    Sphinx takes all names of a module for public ones as soon as one of them is.
    """

    def where(found: re.Match[str]) -> str:
        link, name = found.groups()
        public = f'id="firstlight.{name}"' in reference
        return f'{link}#{"firstlight" if public else module}.{name}"'

    return BACK.sub(where, source)


def parameters(found: re.Match[str]) -> str:
    """Return the lines of a long signature, which are no list of definitions."""
    lines = (
        found[1].replace("<dd>", '<span class="parameter">').replace("</dd>", "</span>")
    )
    return f'<span class="parameters">\n{lines}</span>'


def focusable(found: re.Match[str]) -> str:
    """Make code that scrolls reachable by keyboard."""
    text = unescape(re.sub(r"<[^>]+>", "", found[1]))
    wide = max(map(len, text.splitlines()), default=0) > LONG_LINE
    return f'<pre tabindex="0">{found[1]}</pre>' if wide else found[0]
