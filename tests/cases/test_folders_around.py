"""Sets are packed with folders around them and by other systems; what is around them is no class."""

import io
import os
import tarfile
import zipfile

import pytest

from firstlight.data.sources import load_data
from firstlight.errors import DataError

FILES = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]


def tarred(path, names):
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    return path


@pytest.mark.parametrize("around", ["", "photos/", "a/b/", "a/b/photos-main/"])
def test_any_folders_around_an_archive_are_left_out(tmp_path, around):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in FILES:
            archive.writestr(around + name, b"x")
    assert load_data(path).names == tuple(FILES)
    deep = load_data(tarred(tmp_path / "set.tar", [f"{around}train/{name}" for name in FILES]))
    assert deep.classes == ("cat", "dog") and deep.splits.tolist() == [0] * 4, "a split folder is not around the set"


def test_one_class_in_folders_is_still_one_class(tmp_path):
    assert load_data(tarred(tmp_path / "set.tar", ["cat/1.png", "cat/2.png"])).classes == ("cat",)
    with pytest.raises(DataError, match="only one class, cat"):
        load_data(tarred(tmp_path / "deep.tar", ["cat/siamese/1.png", "cat/siamese/2.png"]))


def test_the_folder_to_name_is_named_at_once(tmp_path, named):
    root = named(tmp_path / "set", [f"a/b/photos/{name}" for name in FILES])
    with pytest.raises(DataError, match="only one class, a; .*, use .*/set/a/b/photos$"):
        load_data(root)


def test_a_tar_with_backslashes_has_folders(tmp_path):
    path = tarred(tmp_path / "set.tar", [f"photos\\{name}".replace("/", "\\") for name in FILES])
    assert load_data(path).names == tuple(FILES)
    mixed = tarred(tmp_path / "mixed.tar", [*FILES, "dog/a\\b.png"])
    assert "dog/a\\b.png" in load_data(mixed).names, "on Linux this is a name like any other"


def test_pipes_are_called_pipes(tmp_path, named):
    root = named(tmp_path / "set", FILES)
    os.mkfifo(root / "cat" / "pipe.png")
    assert load_data(root).notes == ("left out: 1 special file (a pipe, a socket or a device), such as cat/pipe.png",)


def test_splits_beside_other_folders_are_all_named(tmp_path, named):
    root = named(tmp_path / "set", [f"{top}/{name}" for top in ("train", "test", "extra") for name in FILES])
    with pytest.raises(DataError, match="split folders test and train beside extra; rename these if they are splits"):
        load_data(root)
