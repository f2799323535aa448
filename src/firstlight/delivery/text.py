"""Text in figures, drawn literally: no mathtext, no TeX, no character that the installed fonts lack.

Matplotlib shapes Arabic and puts right-to-left text in order. A name that has such letters is isolated, so that the
words and numbers around it stay where they are.
"""

import unicodedata
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from firstlight.delivery.names import shorten_all
from firstlight.errors import NoteWarning

# Common families that cover many scripts; the installed ones are used where the main font has no glyph.
FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans",
    "Noto Sans Symbols2",
    "Noto Sans Symbols 2",
    "Noto Emoji",
    "Hiragino Sans",
    "PingFang SC",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Nirmala UI",
    "Leelawadee UI",
    "Segoe UI Symbol",
    "Segoe UI Emoji",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Symbola",
)
EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC"})
JOINERS = "\u200c\u200d"  # invisible; Persian, the scripts of India, and emoji are written with them
ISOLATE, END_OF_ISOLATE = "\u2068", "\u2069"


def drawable_text(texts: Sequence[str], limit: int | None = None) -> tuple[list[str], dict[str, Any]]:
    r"""Return texts that matplotlib can draw without a warning, and the text options to draw them with.

    `$`, `_`, `%` and backslashes stay what they are. A character without a glyph, and a line break, becomes its code
    such as `\u732b`, so that different names always appear different. A `NoteWarning` says once for each script which
    font is missing.

    Args:
        texts: one line each.
        limit: at most so many characters of each are kept, as by `shorten_all`.
    """
    from matplotlib import rcParams

    options: dict[str, Any] = {"parse_math": False, "usetex": False}
    needed = frozenset(letter for text in texts for letter in text if letter.isprintable() and letter not in JOINERS)
    family = tuple(rcParams["font.family"])
    drawable = needed & _letters(family)
    if missing := needed - drawable:
        fallbacks = _fallbacks(missing)
        options["fontfamily"] = [*family, *fallbacks]
        drawable |= needed & _letters(fallbacks)
        for kind, font in sorted({_kind_and_font(letter) for letter in needed - drawable}):
            _tell_missing(kind, font)
    literal = [_literal(text, drawable) for text in texts]
    return [_isolated(text) for text in (literal if limit is None else shorten_all(literal, limit))], options


def _literal(text: str, drawable: frozenset[str]) -> str:
    letters = []
    for before, letter in zip(" " + text, text, strict=False):
        joins = letter in JOINERS and before in drawable and not before.isascii()
        letters.append(letter if letter in drawable or joins else letter.encode("unicode_escape").decode())
    return "".join(letters)


def _isolated(text: str) -> str:
    rightward = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)
    return f"{ISOLATE}{text}{END_OF_ISOLATE}" if rightward else text


@lru_cache(maxsize=256)
def _letters(families: tuple[str, ...]) -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    files = {findfont(FontProperties(family=[family])) for family in families}
    return frozenset(chr(code) for file in files for code in get_font(file).get_charmap())


@lru_cache(maxsize=32)
def _fallbacks(missing: frozenset[str]) -> tuple[str, ...]:
    """Return installed families that have the missing letters, as far as there are any."""
    chosen: list[str] = []
    installed = _installed_families()
    scripts = sorted({_script(letter).title() for letter in missing})
    wanted = [*FALLBACK_FONTS, *(f"Noto {style} {script}" for script in scripts for style in ("Sans", "Serif"))]
    for family in wanted:
        if family in installed and (found := missing & _letters((family,))):
            chosen.append(family)
            missing -= found
    return tuple(chosen)


@lru_cache(maxsize=1)
def _installed_families() -> frozenset[str]:
    """Return the families of all fonts, also of those installed after matplotlib made its list."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {font.fname for font in fontManager.ttflist}
    for file in findSystemFonts():
        if file not in known:
            try:
                fontManager.addfont(file)
            except Exception:  # noqa: S112  # a font that cannot be read is as good as none, whatever is wrong with it
                continue
    return frozenset(font.name for font in fontManager.ttflist)


def _script(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def _kind_and_font(letter: str) -> tuple[str, str]:
    script = _script(letter)
    if script in EAST_ASIAN:
        return "Chinese, Japanese, and Korean characters", "Noto Sans CJK (package fonts-noto-cjk on Debian and Ubuntu)"
    if unicodedata.category(letter) in ("So", "Sk", "Sm") or ord(letter) >= 0x1F000:
        return "some symbols and emoji", "Noto Emoji, the one without color, from fonts.google.com"
    noto = f"Noto Sans {script.title()} (package fonts-noto-core on Debian and Ubuntu)"
    return f"{script.title()} letters", noto


@lru_cache(maxsize=64)
def _tell_missing(kind: str, font: str) -> None:
    """Warn once that no font has letters of this kind."""
    words = f"figures show {kind} as codes, because no installed font has them; to see them, install {font}"
    warnings.warn(words, NoteWarning, stacklevel=2)
