"""Names are cut where they are the same, and different names stay different."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.delivery.names import shorten, shorten_all


def test_long_names_keep_both_ends():
    name = "the first words " * 5 + "number 7"
    cut = shorten(name, 28)
    assert len(cut) == 28
    assert cut[:13] == name[:13]
    assert cut[-13:] == name[-13:]
    assert shorten("short", 28) == "short"


def test_names_that_differ_in_the_middle_keep_the_middle():
    names = [f"photograph of species {number:02d} as seen from the side" for number in (7, 8, 12)]
    cut = shorten_all(names, 24)
    assert all(f"{number:02d} " in text for number, text in zip((7, 8, 12), cut, strict=True))
    assert all(text.startswith("photog…") and len(text) <= 24 for text in cut)
    assert shorten_all(["short", *names], 24)[0] == "short"


@pytest.mark.parametrize("limit", [14, 24])
@given(st.lists(st.text("ab", min_size=30, max_size=60), max_size=20), st.integers(0, 3))
def test_different_names_stay_different_and_equal_ones_equal(limit, middles, ends):
    names = ["x" * 40 * (ends % 2) + middle + "y" * 40 * (ends // 2) for middle in middles]
    cut = shorten_all(names, limit)
    assert len(set(cut)) == len(set(names))
    assert all(len(text) <= limit for text in cut)
    assert [cut[names.index(name)] for name in names] == cut
