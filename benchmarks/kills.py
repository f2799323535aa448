"""Is a run that was killed and resumed the same run? Kills runs, resumes them, and compares what they end with.

    python benchmarks/kills.py --kills 1000

A run is killed by SIGKILL at a random moment, or at one of its changes to files (before a rename, in the middle of a
write); or it is interrupted by SIGTERM or SIGINT. It is resumed, perhaps killed again, and then left to its end. All of
its files must be those of a run that nobody killed, but for seconds and paths. Prints one JSON line for each variant.

Processes are forked from one that has imported everything, and the figures of the report, which are drawn when all else
is written, are left out but for one variant; so a run takes about a second.
"""

import argparse
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from kills_child import Progress, count_time, forget, leave_figures_out, watch_progress
from kills_compare import differences, litter, results

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("PYTHONWARNINGS", "ignore")
SAVE_EVERY = 0.1  # seconds
MOST_DEATHS = 4  # of one run
IMAGES, CLASSES = 240, 4  # few, since a head is solved for every class
KINDS = ("moment", "write", "SIGTERM", "SIGINT")
WEIGHTS = (0.4, 0.4, 0.1, 0.1)
BACKBONE = {"model": "timm:test_resnet", "img_size": 32}
MLP = {"model": "mlp", "hidden": (32,), "epochs": 8, "batch_size": 16}
CNN = {"model": "cnn", "epochs": 2, "batch_size": 32}
TUNED = BACKBONE | {"epochs": 2, "batch_size": 16}
VARIANTS: dict[str, dict[str, Any]] = {
    "mlp, AdamW": MLP,
    "mlp, with its figures": MLP | {"epochs": 3},
    "mlp, SGD, weights, average": MLP | {"optimizer": "sgd", "balance": "weights", "ema": 0.9},
    "mlp, Muon, sampling": MLP | {"optimizer": "muon", "balance": "sampling"},
    "mlp, patience": MLP | {"epochs": 100, "patience": 2},
    "mlp, time limit": MLP | {"epochs": 100, "time_limit": 0.1},
    "cnn, mixup, average": CNN | {"mixup": 0.2, "ema": 0.9},
    "cnn, dropout, views": CNN | {"dropout": 0.3, "tta": True},
    "backbone, head": BACKBONE,
    "backbone, head fine-tuned": TUNED | {"finetune": "head"},
    "backbone, ladder": TUNED | {"ladder": True},
}
SAMPLE = ("mlp, AdamW", "mlp, SGD, weights, average")  # quick ones, whose states have every part
CONTROLS = {"optimizers": "mlp, AdamW", "average": "mlp, SGD, weights, average", "step,losses": "mlp, AdamW"}
ERRORS = Path(tempfile.gettempdir()) / f"kills-errors-{os.getpid()}.txt"  # what the last run told


class Death(NamedTuple):
    """How a run is to end: its kind, and when: seconds, or the number of a change to files."""

    kind: str
    when: float


class Tally:
    """What came of the deaths of one variant."""

    def __init__(self) -> None:
        self.kills: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.runs = self.identical = 0
        self.lost: list[float] = []
        self.steps: list[float] = []
        self.different: set[str] = set()
        self.failed: list[str] = []


