"""Text in figures: literal, in reading order, and a missing font is told once."""

import io
import shutil
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from firstlight.delivery import text as module
from firstlight.delivery.text import drawable_text
from firstlight.errors import NoteWarning


@pytest.fixture(autouse=True)
def nothing_told_yet():
    for cached in (module._tell_missing, module._fallbacks, module._installed_families):
        cached.cache_clear()
    yield
    for cached in (module._fallbacks, module._installed_families):
        cached.cache_clear()


def test_letters_without_a_glyph_keep_names_apart():
    (one, two), options = drawable_text(["\U000e0041", "\U000e0042"])
    assert one != two
    assert one.isascii()
    assert options["parse_math"] is False


@pytest.mark.parametrize(
    ("names", "font"),
    [
        (["\uab01", "\uab02"], "Noto Sans Ethiopic"),
        (["\U000132f9"], "Noto Sans Egyptian"),
        (["\U0001faf6"], "Noto Emoji"),
    ],
)
def test_a_missing_font_is_told_once_for_each_script(names, font, monkeypatch):
    monkeypatch.setattr(module, "FALLBACK_FONTS", ())
    with pytest.warns(NoteWarning, match=f"no installed font has them; to see them, install {font}"):
        drawable_text(names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawable_text(names[::-1])


def test_a_font_that_was_installed_later_is_found(tmp_path, monkeypatch):
    """Matplotlib keeps a list of fonts from its first run; here DejaVu Sans Mono takes the part of a new one."""
    new = shutil.copy(font_manager.findfont("DejaVu Sans Mono"), tmp_path / "new.ttf")
    known = [font for font in font_manager.fontManager.ttflist if font.name != "DejaVu Sans Mono"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", known)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(new), str(tmp_path / "no font.ttf")])
    assert "DejaVu Sans Mono" in module._installed_families()


def ink(text, **options):
    figure = Figure(figsize=(4, 0.5))
    figure.text(0.02, 0.3, text, fontsize=14, **options)
    file = io.BytesIO()
    figure.savefig(file, format="rgba", dpi=80)
    return np.frombuffer(file.getvalue(), np.uint8).reshape(40, 320, 4)[..., 0] < 128


def test_right_to_left_names_leave_the_words_around_them_in_place():
    name = "\u05e9\u05dc\u05d5\u05dd"
    (isolated,), options = drawable_text([name])
    line = ink(f"said {isolated} 97%", **options)
    columns = np.flatnonzero(ink("said ").any(axis=0))
    assert (line[:, : columns[-1]] == ink("said ")[:, : columns[-1]]).all()
    letter = ink(name[0])
    width = np.flatnonzero(letter.any(axis=0))
    first = letter[:, width[0] : width[-1] + 1]
    alone = ink(isolated, **options)
    last = np.flatnonzero(alone.any(axis=0))[-1]
    assert (alone[:, last - first.shape[1] + 1 : last + 1] == first).mean() > 0.97, "the first letter stands rightmost"


def test_text_from_left_to_right_is_left_as_it_is():
    names = ["50% off", "a$b$ 100%", "\u00e9t\u00e9"]
    assert drawable_text(names)[0] == names


def test_joiners_are_drawn_between_letters_of_scripts_that_need_them_only():
    (persian, hidden), _ = drawable_text(["\u0645\u06cc\u200c\u062e", "a\u200cb"])
    assert "\u200c" in persian
    assert hidden == "a\\u200cb"
    (turned,), _ = drawable_text(["x\u202ey"])
    assert turned == "x\\u202ey"
    assert mpl.rcParams["text.usetex"] is False
