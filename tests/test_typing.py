"""Types that users can rely on: the package says that it has them, and a script with every public name is in order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import firstlight

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "typing" / "every_public_name.py"


def test_the_script_uses_every_public_name():
    used = set(re.findall(r"\bfl\.(\w+)", SCRIPT.read_text("utf-8")))
    assert used == set(firstlight.__all__)


def test_the_package_says_that_it_is_typed():
    assert (Path(firstlight.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
def test_a_strict_type_checker_finds_nothing_in_it():
    command = [sys.executable, "-m", "mypy", "--strict", str(SCRIPT)]  # with what `scripts/check` has cached
    environment = os.environ | {"MYPYPATH": str(Path(firstlight.__file__).parents[1])}
    told = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
