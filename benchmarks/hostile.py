"""How many hostile and broken inputs, and faults of the machine, end otherwise than promised.

    python benchmarks/hostile.py                                # everything, which takes hours
    python benchmarks/hostile.py --parts models images --tried 100

Prints tried and failed for every row of the tables of threats and faults, with the first failures of each. An input
fails if it ends in a traceback, an exception that is not one of ours, an exit code other than 0, 2, 130 and 143, more
than one line of error, a hang, more memory than twice the file, a model that answers otherwise, or a change that nobody
is told about. Exits with 1 if any failed.
"""

import argparse
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("PYTHONWARNINGS", "ignore")
os.environ["FIRSTLIGHT_PROGRESS"] = "off"
PARTS = ("models", "images", "lists", "archives", "tampering", "pages", "canaries", "network", "machine", "faults")


def main() -> None:
    """Try the parts, and print a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--tried", type=int, help="inputs of each kind, at most")
    choices = parser.parse_args()
    from hostile_parts.place import made_place

    tried = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        place = made_place(Path(folder), choices.tried)
        for part in choices.parts:
            started = time.perf_counter()
            for row in import_module(f"hostile_parts.{part}").rows(place):
                print(row, flush=True)
                tried, failed = tried + row.tried, failed + len(row.failures)
            print(f"{part}: {time.perf_counter() - started:.0f} s", flush=True)
    print(f"{'all':<58} {tried:7,} tried {failed:6,} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
