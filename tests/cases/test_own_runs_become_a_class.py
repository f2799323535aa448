"""Our own run folders, which people keep beside their pictures, are never taken for data."""

import shutil
import tarfile

import pytest

from firstlight.api import train
from firstlight.data.sources import load_data
from firstlight.errors import DataError

SET = [f"{word}/{number}.png" for word in ("cat", "dog") for number in range(3)]
RUN = [f"{{}}/{file}" for file in ("recipe.toml", "split.csv", "confusion.png", "tensorboard/events", "held_out.png")]


def of_run(folder):
    return [name.format(folder) for name in RUN]


@pytest.mark.parametrize("folder", ["runs/photos-1", "model", "runs/old/photos-1", "cat/run"])
def test_a_run_folder_is_left_out_with_a_note(tmp_path, named, folder):
    data = load_data(named(tmp_path, [*SET, *of_run(folder)]))
    assert data.names == tuple(SET) and data.classes == ("cat", "dog")
    assert data.notes == (f"left out: 1 folder of an earlier run, such as {folder}",)


def test_a_run_folder_inside_an_archive_is_left_out_too(tmp_path, named):
    root = named(tmp_path / "set", [*SET, *of_run("runs/set-1")])
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(root, "set")
    shutil.make_archive(str(tmp_path / "zipped"), "zip", root)
    for path in ("set.tar", "zipped.zip"):
        data = load_data(tmp_path / path)
        assert data.classes == ("cat", "dog") and "runs/set-1" in data.notes[-1]


def test_runs_beside_split_folders_do_no_harm(tmp_path, named):
    names = [f"{split}/{name}" for split in ("train", "test") for name in SET]
    data = load_data(named(tmp_path, [*names, *of_run("runs/a-1"), *of_run("runs/a-2")]))
    assert data.classes == ("cat", "dog") and data.splits is not None and "2 folders" in data.notes[-1]


def test_an_empty_runs_folder_that_an_interrupted_run_left_is_no_class(tmp_path, named):
    named(tmp_path, SET)
    (tmp_path / "runs").mkdir()
    assert load_data(tmp_path).classes == ("cat", "dog")


def test_a_class_may_be_called_runs(tmp_path, named):
    data = load_data(named(tmp_path, [*SET, "runs/1.png", *of_run("runs/set-1")]))
    assert data.classes == ("cat", "dog", "runs") and "runs/1.png" in data.names and len(data) == 7


@pytest.mark.parametrize("mark", ["recipe.toml", "split.csv"])
def test_one_of_the_two_files_makes_no_run(tmp_path, named, mark):
    assert "model/1.png" in load_data(named(tmp_path, [*SET, f"model/{mark}", "model/1.png"])).names


def test_the_figures_of_an_evaluation_are_no_class(tmp_path, named):
    data = load_data(named(tmp_path, [*SET, "scores/confusion.png", "scores/mistakes.png"]))
    assert data.classes == ("cat", "dog") and "such as scores" in data.notes[0]


def test_a_run_folder_itself_is_no_set(tmp_path, named):
    with pytest.raises(DataError, match="is a run folder; give the folder of the pictures"):
        load_data(named(tmp_path, [*SET, "recipe.toml", "split.csv"]))


def test_whoever_stands_in_the_pictures_trains_twice_on_the_same_set(tmp_path, pictures, monkeypatch):
    pictures(tmp_path, [f"{word}/{number}.png" for word in ("cat", "dog") for number in range(8)])
    monkeypatch.chdir(tmp_path)
    before = load_data(".")
    train(".", model="mlp", hidden=(8,), epochs=1)
    after = load_data(".")
    assert after.names == before.names and after.classes == before.classes
    assert any("1 folder of an earlier run" in note for note in after.notes)