def main() -> None:
    """Kill, resume, compare, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="about as many")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--sample", action="store_true", help="two variants of half the length")
    parser.add_argument("--smoke", action="store_true", help="two kills of one variant, without controls")
    parser.add_argument("--seed", type=int, default=0)
    choices = parser.parse_args()
    names = SAMPLE if choices.sample else choices.variants
    if choices.smoke:
        choices.kills, names = 2, SAMPLE[:1]
    with tempfile.TemporaryDirectory() as place:
        load_boundaries(Path(place))
        os.environ["FIRSTLIGHT_CACHE"] = f"{place}/cache"
        weights = import_everything(Path(place))
        shorter = {"epochs": MLP["epochs"] // 2} if choices.sample else {}

        def trial(name: str) -> Trial:
            recipe = VARIANTS[name] | ({"weights": str(weights)} if name.startswith("backbone") else {}) | shorter
            return Trial(Path(place), name, recipe, f"{choices.seed}, {name}")

        trials, failed = {name: trial(name) for name in names}, False
        for number, name in enumerate(names):
            first, last = (choices.kills * end // len(names) for end in (number, number + 1))
            row = trials[name].row(max(1, last - first))
            print(json.dumps({"side": name} | row), flush=True)
            failed |= row["identical"] < row["resumed_runs"] or bool(row["failed"])
        for part, name in [] if choices.smoke else CONTROLS.items():
            row = (trials.get(name) or trial(name)).control(part)
            print(json.dumps({"side": f"control: {name}, without {part}"} | row), flush=True)
            failed |= row["identical"] == row["resumed_runs"]
    ERRORS.unlink(missing_ok=True)
    sys.exit(failed)


def load_boundaries(place: Path) -> None:
    """Go on in a process that can die at its changes to files, if this one cannot."""
    if "KILLS_PRELOADED" in os.environ:
        return
    library = place / "boundaries.so"
    source = Path(__file__).with_name("boundaries.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    environment = {"KILLS_PRELOADED": "1", "LD_PRELOAD": str(library)}
    done = subprocess.run([sys.executable, *sys.argv], env=os.environ | environment, check=False)
    shutil.rmtree(place)
    os._exit(done.returncode)


def import_everything(place: Path) -> Path:
    """Import what runs need, so that forked processes have it; write the weights of a small backbone."""
    import timm
    import torch
    from safetensors.torch import save_file
    from tensorboard.backend.event_processing import event_accumulator  # noqa: F401
    from torch.utils.tensorboard import writer  # noqa: F401

    import firstlight.api
    import firstlight.delivery.figures
    import firstlight.delivery.report.write
    import firstlight.models.libraries  # noqa: F401

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), place / "weights.safetensors")
    return place / "weights.safetensors"


class Trial:
    """The runs of one variant."""

    def __init__(self, place: Path, name: str, recipe: dict[str, Any], seed: str) -> None:
        self.place, self.name, self.recipe, self.without = place, name, recipe, ""
        self.random, self.progress, self.tally = random.Random(seed), Progress(), Tally()

    def row(self, kills: int) -> dict[str, Any]:
        """Kill runs, resume them, and return what came of it."""
        boundaries, seconds, expected = self.undisturbed()
        tally, folder = self.tally, self.place / "killed"
        while sum(tally.kills.values()) < kills:
            for _ in range(self.random.randint(1, MOST_DEATHS)):
                kind = self.random.choices(KINDS, WEIGHTS)[0]
                when = self.random.randrange(boundaries) if kind == "write" else self.random.uniform(0, seconds)
                self.run(folder, Death(kind, when))
                if sum(tally.kills.values()) == kills:
                    break
            self.run(folder)
            self.compare(folder, expected)
        return {
            "kills": sum(tally.kills.values()), **{f"kills_{kind}": count for kind, count in tally.kills.items()},
            "resumed_runs": tally.runs, "identical": tally.identical, "boundaries": boundaries,
            "lost_median_s": round(median(tally.lost), 3), "lost_most_s": round(max(tally.lost), 3),
            "longest_step_s": round(max(tally.steps, default=0), 3), "save_every_s": SAVE_EVERY,
            "seconds_of_a_run": round(seconds, 3), "different": sorted(tally.different), "failed": tally.failed,
        }  # fmt: skip

    def control(self, without: str) -> dict[str, int]:
        """Kill runs in the middle, resume them with a part of the state forgotten, and return how many are the same.

        One that differs is enough. Not all do: a run that dies between two epochs has no open one to forget.
        """
        boundaries, _, expected = self.undisturbed()
        self.without, self.tally = without, Tally()
        for percent in (50, 40, 60, 35, 45, 55, 65, 30):
            self.run(self.place / "killed", Death("write", boundaries * percent // 100))
            self.run(self.place / "killed")
            self.compare(self.place / "killed", expected)
            if self.tally.different:
                break
        return {"resumed_runs": self.tally.runs, "identical": self.tally.identical}

    @cache  # noqa: B019 - as many as there are variants
    def undisturbed(self) -> tuple[int, float, dict[str, Any]]:
        """Train undisturbed; return how many changes to files and seconds that took, and what it ended with."""
        from firstlight.data.sources import load_data

        digits = load_data("digits")
        rows = [row for row, label in enumerate(digits.labels.tolist()) if label < CLASSES][:IMAGES]
        self.samples = load_data((digits.images.images[rows], digits.labels[rows]))
        for name in ("warm", "whole"):  # the first one fills the cache
            started = time.perf_counter()
            boundaries = int(self.run(self.place / name))
            seconds, expected = time.perf_counter() - started, results(self.place / name)
            shutil.rmtree(self.place / name)
        return boundaries, seconds, expected

    def compare(self, folder: Path, expected: dict[str, Any]) -> None:
        """Compare what a run ended with, and remove it."""
        wrong = litter(folder)
        try:
            found = results(folder)
            wrong |= set(differences(expected, found))
        except OSError as error:
            wrong.add(str(error.filename and Path(error.filename).name))
        self.tally.runs += 1
        self.tally.identical += not wrong
        self.tally.different |= wrong
        shutil.rmtree(folder, ignore_errors=True)

    def run(self, folder: Path, death: Death | None = None) -> str:
        """Train in a folder, or go on there, in another process; return how many changes to files it made."""
        reading, writing = os.pipe()
        self.progress.clear()
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(reading)
                code = self._child(folder, death, writing)
            finally:
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
        os.close(writing)
        sent = False
        if death and death.kind != "write":
            time.sleep(death.when)
            os.kill(child, getattr(signal, death.kind) if death.kind.startswith("SIG") else signal.SIGKILL)
            sent = True
        with os.fdopen(reading) as told:
            said = told.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if death and (code == -signal.SIGKILL or (sent and code == 130)):
            self.tally.kills[death.kind] += 1
            self._count_lost(folder)
        elif code not in (0, 130):
            self.tally.failed.append(f"{death}, exit {code}: {ERRORS.read_text()[-400:]}")
            if death is None and not folder.name == "killed":
                raise SystemExit(f"{self.name}: {ERRORS.read_text()[-2000:]}")
        return said

    def _count_lost(self, folder: Path) -> None:
        """Note how many seconds of training will be done again."""
        from firstlight.training.checkpoints import furthest_step

        noted = self.progress.all()
        if not noted or not (folder / "last").is_dir():
            self.tally.lost.append(0.0)
            return
        times = {(epoch, step): when for epoch, step, when in noted}
        first, last = noted[0][2], noted[-1][2]
        self.tally.lost.append(last - times.get(furthest_step(folder), first))
        self.tally.steps += [after[2] - before[2] for before, after in zip(noted, noted[1:], strict=False)]

    def _child(self, folder: Path, death: Death | None, writing: int) -> int:
        """Train in this process, as the command line does, and return its exit code."""
        library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        library.kill_at(ctypes.c_long(int(death.when) if death and death.kind == "write" else -1))
        errors = os.open(ERRORS, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        for number in (signal.SIGTERM, signal.SIGINT):  # a process in the background may ignore SIGINT
            signal.signal(number, signal.default_int_handler)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
            self._train(folder)
        except KeyboardInterrupt:
            return 130
        os.write(writing, str(library.boundaries()).encode())
        return 0

    def _train(self, folder: Path) -> None:
        import firstlight as fl
        from firstlight.errors import RunError
        from firstlight.runs.begun import is_begun

        watch_progress(self.progress)
        if self.without:
            forget(self.without)
        if "time_limit" in self.recipe:
            count_time()
        if "figures" not in self.name:
            leave_figures_out()
        often = SAVE_EVERY / 60 / (10 if self.without else 1)
        if not is_begun(folder) and (folder / "report.html").is_file():
            try:
                fl.train(self.samples, resume=folder)
            except RunError:  # it is finished
                return
        run = fl.train(self.samples, out=folder, resume="auto", save_every=often, **self.recipe)
        if run.interrupted or run.test is None:
            raise KeyboardInterrupt


if __name__ == "__main__":
    main()
