"""Training under torchrun, in real processes: one run folder, one voice, and the same bits after accidents."""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

PLANTED = Path(__file__).with_name("planted.py")
CHOICES = ("--model", "mlp", "--hidden", "32", "--epochs", "4", "--batch-size", "256")  # 24 steps, epochs included
OFTEN = ("--save-every", "0.0001")
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="torchrun as it is on Linux")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of two processes, and what they said."""
    place = tmp_path_factory.mktemp("torchrun")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "firstlight")
    command = [sys.executable, *launcher, "train", *CHOICES, "--json"]
    done = subprocess.run(command, cwd=place, env=ENV, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return place / "runs" / "digits-1", done


@pytest.fixture(scope="module")
def accidents(tmp_path_factory):
    """Folders in each of which a run had an accident, with what its processes said."""
    draw = random.Random(19)
    first, second = draw.sample([0, 1], 2)
    kills = [(0, first, draw.randrange(4, 13), "kill"), (1, second, draw.randrange(2, 9), "kill")]
    planned = {"killed": [*kills], "term": [(0, 1, 9, "term")], "fail": [(0, 1, 3, "fail")]}
    places = {name: tmp_path_factory.mktemp(name) for name in planned}
    scenarios = [
        {
            "place": str(places[name]),
            "words": ["train", *CHOICES, *(OFTEN if name == "killed" else ())],
            "restarts": 2 if name == "killed" else 0,
            "accidents": planned[name],
        }
        for name in planned
    ]
    command = [sys.executable, PLANTED, json.dumps(scenarios)]
    subprocess.run(command, env=ENV, capture_output=True, timeout=300, check=True)
    return places


def our_lines(place):
    return [line for line in (place / "stderr").read_text().splitlines() if line.startswith("firstlight: ")]


def codes_of(place):
    return set(json.loads((place / "codes").read_text()))


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


def test_each_process_is_killed_once_at_a_random_step_and_the_run_ends_with_the_same_bits(undisturbed, accidents):
    place = accidents["killed"]
    said = (place / "stderr").read_text()
    assert codes_of(place) == {0}, said
    assert said.count("continuing") == 2
    assert sha_of(place / "runs" / "digits-1") == sha_of(undisturbed[0])
    assert len(list((place / "runs").iterdir())) == 1


def test_a_signal_to_one_process_stops_all_after_the_same_step_with_the_state_saved(accidents):
    place = accidents["term"]
    assert codes_of(place) == {143}
    assert (place / "runs" / "digits-1" / "last" / "training.safetensors").is_file()
    (line,) = our_lines(place)
    assert "interrupted" in line
    assert "--resume" in line


def test_an_error_of_one_process_is_one_line_that_names_it(accidents):
    place = accidents["fail"]
    assert codes_of(place) == {2}
    (line,) = our_lines(place)
    assert "process 1 of 2" in line
    assert "a file that only this process cannot read" in line
