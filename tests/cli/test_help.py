"""The help: every option at the width of the terminal, in any encoding, with the defaults that are really taken."""

import io
import re
import sys

import pytest

from firstlight.cli import main
from firstlight.cli.commands import Train
from firstlight.cli.options import EVERYDAY, options_of
from firstlight.training.defaults import complete
from firstlight.training.recipe import Recipe

COMMANDS = ["check", "train", "evaluate", "compare", "predict", "explain", "serve", "guide"]


def help_of(capsys, *words):
    assert main(list(words)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120, 200])
@pytest.mark.parametrize("words", [["--help"], ["train", "--help-all"], ["predict", "-h"]])
def test_lines_fill_the_terminal_and_break_between_words(columns, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = help_of(capsys, *words)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= columns
    monkeypatch.setenv("COLUMNS", "1000")
    assert shown.split() == help_of(capsys, *words).split(), "a word was broken"
    if words[0] == "train":
        assert max(map(len, lines)) > columns - 12


def test_train_shows_what_people_use_and_the_rest_when_asked(capsys):
    short, whole = help_of(capsys, "train", "--help"), help_of(capsys, "train", "--help-all")
    flags = [set(re.findall(r"(?m)^  --(?:\[no-\])?([a-z-]+)", text)) for text in (short, whole)]
    names = {option.flag[2:] for option in options_of(Train) if not option.positional}
    assert flags[1] == names
    assert flags[0] == names & {name.replace("_", "-") for name in EVERYDAY}
    assert "`firstlight train --help-all` lists all options." in short
    for group in ("Data:", "Model:", "Transfer:", "Optimization:", "General:"):
        assert f"\n{group}\n" in short
    assert "\nAugmentation:\n" in whole
    assert help_of(capsys, "help", "train") == short


@pytest.mark.parametrize(("choice", "model"), [("epochs", "mlp"), ("lr", "cnn"), ("batch_size", "cnn"), ("ema", "mlp")])
def test_the_defaults_are_those_that_a_run_takes(choice, model, capsys):
    taken = complete(Recipe.of(model=model), color=True, images=1_000_000).flat()[choice]
    words = " ".join(help_of(capsys, "train", "--help-all").split())
    flag = f"--{choice.replace('_', '-')} "
    assert f"{model} {taken:g}" in words.partition(flag)[2].partition(" --")[0]


def test_the_version_and_how_to_ask_for_it_are_told(capsys):
    assert "-V, --version" in help_of(capsys, "--help")
    assert help_of(capsys, "-V") == help_of(capsys, "version") == "firstlight 0.1.0\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize("words", [["--help"], *([command, "--help-all"] for command in COMMANDS)])
def test_the_help_can_be_written_in_any_encoding(encoding, words, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    assert main(words) == 0
    sys.stdout.flush()
    assert "\\x" not in raw.getvalue().decode(encoding)
