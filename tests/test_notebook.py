"""In a notebook a bar shows work that takes long, needs no widgets, and is gone in the end."""

import sys
from types import SimpleNamespace

import pytest

from firstlight import notebook
from firstlight.progress import keep, progress


@pytest.fixture
def outputs(monkeypatch):
    """What a cell showed, in the order of time, in a kernel that is made up; a second passes with every look."""
    shown = []
    now = iter(range(10_000))
    shell = SimpleNamespace(kernel=object(), execution_count=1)
    display = SimpleNamespace(
        HTML=str, display=lambda html, display_id: shown.append(("new", html)) or SimpleNamespace(
            update=lambda html: shown.append(("update", html)))
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(notebook, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(notebook.NotebookWork, "shown", None)
    monkeypatch.delenv("FIRSTLIGHT_PROGRESS", raising=False)
    return shown


def test_a_bar_counts_and_is_gone_in_the_end(outputs, capsys):
    with progress("training", 4, "epochs") as advance:
        advance()
        keep("epoch <1>")
        advance()
    assert [kind for kind, _ in outputs] == ["new", "update", "update"]
    assert "1 of 4 epochs, about 3 s left" in outputs[0][1]
    assert "epoch &lt;1&gt;" in outputs[1][1] and "value='0.5000'" in outputs[1][1]
    assert outputs[-1] == ("update", "")
    assert capsys.readouterr() == ("", "")


def test_work_within_work_shares_one_output(outputs):
    with progress("training", 2) as outer:
        with progress("packing", 2) as inner:
            inner()
        outer()
    assert [kind for kind, _ in outputs] == ["new", "update", "update"]


def test_short_work_shows_nothing(outputs, monkeypatch):
    monkeypatch.setattr(notebook, "time", SimpleNamespace(monotonic=lambda: 0.0))
    with progress("packing", 2) as advance:
        advance(2)
    assert outputs == []


def test_it_can_be_turned_off(outputs, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_PROGRESS", "off")
    with progress("training", 2) as advance:
        advance()
    assert outputs == []


def test_outside_of_a_kernel_there_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not notebook.in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.in_notebook()
