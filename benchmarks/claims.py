"""Can two processes have one run folder? Lets processes claim the same `out` at the same moment, many times.

    python benchmarks/claims.py --races 500

Of each race exactly one process may begin a run; the others must be told so in one line. Prints one JSON line with
races, failed, and how many of the losers were told what.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

RUNNERS = 4
LOCKSTEP_SECONDS = 0.002  # from the start of a race to its claims


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
    import firstlight.training.begin  # noqa: F401 - so that the forked processes have it

    failed, told = 0, Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        for number in range(races):
            answers = claims(Path(place) / str(number))
            failed += answers.count("mine") != 1 or any(answer.startswith("bug") for answer in answers)
            told.update(answer for answer in answers if answer != "mine")
    return failed, told


def claims(out: Path) -> list[str]:
    """Return what each process was told that claimed a folder; `mine` if it had it."""
    reading, writing = os.pipe()
    start = time.monotonic() + LOCKSTEP_SECONDS * RUNNERS
    children = []
    for _ in range(RUNNERS):
        child = os.fork()
        if child == 0:
            try:
                while time.monotonic() < start:
                    pass
                os.write(writing, (claim(out) + "\n").encode())
            finally:
                os._exit(0)
        children.append(child)
    os.close(writing)
    for child in children:
        os.waitpid(child, 0)
    with os.fdopen(reading) as answers:
        return answers.read().splitlines()


def claim(out: Path) -> str:
    """Claim a folder as a run does, write into it, and return what came of it."""
    from firstlight.errors import UserError
    from firstlight.runs.begun import owning, require_new
    from firstlight.runs.folder import make_run_folder, require_free

    try:
        require_free(out)
        folder = make_run_folder("race", out)
        with owning(folder):
            require_new(folder)
            (folder / f"{os.getpid()}.txt").write_text("a run")
    except UserError as error:
        return "not empty" if "not empty" in error.reason else "taken" if "process" in error.reason else error.reason
    except Exception as error:
        return f"bug: {error!r}"
    return "mine"


if __name__ == "__main__":
    main()
