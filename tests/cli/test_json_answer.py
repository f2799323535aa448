"""With --json, stdout is one strict JSON value, whatever happens."""

import json
import os
import subprocess
import sys

import pytest

from firstlight.cli import main
from firstlight.cli.json_answer import owe_json, print_error, print_json, show_json
from firstlight.errors import DataError
from firstlight.inference.predictor import Guess, Prediction

NOT_UNICODE = os.fsdecode(b"caf\xe9.png")


def strict(text):
    return json.loads(text, parse_constant=pytest.fail)


def predictions(end=None):
    yield Prediction("a.png", label="cat", probability=0.75, top=(Guess("cat", 0.75), Guess("dog", 0.25)))
    yield Prediction(NOT_UNICODE, error="it is empty")
    if end is not None:
        raise end
    yield Prediction("c\rd,e.png", label="dog", probability=1.0, top=(Guess("dog", 1.0),))


def test_json_is_one_line_that_any_program_can_read(capsys):
    print_json({"name": NOT_UNICODE, "n": [1, None]})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"name": NOT_UNICODE, "n": [1, None]}


def test_a_json_list_is_written_row_by_row_and_counts_errors(capsys):
    assert show_json(predictions()) == (3, 1)
    rows = strict(capsys.readouterr().out)
    assert [row["image"] for row in rows] == ["a.png", NOT_UNICODE, "c\rd,e.png"]
    assert rows[0]["top"] == [{"label": "cat", "probability": 0.75}, {"label": "dog", "probability": 0.25}]
    assert rows[1] == {"image": NOT_UNICODE, "error": "it is empty"}


def test_no_predictions_are_an_empty_list(capsys):
    assert show_json(iter(())) == (0, 0)
    assert strict(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (DataError("the archive ends too early"), "the archive ends too early"),
        (KeyboardInterrupt(), "interrupted"),
        (MemoryError(), "not enough memory"),
        (ZeroDivisionError(), "a bug in firstlight"),
    ],
)
def test_a_list_that_ends_early_is_closed_and_its_last_row_says_why(end, reason, capsys):
    with pytest.raises(type(end)):
        show_json(predictions(end))
    print_error("told already")
    *rows, last = strict(capsys.readouterr().out)
    assert [row["image"] for row in rows] == ["a.png", NOT_UNICODE]
    assert last["image"] is None and reason in last["error"] and "missing" in last["error"]


@pytest.mark.parametrize("asked", [True, False])
def test_an_error_is_the_answer_where_there_is_no_other_and_one_was_asked_for(asked, capsys):
    owe_json(["predict", *["--json"] * asked, "--", "--json"])
    print_error("there is no such file")
    print_error("a second one")
    out = capsys.readouterr().out
    assert (strict(out) if out else None) == ({"error": "there is no such file"} if asked else None)


@pytest.mark.parametrize(
    "words",
    [
        "predict nothing.safetensors x.png --json",
        "check no-folder --json",
        "compare a --json",
        "evaluate --json --splitt all",
        "report nothing --json",
        "train no-folder --json --epochs 0",
        "explain --json nothing x.png",
        "export --json nothing",
    ],
)
def test_a_command_that_fails_answers_with_the_line_that_it_tells(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert shown.err == f"firstlight: {strict(shown.out)['error']}\n"


def test_an_interrupt_and_a_mistake_of_ours_are_answers_too(capsys, monkeypatch):
    from firstlight.cli import entry

    for error, reason in ((KeyboardInterrupt(), "interrupted"), (ZeroDivisionError(), "a bug in firstlight")):

        def fail(_words, error=error):
            raise error

        monkeypatch.setattr(entry, "run", fail)
        if isinstance(error, KeyboardInterrupt):
            assert main(["check", "digits", "--json"]) == 130
        else:
            with pytest.raises(ZeroDivisionError):
                main(["check", "digits", "--json"])
        assert reason in strict(capsys.readouterr().out)["error"]


def test_a_signal_that_ends_the_process_at_once_leaves_an_answer():
    script = """
import signal, sys
from firstlight.runtime.signals import last_words, receive_signals
receive_signals()
last_words(b'{"error": "interrupted"}')
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, strict(done.stdout)) == (143, {"error": "interrupted"})
