"""The cache is where the user says; if that cannot be written, a temporary folder stands in, and one line says so."""

import errno
import os
from pathlib import Path

import pytest

from firstlight import cache
from firstlight.cache import cache_folder, writable_cache_folder
from firstlight.data.sources import load_data
from firstlight.data.store import pack
from firstlight.errors import DataError


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    """Nothing is known yet about any folder."""
    monkeypatch.setattr(cache, "_stand_ins", {})
    monkeypatch.setattr(cache, "_writable", set())
    for name in ("FIRSTLIGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FIRSTLIGHT_CACHE": "/big/disk", "XDG_CACHE_HOME": "/xdg"}, "/big/disk"),
        ({"FIRSTLIGHT_CACHE": "~/disk", "HOME": "/home/ada"}, "/home/ada/disk"),
        ({"FIRSTLIGHT_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/firstlight"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/ada"}, "/home/ada/.cache/firstlight"),
    ],
)
def test_the_cache_is_where_the_user_says_or_where_caches_are(environment, expected, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_without_a_home_the_variable_comes_first(no_home, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == writable_cache_folder() == tmp_path / "cache"
    assert capfd.readouterr().err == ""


def test_without_any_place_a_temporary_folder_stands_in_and_one_line_says_so(no_home, capfd):
    folder = writable_cache_folder()
    assert folder == cache_folder() == writable_cache_folder() and folder.is_dir() and folder.stat().st_mode & 0o77 == 0
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "there is no home folder" in said and "FIRSTLIGHT_CACHE" in said


def test_what_is_in_a_cache_that_cannot_be_written_is_still_read(tmp_path, monkeypatch, some_digits, capfd):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    samples = load_data(some_digits)
    first = pack(samples, 16)

    def full(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", full)
    monkeypatch.setattr(cache, "_writable", set())
    assert pack(samples, 16).pixels.filename == first.pixels.filename
    assert "note" not in capfd.readouterr().err
    other = pack(samples, 12)
    assert not Path(other.pixels.filename).is_relative_to(tmp_path)
    assert capfd.readouterr().err.count("cache cannot be written (Read-only file system)") == 1
    assert pack(samples, 12).pixels.filename == other.pixels.filename


def test_nowhere_to_write_is_one_line(no_home, monkeypatch):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.tempfile, "mkdtemp", full)
    with pytest.raises(DataError, match="no home folder, and there is no temporary folder .*FIRSTLIGHT_CACHE"):
        cache_folder()
