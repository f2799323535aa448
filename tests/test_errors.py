"""Messages of errors: one line that a person can read, whatever is in it."""

import errno

from firstlight.errors import ImageError, RecipeError, UserError
from firstlight.escaping import LONGEST_LINE, LONGEST_WORD


def test_a_message_cannot_steer_a_terminal_or_add_a_line_in_python_either():
    error = UserError("evil\x1b[2J\nname: it is wrong")
    assert str(error) == error.reason == r"evil\x1b[2J\nname: it is wrong"


def test_a_long_name_is_cut_in_its_middle_and_the_advice_stays():
    text = str(ImageError(f"a{'x' * 1_000_000}z: it is wrong; do this"))
    name, rest = text.split(": ", 1)
    assert len(f"{name}:") == LONGEST_WORD
    assert name[0] == "a"
    assert name[-1] == "z"
    assert "…" in name
    assert rest == "it is wrong; do this"


def test_a_message_of_many_words_is_cut_as_well():
    assert len(str(UserError("word " * 100_000))) == LONGEST_LINE
    assert len(str(RecipeError("no", field="model", value="word " * 100_000))) == LONGEST_LINE


def test_what_is_short_stays_as_it_is():
    name = "ü/" * (LONGEST_WORD // 2)
    assert str(UserError(f"{name} is {errno.ENOENT}")) == f"{name} is {errno.ENOENT}"
