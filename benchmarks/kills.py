"""Is a run that was killed and resumed the same run? Kills runs, resumes them, and compares what they end with.

    python benchmarks/kills.py --kills 1000

Every run of a variant is killed by SIGKILL, at a random moment or just before or after a file is made durable, renamed
or removed; it is resumed, perhaps killed again, and then left to its end. The model file, metrics.csv, evaluation.json
and the events of TensorBoard must be those of a run that nobody killed, but for seconds and paths. Prints one JSON line
for each variant: kills, runs, identical, lost seconds (median and most), and what was different.

Processes are forked from one that has imported everything, so that a run takes a second.
"""

import argparse
import csv
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("PYTHONWARNINGS", "ignore")
SAVE_EVERY = 1e-4  # minutes; so often that most kills hit a state that was written within an epoch
MOST_KILLS = 3  # of one run
BACKBONE = {"model": "timm:test_resnet", "img_size": 32}
VARIANTS: dict[str, dict[str, Any]] = {
    "mlp, AdamW": {"model": "mlp", "epochs": 3},
    "cnn, mixup, average": {"model": "cnn", "epochs": 2, "mixup": 0.2, "ema": 0.9},
    "cnn, SGD, weights": {"model": "cnn", "epochs": 2, "optimizer": "sgd", "balance": "weights"},
    "mlp, Muon, sampling": {"model": "mlp", "epochs": 3, "optimizer": "muon", "balance": "sampling"},
    "mlp, patience": {"model": "mlp", "epochs": 30, "patience": 1},
    "mlp, time limit": {"model": "mlp", "epochs": 30, "time_limit": 0.5},
    "backbone, head": BACKBONE,
    "backbone, head fine-tuned": BACKBONE | {"finetune": "head", "epochs": 2},
    "backbone, ladder": BACKBONE | {"ladder": True, "epochs": 2},
}
ERRORS = Path(tempfile.gettempdir()) / "kills-errors.txt"  # what the last run told


