"""`firstlight` under torchrun's agent with planted accidents; processes are forked, so that they start fast.

Usage: planted.py SCENARIOS, a JSON list of objects: `place` (a folder to work in), `words` (the command), `restarts`
(how many torchrun allows), and `accidents`, each `[start, rank, step, what]`, where what is `kill`, `term` or `fail`.
What a scenario says is in `stdout` and `stderr` in its folder, and the exit codes of its processes are in `codes`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import matplotlib.figure  # noqa: F401 - what a run imports at last, once for all
import sklearn.datasets  # noqa: F401
import torch.utils.tensorboard.writer  # noqa: F401
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import firstlight.api  # noqa: F401
from firstlight.cli import main
from firstlight.errors import DataError
from firstlight.runtime.distributed import launched
from firstlight.runtime.signals import leave, receive_signals, tell_nothing
from firstlight.training import recorder


def plant(accidents):
    """Let something happen in this process after so many steps of training, epochs included."""
    here = [int(os.environ["TORCHELASTIC_RESTART_COUNT"]), launched().rank]
    happens_at = {step: what for *place, step, what in accidents if place == here}
    beaten, steps = recorder.beaten, 0

    def happens(*given, **more):
        nonlocal steps
        steps += 1
        match happens_at.get(steps):
            case "fail":
                raise DataError("a file that only this process cannot read")
            case "kill" | "term" as what:
                os.kill(os.getpid(), {"kill": signal.SIGKILL, "term": signal.SIGTERM}[what])
        return beaten(*given, **more)

    recorder.beaten = happens


def work(accidents, words):
    """Do what one process does."""
    plant(accidents)
    receive_signals()
    if not launched().is_leader:
        tell_nothing()
    if code := main(words):
        leave(code)
    sys.stdout.flush()


def play(scenario):
    """Let torchrun's agent start two processes, and again after an accident; write what they said."""
    place = Path(scenario["place"])
    os.chdir(place)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(place / name, os.O_CREAT | os.O_WRONLY), number)
    config = LaunchConfig(
        1, 1, 2, run_id=place.name, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=scenario["restarts"],
        start_method="fork", logs_specs=DefaultLogsSpecs(),
    )  # fmt: skip
    codes = [0, 0]
    try:
        elastic_launch(config, work)(scenario["accidents"], scenario["words"])
    except ChildFailedError as error:
        codes = sorted(failure.exitcode for failure in error.failures.values())
    (place / "codes").write_text(json.dumps(codes))


if __name__ == "__main__":
    for scenario in json.loads(sys.argv[1]):
        if not (child := os.fork()):
            play(scenario)
            os._exit(0)
        os.waitpid(child, 0)
