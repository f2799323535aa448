"""Tables for people: escaped, in the colors of the page, and a plain line where pandas is missing."""

import sys

import pytest

from firstlight.errors import UserError
from firstlight.tables import Bar, Html, data_frame, progress_html


def test_all_text_is_escaped():
    nasty = "<b>\"'&\x1b[31m"
    shown = Html(nasty).facts({nasty: nasty}, nasty).table([{nasty: nasty}], nasty, more=2).notes([nasty])
    html = shown.images([(b"png", nasty)]).text() + progress_html(nasty, 0.5, nasty, [nasty])
    assert '<b>"' not in html and "\x1b" not in html and "title='<" not in html
    assert html.count("&lt;b&gt;&quot;&#x27;&amp;") == 13


def test_numbers_stand_on_the_right_and_fractions_are_bars():
    html = Html("t").table([{"n": 1234, "score": 0.5, "share": Bar(0.25), "kept": True, "none": None}]).text()
    assert "<td class='n'>1,234</td>" in html
    assert "<td class='n'>0.500</td>" in html
    assert "width:2.00em" in html and "25.0%" in html
    assert "<td>True</td><td></td>" in html


def test_without_pandas_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="to_pandas needs pandas, which is not installed; run: pip install pandas"):
        data_frame([])


def test_an_empty_data_frame_still_has_its_columns():
    assert list(data_frame([], ("image", "label")).columns) == ["image", "label"]
