"""The completion script knows every command, option and word, and works in a real shell."""

import shutil
import subprocess

import pytest

from firstlight.cli import main
from firstlight.cli.commands import Train
from firstlight.cli.options import options_of


def script(capsys, shell):
    assert main(["--print-completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tr", "train"),
        ("train --fin", "--finetune"),
        ("train --finetune l", "last"),
        ("train --model c", "cnn"),
        ("predict --top", "--top"),
        ("predict --fin", ""),
        ("train --no-pre", "--no-pretrained"),
        ("train photos", ""),
        ("--print-completion z", "zsh"),
    ],
)
def test_bash_completes_what_was_typed(typed, completed, capsys):
    words = " ".join(f"'{word}'" for word in ["firstlight", *typed.split(" ")])
    asked = f'COMP_WORDS=({words}); COMP_CWORD={len(typed.split(" "))}; _firstlight; echo "${{COMPREPLY[*]}}"'
    ran = subprocess.run(
        ["bash", "--norc"], input=script(capsys, "bash") + asked, capture_output=True, text=True, check=True
    )
    assert (ran.stdout.strip(), ran.stderr) == (completed, "")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_every_option_is_in_the_script(shell, capsys):
    words = set(script(capsys, shell).replace('"', " ").split())
    assert {option.flag for option in options_of(Train) if not option.positional} <= words


@pytest.mark.parametrize("shell", ["", "fish"])
def test_another_shell_is_one_line(shell, capsys):
    assert main(["--print-completion", *([shell] if shell else [])]) == 2
    assert "choose bash or zsh" in capsys.readouterr().err
