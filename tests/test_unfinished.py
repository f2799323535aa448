"""What killed processes left unfinished is removed; what a living process writes is not, wherever that process is."""

import os
import subprocess
import sys

import pytest

from firstlight import unfinished
from firstlight.files import atomic_path
from firstlight.unfinished import is_abandoned, make_temporary_folder, sweep, unfinished_beside


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    monkeypatch.setattr(unfinished, "_swept", set())


@pytest.fixture(scope="module")
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def left_by(folder, process, place=None, name="model.safetensors"):
    """A file as a process leaves it if it is killed."""
    file = folder / f".{name}.{place or unfinished._place()}-{process}-0123abcd.part"
    file.write_text("half")
    return file


@pytest.mark.skipif(sys.platform == "win32", reason="processes of Windows are not asked whether they live")
def test_of_this_system_what_belongs_to_no_living_process_goes_at_once_and_nothing_else(tmp_path, dead):
    gone = left_by(tmp_path, dead)
    old = left_by(tmp_path, os.getppid())
    os.utime(old, (0, 0))
    stay = [
        unfinished_beside(tmp_path / "own"), left_by(tmp_path, os.getpid()), left_by(tmp_path, 1, name="root's"), old,
        left_by(tmp_path, dead, place="00000000"), tmp_path / ".part", tmp_path / f".my.{dead}.part",
        tmp_path / f"model.{unfinished._place()}-{dead}-0123abcd.part",
    ]  # fmt: skip
    for file in stay:
        file.touch(exist_ok=True)
    os.utime(old, (0, 0))
    with atomic_path(tmp_path / "new"):
        pass
    assert not gone.exists()
    assert all(file.exists() for file in stay)


@pytest.mark.parametrize("name", ["00000000-1", "00000000-999999999", "1"])
def test_of_a_process_elsewhere_or_of_an_earlier_version_only_what_is_a_day_old_goes(name, tmp_path):
    folder = tmp_path / f".packed.{name}-0123abcd.part"
    folder.mkdir()
    (folder / "pixels").write_text("half")
    os.utime(folder, (0, 0))
    assert not is_abandoned(folder), "its file was written a moment ago"
    os.utime(folder / "pixels", (0, 0))
    os.utime(folder, (0, 0))
    assert is_abandoned(folder)
    sweep(tmp_path)
    assert not folder.exists()


def test_links_are_removed_and_not_followed(tmp_path, dead):
    target = tmp_path / "kept"
    target.mkdir()
    (target / "file").touch()
    link = tmp_path / f".x.{unfinished._place()}-{dead}-0123abcd.part"
    link.symlink_to(target)
    sweep(tmp_path)
    assert not link.is_symlink()
    assert (target / "file").exists()


def test_temporary_folders_of_killed_processes_go_when_the_next_one_is_made(tmp_path, monkeypatch, dead):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = make_temporary_folder()
    abandoned = first.rename(str(first).replace(f"-{os.getpid()}-", f"-{dead}-"))
    (abandoned / "pixels").touch()
    other = tmp_path / f"other-{unfinished._place()}-{dead}-x.part"
    other.mkdir()
    unfinished._swept.clear()
    mine = make_temporary_folder()
    assert sorted(tmp_path.iterdir()) == sorted([mine, other])
