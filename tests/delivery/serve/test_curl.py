"""What the how-to page "Ship it" tells people to type with curl works."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "guide" / "how-to" / "ship_it.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_command_of_the_page_is_answered(server, digit_folder, tmp_path):
    for name, source in zip(("new.jpg", "a.jpg", "b.jpg"), sorted(digit_folder.glob("*/*.png")), strict=False):
        shutil.copy(source, tmp_path / name)
    commands = [line for line in PAGE.read_text("utf-8").splitlines() if re.match("curl .*127.0.0.1:8000", line)]
    assert len(commands) == 5
    answers = []
    for command in commands:
        words = shlex.split(command.replace("http://127.0.0.1:8000", server.address), comments=True)
        told = subprocess.run([*words, "-s"], cwd=tmp_path, capture_output=True, check=True)
        answers.append(json.loads(told.stdout))
    one, two, raw, card, ready = answers
    assert (len(one), len(two), len(raw)) == (1, 2, 1)
    assert one[0]["probability"] == raw[0]["probability"]
    assert "limits" in card
    assert ready == {"ready": True}
