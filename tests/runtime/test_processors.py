"""Threads yield where other work is seen, and a user's own choice stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from firstlight.runtime import processors
from firstlight.runtime.processors import default_workers


def test_workers_are_the_processors_that_may_be_used():
    assert 1 <= default_workers() <= os.cpu_count()


@pytest.fixture
def load(tmp_path, monkeypatch) -> Path:
    """A machine of four processors of which we may use three; write how much runs on it."""
    monkeypatch.setattr(processors.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(processors, "default_workers", lambda: 3)
    monkeypatch.setattr(processors, "LOAD_FILE", tmp_path / "loadavg")
    monkeypatch.delitem(sys.modules, "torch")  # as if it were not imported yet
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "gone in a moment, so that what is set is forgotten afterwards")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    return tmp_path / "loadavg"


@pytest.mark.parametrize(("told", "others"), [("1/90", False), ("2/90", False), ("3/90", True), ("?", False)])
def test_others_are_working_where_more_runs_than_we_leave_processors(load, told, others):
    load.write_text(f"0.52 0.40 0.20 {told} 4711\n")
    assert processors.others_are_working() is others
    processors.yield_processors()
    assert ("GOMP_SPINCOUNT" in os.environ) is others


def test_nobody_is_working_where_the_system_does_not_say(load):
    assert not processors.others_are_working()


def test_somebody_who_is_done_at_once_does_not_count(load, monkeypatch):
    load.write_text("0.52 0.40 0.20 9/90 4711\n")
    monkeypatch.setattr(processors.time, "sleep", lambda _: load.write_text("0.52 0.40 0.20 1/90 4711\n"))
    assert not processors.others_are_working()


def test_a_users_own_choice_stays(load, monkeypatch):
    load.write_text("0.52 0.40 0.20 9/90 4711\n")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    processors.yield_processors()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    processors.yield_processors()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_once_torch_is_there_nothing_is_set(load, monkeypatch):
    load.write_text("0.52 0.40 0.20 9/90 4711\n")
    monkeypatch.setitem(sys.modules, "torch", torch)
    processors.yield_processors()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.skipif(not processors.LOAD_FILE.exists(), reason="only Linux tells what runs")
def test_the_systems_own_file_says_how_many_run():
    running, _, alive = processors.LOAD_FILE.read_text("ascii").split()[3].partition("/")
    assert 1 <= int(running) <= int(alive), "one of them is this process"
    assert processors.others_are_working() in (False, True)


@pytest.mark.parametrize("use", ["firstlight.Recipe", "__import__('firstlight.cli').cli.main(['check', 'nowhere'])"])
def test_threads_are_told_before_torch_is_there(use, tmp_path):
    (tmp_path / "loadavg").write_text("9 9 9 99999/99999 1\n")
    code = (
        "import firstlight, firstlight.runtime.processors, os, pathlib, sys\n"
        f"firstlight.runtime.processors.LOAD_FILE = pathlib.Path({str(tmp_path / 'loadavg')!r})\n"
        f"{use}; assert 'torch' not in sys.modules; print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert told.stdout.split()[-1] == processors.SPIN_COUNT
