"""A wrong word gets the same clean line on a terminal as through a pipe."""

import contextlib
import os
import pty
import subprocess
import sys

import pytest


def told_on_a_terminal(words, environment):
    """What a person sees whose stdin, stdout and stderr are a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "firstlight", *words], stdin=slave, stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal without writers ends
            while part := os.read(master, 4096):
                shown += part
        os.close(master)
    return process.returncode, shown.decode()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "photos", "--modle", "mlp"], "train has no option --modle; did you mean --model?"),
        (["trian"], "there is no command trian; did you mean train?"),
        (["check"], "check needs SOURCE: firstlight check ~/photos"),
        (["train", "--epochs", "one"], "--epochs one: give a whole number"),
    ],
)
def test_a_wrong_word_is_one_clean_line_on_a_terminal(words, told):
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "FORCE_COLOR": "1"}
    code, shown = told_on_a_terminal(words, environment)
    assert (code, shown) == (2, f"firstlight: {told}\r\n")
    piped = subprocess.run(
        [sys.executable, "-m", "firstlight", *words], capture_output=True, text=True, check=False, env=environment
    )
    assert (piped.returncode, piped.stdout, piped.stderr) == (2, "", f"firstlight: {told}\n")
