"""Ten processes at once need the same of the cache; a sample of `benchmarks/races.py`, and a control."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SAMPLE = """
import json, races
kinds = [name for name, (work, *_) in races.KINDS.items() if work is not races.featured]
print(json.dumps(races.races(1, tuple(kinds), tell=lambda _: None)))
from firstlight.verified.blocks import Blocks
Blocks._compare = lambda *_: None
def last_bit(table):
    (file,) = table.cache.rglob("pixels.npy")
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
races.KINDS["control"] = (races.packed, last_bit, False)
print(json.dumps(races.races(1, ("control",), tell=lambda _: None)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_ten_at_once_get_what_one_gets_and_leave_nothing_and_a_cache_that_compares_nothing_is_found_out():
    # note: in a process of its own, since a process with the threads of other tests cannot be forked safely
    done = subprocess.run(
        [sys.executable, "-c", SAMPLE], cwd=BENCHMARKS, env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    held, control = (json.loads(line) for line in done.stdout.splitlines())
    assert held == [6, 0]
    assert control == [1, 1]
