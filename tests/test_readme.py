"""The README tells the truth: its commands run, its code runs, its tree is the tree, its pictures exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from firstlight.cli import main

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tree_is_the_tree():
    tree = subprocess.run([sys.executable, "scripts/tree"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert tree.stdout.rstrip() in README, "run scripts/tree and paste what it prints"


def test_the_quick_start_is_six_lines_and_runs(here, capsys):
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) == 6
    exec(code, {})  # noqa: S102 - it is the README's own code
    shown = capsys.readouterr().out
    assert "accuracy" in shown
    assert "predicted as" in shown


def test_the_commands_run(here, capsys, digit_folder):
    photos = shutil.copytree(digit_folder, here / "photos")
    more = shutil.copytree(digit_folder / "3", here / "more")
    shutil.copy(sorted(more.iterdir())[0], here / "new.jpg")
    commands = [line.partition("#")[0].split() for line in blocks("sh")[1].splitlines()]
    names = ["check", "train", "report", "evaluate", "predict", "explain", "export", "tune"]
    assert [words[1] for words in commands] == names
    few = {
        "train": ["--epochs", "2"],
        "tune": ["--epochs", "2", "--trials", "2"],
    }  # the default's 120 on so few images take most of a minute
    for words in commands:
        typed = [word.replace("~/photos", str(photos)) for word in words[1:]]
        assert main([*typed, *few.get(typed[0], [])]) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_nothing_was_left_to_fill_in():
    assert "@@" not in README


def test_its_links_and_images_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (REPOSITORY / target).is_file(), target
