"""Runs are killed anywhere, resumed, and end with the same bits; controls show that this check can fail."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[1] / "benchmarks" / "kills.py"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler makes the library that kills a write")
def test_runs_that_are_killed_and_resumed_end_with_the_same_bits():
    done = subprocess.run(
        [sys.executable, KILLS, "--sample", "--kills", "40"], capture_output=True, text=True, check=False
    )
    rows = {row["side"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, rows or done.stderr[-3000:]
    controls = [row for side, row in rows.items() if side.startswith("control")]
    sides = [row for side, row in rows.items() if not side.startswith("control")]
    assert sum(row["kills"] for row in sides) == 40
    assert all(row["identical"] == row["resumed_runs"] for row in sides)
    assert len(controls) == 3 and all(row["identical"] < row["resumed_runs"] for row in controls)
