"""Progress: sparse plain lines in a pipe, a bar with an ETA on a terminal, nothing at all on stdout."""

import io
import itertools
import re
import sys

import pytest

from firstlight import progress as module
from firstlight.progress import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test turns by hand."""
    seconds = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[0])
    return seconds


def test_short_work_in_a_pipe_says_nothing(capsys):
    with progress("packing", 1000) as advance:
        for _ in range(1000):
            advance()
    assert capsys.readouterr() == ("", "")


def test_long_work_in_a_pipe_says_now_and_then_how_far_it_is_and_how_long_it_takes(clock, capsys):
    with progress("packing", 6000) as advance:
        for second in range(1, 61):
            clock[0] = second
            advance(100)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "packing: 1,000 of 6,000, about 50 s left"
    assert [int(re.search(r"about (\d+) s", line)[1]) for line in lines] == [50, 40, 30, 20, 10]


def test_the_words_can_change_on_the_way(clock, capsys):
    with progress("training", 10) as advance:
        clock[0] = 11
        advance(1, "epoch 1/8  loss 0.1")
        clock[0] = 22
        advance()
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == ["epoch 1/8  loss 0.1"] * 2


def test_a_terminal_gets_a_bar_with_an_eta_that_is_gone_at_the_end(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("packing", 4) as advance:
        for _ in itertools.repeat(None, 3):
            advance()
        advance(0, "nearly")
        sys.stderr.flush()
    shown = terminal.getvalue()
    assert "packing" in shown
    assert re.search(r"\d+/4", shown)
    assert re.search(r"-:--:--|\d:\d\d:\d\d", shown), "no time remaining"
    assert shown.endswith(("\x1b[2K", "\x1b[1A\x1b[2K", "\x1b[?25h")) or "\x1b[2K" in shown.rsplit("\n", 1)[-1]


def test_an_empty_job_is_no_division_by_zero(clock, capsys):
    with progress("nothing", 0) as advance:
        clock[0] = 100
        advance(0)
    assert capsys.readouterr().err == ""
