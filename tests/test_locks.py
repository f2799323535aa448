"""One process at a time; the lock of a dead one is free, and one that stands still is not waited for for ever."""

import errno
import itertools
import subprocess
import sys
import threading

import pytest

from firstlight.locks import in_turn, try_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there, processes do not wait for each other")


def turn(file, *, progress=lambda: 0, patience=60.0, on_wait=lambda: None):
    return in_turn(file, progress=progress, patience=patience, on_wait=on_wait)


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


def test_many_go_one_after_another_and_no_lock_is_left(tmp_path):
    inside, most = [], []

    def work():
        with turn(tmp_path / ".a.lock") as is_held:
            assert is_held
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1] * 8
    assert not list(tmp_path.iterdir())


def test_a_holder_that_makes_progress_is_waited_for_and_one_that_stands_still_is_not(tmp_path, monkeypatch):
    now, told = itertools.count(), []
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    monkeypatch.setattr("time.sleep", lambda _: None)
    done = iter([*range(20), *[19] * 1000])
    with (
        turn(tmp_path / ".a.lock"),
        turn(
            tmp_path / ".a.lock", progress=lambda: next(done), patience=9, on_wait=lambda: told.append("waits")
        ) as held,
    ):
        assert not held
    assert told == ["waits"]
    assert 980 < len(list(done)) < 1000, "it waited through the progress, and a little longer"


def test_the_lock_of_a_killed_process_is_free_and_goes(tmp_path):
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print('', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code, str(tmp_path / ".b.lock")], stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        with turn(tmp_path / ".a.lock"):
            assert names_in(tmp_path) == [".a.lock", ".b.lock"], "that of a living process stays"
        holder.kill()
    with turn(tmp_path / ".a.lock"):
        assert names_in(tmp_path) == [".a.lock"]
    assert not names_in(tmp_path)


def test_a_file_is_locked_once_and_counts_as_free_where_there_are_no_locks(tmp_path, monkeypatch):
    def without_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        assert try_lock(first) and not try_lock(second)
        monkeypatch.setattr("fcntl.flock", without_locks)
        assert try_lock(second)


def test_where_there_can_be_no_lock_work_goes_on_without(tmp_path):
    with turn(tmp_path / "missing" / ".a.lock") as held:
        assert not held
