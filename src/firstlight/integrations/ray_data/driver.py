"""The program that talks to Ray: it hands out blocks with Ray Data, and writes down how each went.

It is a process of its own, see `session`: what Ray and its libraries print, which signals they take over, and what they
leave in the environment, does not concern the program that asks for answers.

Ray Data restarts an actor that was killed, and gives its block to it or to another one.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from firstlight.escaping import one_line
from firstlight.integrations.ray_data import own_ray
from firstlight.integrations.ray_data.listing import Block
from firstlight.integrations.ray_data.work import Job, Worker

MOST_TASKS = 1000  # more blocks than these share tasks
RESOURCES_SECONDS = 60.0  # to wait for machines of a cluster
STUCK_SECONDS = 10.0  # after which this ends although Ray does not


class Actor:
    """A `Worker` as Ray Data calls it: with one block in a batch."""

    def __init__(self, job: str, processors: int) -> None:
        import torch

        from firstlight.runtime.processors import set_up_process, use_processors

        set_up_process()
        torch.set_num_threads(1)  # so that no answer depends on how many share the processors
        use_processors(processors)
        known = Job.from_json(job)
        with suppress(OSError):  # without it, no relative path is found, which is told with the name of this machine
            os.chdir(known.current)
        self._worker = Worker(known)
        self._turn = threading.Lock()  # Ray Data calls it from threads

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Return how each block of a batch went."""
        with self._turn:
            outcomes = [self._worker.finish(Block.from_json(str(line))) for line in batch["block"]]
        return {"outcome": [json.dumps(asdict(outcome)) for outcome in outcomes]}


def main() -> None:
    """Do what the first line of standard input asks for; end when it is closed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.readline())
    is_alone = threading.Event()
    threading.Thread(target=_end_with_input, args=(is_alone,), name="input", daemon=True).start()
    try:
        _run(asked, answers)
    finally:
        if asked["temporary"] and is_alone.is_set():
            shutil.rmtree(asked["temporary"], ignore_errors=True)


def _run(asked: dict[str, Any], answers: TextIO) -> None:
    import ray

    def answer(kind: str, value: Any) -> None:
        answers.write(json.dumps({kind: value}) + "\n")
        answers.flush()

    try:
        try:
            _start(asked)
        except Exception as error:
            traceback.print_exc()
            answer("not_started", one_line(" ".join(str(error).split())))
            return
        kind = "GPU" if asked["gpus"] else "CPU"
        resources = _resources_with(kind, RESOURCES_SECONDS if asked["address"] else 0)
        have = int(resources.get(kind, 0))
        if not have:
            answer("failed", f"Ray has no {kind} to give; look at `ray status`")
            return
        blocks = Path(asked["todo"]).read_text("ascii").splitlines()
        workers = min(len(blocks), asked["workers"] or have)
        if asked["workers"] and workers > have:
            answer("failed", f"Ray has {have} {kind}s, which is less than {workers} `workers`; use fewer")
            return
        processors = max(1, int(resources.get("CPU", 1)) // workers) if asked["gpus"] else 1
        answer("started", workers)
        for outcome in _outcomes(asked, blocks, workers, processors):
            answer("outcome", json.loads(outcome))
        answer("done", True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ray.shutdown()


def _resources_with(kind: str, seconds: float) -> dict[str, float]:
    """Return what Ray has; wait for some time for machines that are just being started."""
    import ray

    until = time.monotonic() + seconds
    while True:
        found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # as Ray is, in part
        if found.get(kind, 0) >= 1 or time.monotonic() > until:
            return found
        time.sleep(1)


def _start(asked: dict[str, Any]) -> None:
    import ray

    if asked["address"]:
        ray.init(address=asked["address"], **own_ray.QUIET)
    else:
        own_ray.start(processors=asked["processors"], gpus=asked["gpus"], temporary=asked["temporary"])


def _outcomes(asked: dict[str, Any], blocks: list[str], workers: int, processors: int) -> Iterator[str]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    outcomes = ray.data.from_items(
        [{"block": block} for block in blocks], override_num_blocks=min(len(blocks), MOST_TASKS)
    ).map_batches(
        Actor,
        fn_constructor_args=(asked["job"], processors),
        batch_size=1,
        batch_format="numpy",
        num_cpus=1,
        num_gpus=1 if asked["gpus"] else 0,
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
    )
    for batch in outcomes.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        yield from map(str, batch["outcome"])


def _end_with_input(is_alone: threading.Event) -> None:
    """End this program once whoever started it has closed its input, or is gone."""
    sys.stdin.read()
    is_alone.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STUCK_SECONDS)
    with suppress(OSError):
        os.killpg(os.getpgid(0), signal.SIGKILL)
