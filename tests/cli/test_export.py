"""`firstlight export` as a user meets it: where the file is, how it was checked, and one line where it cannot be."""

import json
import shutil
from pathlib import Path

import pytest

from firstlight.cli import main


@pytest.fixture
def run_folder(digit_run, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(digit_run.folder, "run"))


def test_it_says_where_the_file_is_and_how_it_was_checked(run_folder, capfd):
    assert main(["export", str(run_folder), "--to", "torch"]) == 0
    shown = capfd.readouterr()
    first, second = shown.out.splitlines()[:2]
    assert first.startswith("exported to run/model.pt2 (")
    assert first.endswith(" MB, float32)")
    assert second.startswith("checked on 64 pictures: the same answers as the model, probabilities differ by less than")
    assert shown.err == ""
    assert (run_folder / "model.pt2").is_file()


def test_json_is_one_object_and_nothing_else(run_folder, digit_folder, capfd):
    words = ["export", str(run_folder), "--to", "torch", "--check", str(digit_folder), "broken.png", "--json"]
    Path("broken.png").write_text("no picture")
    assert main(words) == 0
    shown = capfd.readouterr()
    said = json.loads(shown.out)
    assert (said["file"], said["to"]) == ("run/model.pt2", "torch")
    assert said["checked"]["n"] > 64
    assert shown.err.startswith("note: the export is checked without the pictures that cannot be used: 1 of 121 cannot")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--to", "onyx"], "--to onyx: choose onnx, torch, card or hub; did you mean onnx?"),
        (["--to", "torch", "--precision", "int8"], "--precision int8: it works with --to onnx only; leave it out"),
        (["--out", "."], "--out .: that is a folder; name a file, such as model.onnx"),
        (["--out", "model"], "--out model: its name must end in .onnx"),
        (
            ["--check", "missing.png"],
            "missing.png: cannot be read: No such file or directory); give at least 64 pictur",
        ),
        (["--check", "empty"], "no pictures found in empty; give pictures, folders, or archives"),
    ],
)
def test_what_cannot_be_is_one_line(words, expected, run_folder, capfd):
    Path("empty").mkdir()
    assert main(["export", str(run_folder), *words]) == 2
    shown = capfd.readouterr()
    assert expected in shown.err
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert not list(run_folder.glob("model.[!s]*"))


def test_a_damaged_model_is_one_line(run_folder, capfd):
    file = run_folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert main(["export", str(run_folder)]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_the_exporter_of_onnx_says_nothing_of_its_own(run_folder, capfd):
    assert main(["export", str(run_folder)]) == 0
    shown = capfd.readouterr()
    assert [line.partition(" ")[0] for line in shown.out.splitlines()] == ["exported", "checked", "how"]
    assert shown.err == ""
