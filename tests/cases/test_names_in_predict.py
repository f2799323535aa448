"""One name that cannot be used gets a line with the reason, and the other pictures are still classified."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from firstlight.cli import main
from firstlight.runs.folder import HELD_OUT_FILE


@pytest.fixture
def answers(digit_run, monkeypatch, capfd):
    """What `predict` answers to a list on standard input, in which GOOD stands for a picture."""

    def answer(data: bytes, *arguments: str) -> list[str]:
        good = str(digit_run.folder / HELD_OUT_FILE)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data.replace(b"GOOD", good.encode()))))
        code = main(["predict", str(digit_run.folder), "-", *arguments, "--json"])
        found = json.loads(capfd.readouterr().out)
        assert code == 0
        return ["good" if "label" in row and row["image"] == good else row["error"] for row in found]

    return answer


@pytest.mark.parametrize(
    "data",
    [b"GOOD\0GOOD\0", b"\xef\xbb\xbfGOOD\nGOOD\n", b"GOOD\r\nGOOD"],
    ids=["find -print0", "byte order mark", "no end"],
)
def test_lists_of_other_programs_are_taken(answers, data):
    assert answers(data) == ["good", "good"]


def test_a_list_in_utf16_is_taken(answers, digit_run):
    good = str(digit_run.folder / HELD_OUT_FILE)
    assert answers(f"{good}\r\n{good}\r\n".encode("utf-16")) == ["good", "good"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"a" * 300 + b".jpg", "cannot be read: File name too long"),
        (b"x\0y.png", "is not a path: it holds a zero byte"),
        (b"no/such.png", "cannot be read: No such file or directory"),
        (b"/dev/null", "is not a regular file"),
        (b" ", "the name is empty"),
        (b"https://example.com/x.png", "is a web address; download the picture"),
        (b"~nobody-of-this-name/x.png", "cannot be read: No such file or directory"),
    ],
)
def test_the_rest_goes_on(answers, bad, reason):
    first, second, third = answers(b"GOOD\n" + bad + b"\nGOOD\n")
    assert (first, third) == ("good", "good") and second.startswith(reason)
