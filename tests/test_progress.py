"""Progress: sparse plain lines in a pipe, a bar with an ETA on a terminal, nothing at all on stdout."""

import io
import re
import sys

import pytest

from firstlight import progress as module
from firstlight.progress import announce, announcements_to, keep, phase, progress, silence


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


def test_what_is_announced_reaches_whoever_listens_and_else_nobody(capsys):
    heard, outer = [], []
    announce("before")
    with announcements_to(outer.append):
        announce("around")
        with pytest.raises(ValueError), announcements_to(heard.append):
            announce("inside")
            raise ValueError
        announce("around again")
    announce("after")
    assert (heard, outer) == (["inside"], ["around", "around again"])
    assert capsys.readouterr() == ("", "")


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


def on_terminal(monkeypatch) -> Terminal:
    """Put a terminal in place of stderr; a fixture could not, since pytest captures anew before the test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return stream


def shown_by(terminal, action=lambda: None) -> str:
    """What the terminal gets from now until the display is drawn again, without escape codes."""
    start = len(terminal.getvalue())
    action()
    module._Bar.display.refresh()
    return re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", terminal.getvalue()[start:])


def test_a_terminal_gets_a_bar_with_units_and_an_eta_that_is_gone_at_the_end(monkeypatch, clock):
    terminal = on_terminal(monkeypatch)
    with progress("packing", 4000, "pictures") as advance:
        assert "packing" in shown_by(terminal)
        for second in (10, 20, 30):
            clock[0] = second
            advance(1000)
        shown = shown_by(terminal, lambda: advance(0, "nearly"))
        assert re.search(r"nearly \S+ +3,000 of 4,000 pictures 0:10 left", shown)
    assert terminal.getvalue().endswith(("\x1b[2K\x1b[?25h", "\x1b[2K\x1b[?25h\r"))
    assert module._Bar.display is None


def test_work_without_steps_shows_for_how_long_it_goes_on(monkeypatch, clock):
    terminal = on_terminal(monkeypatch)
    with phase("drawing"):
        clock[0] = 65
        assert re.search(r"drawing \S+ +1:05", shown_by(terminal))


def test_inner_work_stands_in_place_of_what_it_is_a_part_of(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with phase("outer"):
        assert "outer" in shown_by(terminal)
        with progress("inner", 10):
            shown = shown_by(terminal)
            assert "inner" in shown
            assert "outer" not in shown
        shown = shown_by(terminal)
        assert "outer" in shown
        assert "inner" not in shown


def test_a_kept_line_stays_on_a_terminal_and_is_rare_in_a_pipe(monkeypatch, clock):
    terminal = on_terminal(monkeypatch)
    keep("nothing goes on")
    with progress("training", 3):
        keep("epoch 1 [a]")
    assert "epoch 1 [a]\n" in terminal.getvalue()
    assert "nothing" not in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress("training", 3):
        for second in (1, 11, 12, 25):
            clock[0] = second
            keep(f"epoch {second}")
    assert sys.stderr.getvalue() == "epoch 11\nepoch 25\n"


def test_silence_shows_nothing(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with silence(), progress("packing", 4) as advance, phase("inner"):
        advance()
        keep("a line")
    assert terminal.getvalue() == ""


def test_an_announcement_reaches_who_listens():
    heard = []
    announce("nobody listens")
    with announcements_to(heard.append):
        announce("downloading")
    announce("nobody listens")
    assert heard == ["downloading"]


def test_an_empty_job_is_no_division_by_zero(clock, capsys):
    with progress("nothing", 0) as advance:
        clock[0] = 100
        advance(0)
    assert capsys.readouterr().err == ""
