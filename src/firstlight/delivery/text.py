"""Text in figures, drawn literally: no mathtext, no TeX, no character that the installed fonts lack."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

# Common families that cover many scripts; the installed ones are used where the main font has no glyph.
FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans",
    "Noto Sans Symbols2",
    "Hiragino Sans",
    "PingFang SC",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Segoe UI Symbol",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
)


def drawable_text(texts: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    r"""Return texts that matplotlib can draw without a warning, and the text options to draw them with.

    `$`, `_`, `%` and backslashes stay what they are. A character without a glyph, and a line break, becomes its code
    such as `\u732b`, so that different names always appear different.
    """
    from matplotlib import rcParams

    options: dict[str, Any] = {"parse_math": False, "usetex": False}
    needed = {letter for text in texts for letter in text if letter.isprintable()}
    family = rcParams["font.family"]
    drawable = needed & _letters(tuple(family))
    if drawable != needed:
        fallbacks = _installed_fallbacks()
        options["fontfamily"] = [*family, *fallbacks]
        drawable = needed & _letters((*family, *fallbacks))
    return ["".join(letter if letter in drawable else _code(letter) for letter in text) for text in texts], options


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text: its two ends, since long names often differ only at one of them."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"


def _code(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


@lru_cache(maxsize=8)
def _letters(families: tuple[str, ...]) -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    files = {findfont(FontProperties(family=[family])) for family in families}
    return frozenset(chr(code) for file in files for code in get_font(file).get_charmap())


@lru_cache(maxsize=1)
def _installed_fallbacks() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return tuple(family for family in FALLBACK_FONTS if family in installed)
