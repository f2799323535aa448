"""The words for resizing an image: each is read in one way or refused in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import RecipeError
from firstlight.resize import RESIZE_METHODS, parse_resize

MALFORMED = [
    "",
    "stretch",
    "Crop",
    "crop:",
    "crop:0",
    "crop:0.0",
    "crop:1.0000001",
    "crop:1.5",
    "crop:2",
    "crop:-0.5",
    "crop:x",
    "crop:nan",
    "crop:1e-3",
    "crop: 0.5",
    "crop:0.5\n",
    "crop:0.1234567",
    "crop:٠.٥",
    "crop:0.5:0.5",
    "pad:0.5",
    "squash:1",
]


@pytest.mark.parametrize("resize", RESIZE_METHODS)
def test_a_bare_word_keeps_all_that_it_can(resize):
    assert parse_resize(resize) == (resize, 1)


@given(st.integers(1, 10**6))
def test_a_fraction_is_read_as_it_is_written(millionths):
    fraction = millionths / 10**6
    assert parse_resize(f"crop:{fraction:.6f}") == ("crop", fraction)
    assert parse_resize(f"crop:{fraction:.6f}".rstrip("0").rstrip(".")) == ("crop", fraction)


@pytest.mark.parametrize("resize", MALFORMED)
def test_anything_else_is_refused_with_what_to_choose(resize):
    with pytest.raises(RecipeError, match="choose crop, pad, squash, or crop:0.875") as refused:
        parse_resize(resize)
    assert str(refused.value).startswith(f"resize = {resize!r}: ")
