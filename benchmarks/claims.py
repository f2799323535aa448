"""Can two processes have one run folder? Lets processes claim the same `out` at the same moment, many times.

    python benchmarks/claims.py --races 500

Of each race exactly one process may begin a run; the others must be told so in one line. Prints one JSON line with
races, failed, and how many of the losers were told what.
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

RUNNERS = 4
APART_SECONDS = 0.001  # between claims, at most
HELD_SECONDS = 0.004  # that the winner takes until it writes its first file, at most
PLAIN = ("not empty", "taken")  # what the others may be told
MOST_SECONDS = 60.0  # of a race


def main() -> None:
    """Run the races, print the row, and exit with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=500)
    races = parser.parse_args().races
    failed, told = race(races)
    print(json.dumps({"races": races, "runners": RUNNERS, "failed": failed, "told": dict(told)}))
    sys.exit(failed > 0)


def claim_races(races: int = 500) -> tuple[int, int]:
    """Return how many races there were, and in how many not exactly one process had the folder."""
    return races, race(races)[0]


def race(races: int) -> tuple[int, Counter[str]]:
    """Return in how many races not exactly one process had the folder, and what the others were told."""
    forking = multiprocessing.get_context("fork")
    start, answers = forking.Barrier(RUNNERS), forking.SimpleQueue()
    failed, told = 0, Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        outs = [Path(place) / str(number) for number in range(races)]
        runners = [forking.Process(target=run, args=(outs, start, answers, seed)) for seed in range(RUNNERS)]
        for runner in runners:
            runner.start()
        of_runners = [answers.get() for _ in runners]
        for runner in runners:
            runner.join()
    for one in zip(*of_runners, strict=True):
        failed += one.count("mine") != 1 or not set(one) <= {"mine", *PLAIN}
        told.update(answer for answer in one if answer != "mine")
    return failed, told


def run(outs: list[Path], start: Barrier, answers: SimpleQueue[list[str]], seed: int) -> None:
    """Claim each folder at the same moment as the other runners, and send what came of it."""
    draw, found = random.Random(seed), []
    for out in outs:
        start.wait(MOST_SECONDS)
        time.sleep(draw.choice((0, 0, APART_SECONDS * draw.random())))
        found.append(claim(out, HELD_SECONDS * draw.random()))
    answers.put(found)


def claim(out: Path, held: float = 0.0) -> str:
    """Claim a folder as a run does, hold it for some seconds, write into it, and return what came of it."""
    from firstlight.errors import UserError
    from firstlight.runs.begun import owning, require_new
    from firstlight.runs.folder import make_run_folder, require_free

    try:
        require_free(out)
        folder = make_run_folder("race", out)
        with owning(folder):
            require_new(folder)
            time.sleep(held)
            (folder / f"{os.getpid()}.txt").write_text("a run")
    except UserError as error:
        return "not empty" if "not empty" in error.reason else "taken" if "process" in error.reason else error.reason
    except Exception as error:
        return f"bug: {error!r}"
    return "mine"


if __name__ == "__main__":
    main()
