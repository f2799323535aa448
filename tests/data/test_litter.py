"""Names that belong to no set, in any case; all others may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.data.sources.litter import Ignored, is_ignored, why_ignored


@pytest.mark.parametrize("name", ["@eaDir", "$RECYCLE.BIN", "thumbs.DB", "lost+found", "System Volume Information"])
def test_names_of_systems_are_known_in_any_case(name):
    assert why_ignored(name) is why_ignored(name.swapcase()) is Ignored.SYSTEM


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20))
def test_a_word_of_letters_and_digits_is_never_litter_but_hidden_behind_a_dot(word):
    assert is_ignored(word) is (word.lower() == "recycler")
    assert why_ignored("." + word) is Ignored.HIDDEN
