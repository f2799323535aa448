"""`deploy/slurm.sbatch`: its shell has no faults, its options exist, and its body trains on two simulated nodes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from firstlight.cli.entry import parse

SRUN = """#!/bin/sh
# Runs the command once for each node, as srun does on the nodes of a job; passes a signal on.
while [ "${1#--}" != "$1" ]; do shift; done
trap 'kill -TERM $running' TERM
for node in $(seq "$SLURM_JOB_NUM_NODES"); do "$@" & running="$running $!"; done
worst=0
for one in $running; do
    wait "$one"; status=$?
    while kill -0 "$one" 2>/dev/null; do wait "$one"; status=$?; done
    [ "$status" -gt "$worst" ] && worst=$status
done
exit "$worst"
"""
SCONTROL = """#!/bin/sh
if [ "$1" = show ]; then printf '127.0.0.1\\nanother\\n'; else echo "$@" >> "$SCONTROL_LOG"; fi
"""


@pytest.fixture
def slurm_job(tmp_path, deploy):
    """Return a function that starts the script as Slurm would, and the file of what was asked of scontrol."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(text, "utf-8")
        (tools / name).chmod(0o755)
    asked = tmp_path / "scontrol.log"

    def start(*words, torchrun: str | None = None, **environment):
        if torchrun is not None:
            (tools / "torchrun").write_text(torchrun, "utf-8")
            (tools / "torchrun").chmod(0o755)
        own = Path(sys.executable).parent
        path = f"{tools}{os.pathsep}{own}{os.pathsep}{os.environ['PATH']}"
        job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}
        return subprocess.Popen(
            ["bash", str(deploy / "slurm.sbatch"), *map(str, words)], cwd=tmp_path, text=True, stderr=subprocess.PIPE,
            env=os.environ | job | {"PATH": path, "ENVIRONMENT": str(tmp_path / "none"), "SCONTROL_LOG": str(asked)}
            | environment,
        )  # fmt: skip

    return start, asked


def test_shellcheck_has_nothing_to_say(deploy):
    done = subprocess.run(["shellcheck", deploy / "slurm.sbatch"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_options_of_torchrun_and_of_train_exist(torchrun_words):
    words = [word.replace("$SLURM_JOB_NUM_NODES", "2").replace("$processes", "8") for word in torchrun_words]
    known = get_args_parser().parse_args(words)
    assert (known.nnodes, known.nproc_per_node, known.module, known.training_script) == ("2", "8", True, "firstlight")
    assert known.rdzv_endpoint == "$first:$port"
    ours = known.training_script_args
    assert ours[-1] == "$@"
    command = parse(ours[:-1])
    assert (str(command.source), command.resume, str(command.out)) == ("$pictures", "auto", "$run")


def test_the_header_asks_for_what_the_body_relies_on(slurm_script):
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", slurm_script, re.MULTILINE))
    assert options["ntasks-per-node"] == "1"  # torchrun starts the others
    assert "requeue" in options
    assert options["open-mode"] == "append"  # a second start keeps the log of the first
    assert options["signal"].startswith("B:TERM@")  # to the script, which passes it on


def test_a_job_that_is_told_to_stop_ends_its_training_and_goes_back_into_the_queue(slurm_job, tmp_path):
    start, asked = slurm_job
    trains = "#!/bin/sh\ntrap 'touch saved; exit 143' TERM\ntouch \"began-$$\"\nwhile :; do sleep 0.02; done\n"
    job = start("photos", "run", torchrun=trains)
    while len(list(tmp_path.glob("began-*"))) < 2:
        assert job.poll() is None
        time.sleep(0.01)
    job.terminate()
    job.communicate()
    assert job.returncode == 143
    assert (tmp_path / "saved").exists()
    assert asked.read_text("utf-8") == f"requeue {os.getpid()}\n"


@pytest.mark.parametrize("code", [0, 2])
def test_a_job_that_ends_by_itself_is_not_started_again_and_has_the_exit_code_of_training(slurm_job, code):
    start, asked = slurm_job
    job = start("photos", "run", torchrun=f"#!/bin/sh\nexit {code}\n")
    job.communicate()
    assert (job.returncode, asked.exists()) == (code, False)


def test_a_job_without_pictures_says_how_it_is_started(slurm_job):
    job = slurm_job[0]()
    assert "sbatch slurm.sbatch PICTURES RUN" in job.communicate()[1]
    assert job.returncode != 0


@pytest.mark.slow
def test_two_simulated_nodes_train_one_model(slurm_job, digit_folder, tmp_path):
    options = ("--model", "mlp", "--hidden", "16", "--epochs", "1", "--quiet")
    with slurm_job[0](digit_folder, tmp_path / "run", *options) as job:
        complaints = job.communicate()[1]
    assert job.returncode == 0, complaints
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert len((tmp_path / "run" / "metrics.csv").read_text("utf-8").splitlines()) == 2
