"""Flags: messages about choices in the words of the command line, and the model group with `--model`."""

import re
from pathlib import Path

import pytest

from firstlight.cli.flags import flag, message, with_flags
from firstlight.errors import DataError, RecipeError, RunError
from firstlight.training.recipe import HOMES

SOURCE = Path(__file__).parents[2] / "src" / "firstlight"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RecipeError("choose a number from 1 to 9", field="batch_size", value=0),
            "--batch-size 0: choose a number from 1 to 9",
        ),
        (RecipeError("no views; set `flip`", field="tta", value=True), "--tta: no views; set --flip"),
        (RecipeError("one width per layer", field="hidden", value=(64, 0)), "--hidden 64 0: one width per layer"),
        (RunError("that is a file", field="out", value="a b"), "--out a b: that is a file"),
        (DataError("too large; use a smaller `img_size`"), "too large; use a smaller --img-size"),
        (DataError("`firstlight check` lists them"), "`firstlight check` lists them"),
        (DataError("no column `image`"), "no column `image`"),
    ],
)
def test_a_message_names_flags(error, told):
    assert message(error) == told


@pytest.mark.parametrize("name", sorted(HOMES))
def test_every_choice_between_backticks_becomes_its_flag(name):
    assert with_flags(f"set `{name}` first") == f"set {flag(name)} first"


def test_in_python_the_same_error_names_the_choice():
    error = RecipeError("choose a number from 1 to 9", field="batch_size", value=0)
    assert str(error) == "batch_size = 0: choose a number from 1 to 9"


def test_only_the_command_line_writes_flags():
    """Below it a choice goes by its name in Python, since whoever calls a function has no flags."""
    for file in SOURCE.rglob("*.py"):
        if "cli" not in file.parts and file.name != "__main__.py":
            found = {word for word in re.findall(r"--[a-z][a-z-]+", file.read_text("utf-8")) if word != "--help"}
            assert not found, f"{file.relative_to(SOURCE)}: {found}"
