"""The limit of pixels that a model was trained under holds when it is used, and the commands take the flag."""

from pathlib import Path

import pytest
from PIL import Image

from firstlight.cli import main
from firstlight.models.model_file import read_model_card


@pytest.fixture(scope="module")
def large(digit_folder, tmp_path_factory) -> Path:
    """A run on pictures of 64 pixels under a limit of 64, while others are limited to fewer."""
    folder = tmp_path_factory.mktemp("large") / "run"
    words = ["--model", "mlp", "--epochs", "1", "--max-pixels", "64", "--out", str(folder)]
    assert main(["train", str(digit_folder), *words]) == 0
    return folder


def test_the_limit_travels_with_the_model(large, digit_folder, tmp_path, capfd):
    assert read_model_card(large / "model.safetensors").max_pixels == 64
    Image.new("L", (9, 9)).save(tmp_path / "larger.png")
    assert main(["predict", str(large), str(tmp_path / "larger.png")]) == 2
    assert "more than the limit of 64; make it smaller, or raise --max-pixels" in capfd.readouterr().out
    assert main(["evaluate", str(large), str(digit_folder)]) == 0
    assert main(["predict", str(large), str(large / "held_out.png")]) == 0


def test_the_flag_goes_first_and_the_message_names_it(large, digit_folder, capfd):
    assert main(["evaluate", str(large), str(digit_folder), "--max-pixels", "63"]) == 2
    assert "make it smaller, or raise --max-pixels" in capfd.readouterr().err
    assert main(["predict", str(large), str(large / "held_out.png"), "--max-pixels", "63"]) == 2
    assert "make it smaller, or raise --max-pixels" in capfd.readouterr().out
