"""`firstlight explain` as a user meets it: a file for each picture, and a reason for each that has none."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from firstlight.cli import main
from firstlight.cli.pictures import require_pictures
from firstlight.errors import DataError


@pytest.fixture
def run_folder(digit_run, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(digit_run.folder, "run"))


@pytest.fixture
def three(digit_folder):
    """Two digits, and a file that is no picture."""
    digits = sorted(digit_folder.rglob("*.png"))
    shutil.copy(digits[0], "zero.png")
    shutil.copy(digits[100], "eight.png")
    Path("broken.png").write_text("no picture")
    return ["zero.png", "broken.png", "eight.png"]


def test_each_picture_gets_a_file_and_the_rest_go_on(run_folder, three, capsys):
    assert main(["explain", str(run_folder), *three]) == 0
    shown = capsys.readouterr()
    first, second, third = shown.out.splitlines()
    assert first.startswith("zero.png  ")
    assert first.endswith("  heatmaps/zero.heatmap.png")
    assert second.startswith("broken.png  error: ")
    assert "heatmaps/eight.heatmap.png" in third
    assert "1 of 3 pictures could not be used" in shown.err
    assert {path.name for path in Path("heatmaps").iterdir()} == {"zero.heatmap.png", "eight.heatmap.png"}


def test_json_is_one_list_and_nothing_else(run_folder, three, capsys):
    assert main(["explain", str(run_folder), *three, "--class", "7", "--out", "maps", "--json"]) == 0
    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["class"], first["method"], first["heatmap"]) == ("7", "occlusion", "maps/zero.heatmap.png")
    assert second["image"] == "broken.png"
    assert Path(third["heatmap"]).is_file()


def test_dark_pages_get_dark_figures(run_folder, three):
    for words, bright in [(["--out", "light"], True), (["--dark", "--out", "dark"], False)]:
        assert main(["explain", str(run_folder), three[0], *words]) == 0
        corner = Image.open(Path(words[-1]) / "zero.heatmap.png").convert("L").getpixel((2, 2))
        assert (corner > 128) == bright


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--class", "dog"], "--class dog: the model has no such class; it knows 0, 1, 2"),
        (["--method", "gradcam"], "--method gradcam: mlp has no layer that keeps places"),
        (["--method", "cam"], "--method cam: choose auto, gradcam"),
        (["--clas", "7"], "did you mean --class?"),
        (["--out", "zero.png"], "--out zero.png: heatmaps cannot be written there"),
    ],
)
def test_a_mistake_gets_one_line_and_nothing_is_made(words, expected, run_folder, three, capsys):
    before = sorted(Path().rglob("*"))
    assert main(["explain", str(run_folder), "zero.png", *words]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert expected in shown.err
    assert sorted(Path().rglob("*")) == before


def test_where_no_picture_could_be_used_the_exit_code_says_so(run_folder, three, capsys):
    assert main(["explain", str(run_folder), "broken.png"]) == 2
    Path("empty").mkdir()
    assert main(["explain", str(run_folder), "empty"]) == 2
    assert "no pictures found in empty" in capsys.readouterr().err
    assert not Path("heatmaps").exists()
    with pytest.raises(DataError, match="no paths came in on standard input"):
        require_pictures(0, ["-"])
