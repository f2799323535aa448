"""Training under torchrun, in real processes: one run folder, one voice, and the same bits after an accident."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLANTED = Path(__file__).with_name("planted.py")
CHOICES = ("--model", "mlp", "--hidden", "32", "--epochs", "4", "--batch-size", "256")
STEPS = 24  # steps, epochs included, that such a run has
OFTEN = ("--save-every", "0.0001")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="torchrun as it is on Linux")]


def torchrun(place, *words, accident=("kill", "-1", "0"), restarts=0):
    """Return what two processes under torchrun did."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    options = (f"--max-restarts={restarts}", "--redirects=0")
    command = [sys.executable, *launcher, *options, PLANTED, *accident, "train", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False)


def our_lines(text):
    return [line for line in text.splitlines() if line.startswith("firstlight: ")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of two processes, and what they said."""
    place = tmp_path_factory.mktemp("torchrun")
    done = torchrun(place, *CHOICES, "--json")
    assert done.returncode == 0, done.stderr
    return place / "runs" / "digits-1", done


def sha_of(run):
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def test_two_processes_leave_one_run_and_one_answer(undisturbed):
    run, done = undisturbed
    assert [folder.name for folder in run.parent.iterdir()] == ["digits-1"]
    assert not (run / "last").exists()
    record = json.loads((run / "evaluation.json").read_text())
    assert json.loads(done.stdout)["run"] == "runs/digits-1"
    assert record["test_evaluations"] == 1
    assert record["valid"]["accuracy"]["n"] == record["n"]["valid"]
    assert "2 processes on 1 machine, 128 pictures each per step" in done.stderr
    assert done.stderr.count("training mlp") == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_started_anew_and_the_run_ends_with_the_same_bits(rank, undisturbed, tmp_path):
    step = random.Random(f"killed {rank}").randrange(4, STEPS - 2)
    done = torchrun(tmp_path, *CHOICES, *OFTEN, accident=("kill", str(rank), str(step)), restarts=1)
    assert done.returncode == 0, done.stderr
    assert "continuing" in done.stderr
    assert sha_of(tmp_path / "runs" / "digits-1") == sha_of(undisturbed[0])
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_signal_to_one_process_stops_all_after_the_same_step_with_the_state_saved(tmp_path):
    done = torchrun(tmp_path, *CHOICES, accident=("term", "1", "9"))
    assert done.returncode == 1, "torchrun's own"
    assert (tmp_path / "runs" / "digits-1" / "last" / "training.safetensors").is_file()
    (line,) = our_lines(done.stderr)
    assert "interrupted" in line
    assert "--resume" in line
    assert set(re.findall(r"exitcode  : (\S+)", done.stderr)) == {"143"}


def test_an_error_of_one_process_is_one_line_that_names_it(tmp_path):
    done = torchrun(tmp_path, *CHOICES, accident=("fail", "1", "3"))
    assert done.returncode == 1
    (line,) = our_lines(done.stderr)
    assert "process 1 of 2" in line
    assert "a file that only this process cannot read" in line