def main() -> None:
    """Kill, resume, compare, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="about as many; half of them at boundaries")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--forget", help="a planted fault: a part of the state that is forgotten, such as optimizers")
    parser.add_argument("--seed", type=int, default=0)
    choices = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["FIRSTLIGHT_CACHE"] = f"{place}/cache"
        weights = import_everything(Path(place))
        failed = False
        for name in choices.variants:
            recipe = VARIANTS[name] | ({"weights": str(weights)} if name.startswith("backbone") else {})
            row = Trial(Path(place), recipe, choices).row(max(1, choices.kills // len(choices.variants)))
            print(json.dumps({"side": name} | row), flush=True)
            failed |= row["identical"] < row["runs"]
    sys.exit(failed)


def import_everything(place: Path) -> Path:
    """Import what runs need, so that forked processes have it; write the weights of a small backbone."""
    import timm
    import torch
    from safetensors.torch import save_file

    import firstlight.api
    import firstlight.delivery.figures
    import firstlight.delivery.report.write
    import firstlight.models.libraries
    import firstlight.training.resume  # noqa: F401

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), place / "weights.safetensors")
    return place / "weights.safetensors"


class Trial:
    """The runs of one variant."""

    def __init__(self, place: Path, recipe: dict[str, Any], choices: argparse.Namespace) -> None:
        self.place, self.recipe, self.forget = place, recipe, choices.forget
        self.random = random.Random(choices.seed)

    def row(self, kills: int) -> dict[str, Any]:
        """Kill about as many runs as asked for, half of them at boundaries, and return what came of it."""
        self.run(self.place / "warm")  # fills the cache
        started = time.perf_counter()
        whole = self.run(self.place / "whole")
        seconds = time.perf_counter() - started
        expected, boundaries = results(self.place / "whole"), int(whole or 0)
        done = runs = identical = 0
        lost, different = [], set()
        while done < kills:
            folder = self.place / "killed"
            for _ in range(self.random.randint(1, min(MOST_KILLS, kills - done))):
                at_boundary = self.random.random() < 0.5
                place = self.random.randrange(boundaries) if at_boundary else None
                begun = time.perf_counter()
                self.run(folder, boundary=place, after=None if at_boundary else self.random.uniform(0, seconds))
                done += 1
                lost.append(time.perf_counter() - begun - saved_seconds(folder, begun))
                if finished(folder):
                    break
            self.run(folder)
            found = results(folder)
            runs += 1
            wrong = {name for name in expected if found.get(name) != expected[name]} | litter(folder)
            identical += not wrong
            different |= wrong
            shutil.rmtree(folder)
        for name in ("warm", "whole"):
            shutil.rmtree(self.place / name)
        return {
            "kills": done, "runs": runs, "identical": identical, "boundaries": boundaries,
            "lost_median_s": median(lost), "lost_most_s": max(lost), "different": sorted(different),
        }  # fmt: skip

    def run(self, folder: Path, *, boundary: int | None = None, after: float | None = None) -> str:
        """Train in a folder, or go on there, in another process; return what it said, such as how many boundaries.

        Args:
            folder: the run folder.
            boundary: the number of the boundary at which it is killed; None for none.
            after: seconds after which it is killed; None for never.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            silence()
            code = 1
            try:
                count = self._train(folder, boundary)
                os.write(writing, str(count).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        if after is not None:
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
        with os.fdopen(reading) as told:
            said = told.read()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code > 0:
            raise SystemExit(f"{self.recipe}: a run failed: {ERRORS.read_text()[-2000:]}")
        return said

    def _train(self, folder: Path, boundary: int | None) -> int:
        import firstlight as fl

        if self.forget:
            plant(self.forget)
        if "time_limit" in self.recipe:
            count_time()
        passed = watch_boundaries(boundary)
        if (folder / "last" / "begun.json").is_file():
            fl.train(resume=folder, save_every=SAVE_EVERY)
        elif not finished(folder):
            shutil.rmtree(folder, ignore_errors=True)  # killed before it had begun
            fl.train("digits", out=folder, save_every=SAVE_EVERY, **self.recipe)
        return len(passed)


def finished(folder: Path) -> bool:
    """Return whether a run has come to its end."""
    return (folder / "report.html").is_file() and not (folder / "last").exists()


def silence() -> None:
    """Send what a run tells people to a file."""
    errors = os.open(ERRORS, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(errors, 1)
    os.dup2(errors, 2)


def watch_boundaries(kill_at: int | None) -> list[str]:
    """Note the moments before and after a file is made durable, renamed or removed, as they come; die at one of them.

    Returns:
        the list of these moments, which grows.
    """
    passed: list[str] = []

    def pass_one(name: str) -> None:
        if len(passed) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        passed.append(name)

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            pass_one(f"before {name}")
            result = function(*args, **more)
            pass_one(f"after {name}")
            return result

        return call

    for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir"):
        setattr(os, name, watched(name, getattr(os, name)))
    return passed


def count_time() -> None:
    """Let training read a clock that ticks when it is read, so that a time limit is reached at the same step."""
    from firstlight.training.loop import train_epochs

    ticks = iter(range(10**9))
    train_epochs.__defaults__ = (lambda: next(ticks) / 1000,)


def plant(part: str) -> None:
    """Forget a part of the state when training goes on: a control, with which the comparison has to fail."""
    from firstlight.training.state import TrainState

    whole = TrainState.load_state_dict

    def forgetful(state: TrainState, found: dict[str, Any]) -> None:
        fresh = state.state_dict()
        whole(state, found | {part: fresh[part]})

    TrainState.load_state_dict = forgetful  # type: ignore[method-assign]


def saved_seconds(folder: Path, begun: float) -> float:
    """Return how long after a moment the state in a run folder was last written; 0 if it was not."""
    written = [file.stat().st_mtime for file in folder.glob("last/*.safetensors")]
    return max(0.0, max(written, default=0.0) - time.time() + time.perf_counter() - begun)


def results(folder: Path) -> dict[str, Any]:
    """Return what has to be the same: files without seconds and paths, and the steps of TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text())))
    record = json.loads((folder / "evaluation.json").read_text())
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag != "seconds"]
    return {
        "model.safetensors": (folder / "model.safetensors").read_bytes(),
        "metrics.csv": [{name: value for name, value in row.items() if name != "seconds"} for row in rows],
        "evaluation.json": without_seconds(
            {key: value for key, value in record.items() if key not in ("run", "model")}
        ),
        "tensorboard": {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags},
    }


def without_seconds(value: Any) -> Any:
    """Return JSON without its numbers of seconds."""
    if isinstance(value, dict):
        return {key: without_seconds(one) for key, one in value.items() if "seconds" not in key}
    return [without_seconds(one) for one in value] if isinstance(value, list) else value


def litter(folder: Path) -> set[str]:
    """Return what should not be in the folder of a finished run."""
    return {file.name for file in folder.rglob("*") if file.name.endswith(".part") or file.name == "last"}


if __name__ == "__main__":
    main()
