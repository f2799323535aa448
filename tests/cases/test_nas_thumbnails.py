"""What systems leave beside pictures belongs to no set, and hidden pictures are counted."""

import os
import shutil

import pytest

from firstlight.data.sources import load_data
from firstlight.errors import DataError
from firstlight.inference.inputs import find_files

SET = ["cat/1.jpg", "dog/1.jpg"]


@pytest.mark.parametrize(
    "folder",
    ["@eaDir", "#recycle", "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information", "lost+found", "__pycache__"]
    + ["@Recycle", "#snapshot", "__MACOSX", "@EADIR"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_systems_are_left_out_wherever_they_are(tmp_path, named, folder, packed):
    path = named(tmp_path / "set", [*SET, f"{folder}/cover.jpg/THUMB.jpg", f"cat/{folder}/1.jpg/THUMB.jpg"])
    if packed:
        path = shutil.make_archive(str(tmp_path / "packed"), "zip", path)
    data = load_data(path)
    assert data.names == tuple(SET) and data.classes == ("cat", "dog")
    assert len(data.notes) == 1
    assert data.notes[0].startswith("left out: 2 pictures in folders that a system adds, such as ")


@pytest.mark.parametrize("file", ["Thumbs.db", "thumbs.db", "THUMBS.DB", "desktop.ini", "Desktop.ini", ".DS_Store"])
def test_files_of_systems_are_not_even_counted(tmp_path, named, file):
    assert load_data(named(tmp_path, [*SET, f"cat/{file}", "cat/._1.jpg"])).notes == ()


@pytest.mark.parametrize(
    "hidden", [".thumbs/1.jpg", "cat/.ipynb_checkpoints/1.jpg", "dog/.1.jpg", ".AppleDouble/1.jpg"]
)
def test_hidden_pictures_are_left_out_with_a_note_that_counts_them(tmp_path, named, hidden):
    data = load_data(named(tmp_path, [*SET, hidden]))
    assert data.names == tuple(SET)
    assert data.notes == (f"left out: 1 picture in hidden files or folders, such as {hidden}",)


def test_where_all_pictures_are_hidden_the_message_says_so(tmp_path, named):
    with pytest.raises(DataError, match=r"no pictures in .*; all are in hidden files or folders, such as \.cat/1\.jpg"):
        load_data(named(tmp_path, [".cat/1.jpg"]))


def test_a_system_folder_that_may_not_be_opened_does_no_harm(tmp_path, named, monkeypatch):
    root = named(tmp_path, [*SET, "lost+found/1.jpg"])
    listing = os.scandir

    def refuse(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert load_data(root).names == tuple(SET)


def test_predict_skips_them_as_well(tmp_path, named):
    root = named(tmp_path, [*SET, "cat/@eaDir/1.jpg/THUMB.jpg"])
    assert [path.removeprefix(f"{root}/") for path in find_files([str(root)])] == SET
