"""Tests of `firstlight.disk`."""

import errno
import pickle
import shutil
from types import SimpleNamespace

import pytest

from firstlight.disk import free_bytes, in_units, require_room, writing
from firstlight.errors import UserError, WriteError


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some room"),
        (errno.EDQUOT, "your quota on this disk is used up"),
        (errno.EROFS, "the disk is read-only; make it writable"),
        (errno.EACCES, "you are not allowed to write there"),
        (errno.EIO, "the disk reports an error"),
    ],
)
def test_an_error_of_writing_names_the_file_the_reason_and_the_remedy(tmp_path, number, words):
    with pytest.raises(WriteError) as caught, writing(tmp_path / "model", "or go elsewhere"):
        raise OSError(number, "No")
    assert str(caught.value).startswith(f"{tmp_path / 'model'} cannot be written: ")
    assert words in str(caught.value) and str(caught.value).endswith(", or go elsewhere")
    assert isinstance(caught.value, OSError) and caught.value.errno == number
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError("7360512 requested and 2178944 written"),
    ],
)
def test_what_libraries_make_of_a_full_disk_is_understood(tmp_path, error):
    with pytest.raises(WriteError, match="the disk is full"), writing(tmp_path / "model"):
        raise error


def test_a_folder_that_was_removed_is_named(tmp_path):
    with (
        pytest.raises(WriteError, match=r"gone does not exist; create it, and start again"),
        writing(tmp_path / "gone" / "a" / "b"),
    ):
        (tmp_path / "gone" / "a" / "b").write_text("")


def test_errors_of_another_kind_pass(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "out" / "model"):
        (tmp_path / "picture").read_bytes()
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "model"):
        1 / 0  # noqa: B018 - the error is what is wanted


def test_what_has_no_room_is_not_begun(tmp_path, monkeypatch):
    require_room(tmp_path / "not" / "there", 1000, "this", "do that")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=812))
    assert free_bytes(tmp_path / "not" / "there") == 812
    require_room(tmp_path, 700, "this", "do that")
    with pytest.raises(UserError, match=r"this needs 2.5 MB in .*, but only 812 bytes are free; do that"):
        require_room(tmp_path, 2_500_000, "this", "do that")
    with pytest.raises(UserError, match=r"this needs a little more than the 812 bytes that are free in .*; do that"):
        require_room(tmp_path, 812, "this", "do that")


def test_bytes_are_told_in_units_that_can_be_read():
    assert [in_units(count) for count in (0, 999, 1000, 51_000_000, 1.25e9, 2e12)] == [
        "0 bytes", "999 bytes", "1.0 kB", "51 MB", "1.2 GB", "2,000 GB",
    ]  # fmt: skip
