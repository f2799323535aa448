"""Measure how time and memory grow with the number of pictures: 10,000, 100,000, and a million small ones.

Each stage runs in a process of its own, and prints one line of JSON: n, stage, seconds, processor seconds, and the peak
of its memory. The last lines give the growth of each stage: 1 is linear in n, between the two largest sets.

    python benchmarks/million.py                                  # hours, and 12 GB of disk for the million
    python benchmarks/million.py --images 300 600                 # whether it works
"""

import argparse
import io
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IMAGES = (10_000, 100_000, 1_000_000)
SIDE, CLASSES = 16, 10
ROWS_AT_ONCE = 5_000
NEAR_COPIES, PLAIN = 0.01, 0.05  # fractions: an earlier picture, a little brighter; and hardly any detail
COARSE = 4  # random values along a side, between which a picture is smooth


def main() -> int:
    """Run all stages for each number of pictures, or one stage in this process."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, nargs="+", default=IMAGES, help="how many pictures, ascending")
    arguments.add_argument("--folder", type=Path, help="where the sets are made; default a temporary folder")
    arguments.add_argument("--stage", choices=STAGES, help="run only this stage, in this process")
    arguments.add_argument("--keep", action="store_true", help="do not remove the sets")
    chosen = arguments.parse_args()
    if chosen.stage:
        print(json.dumps(measured(chosen.stage, chosen.images[0], chosen.folder)), flush=True)
        return 0
    rows: list[dict[str, float | str]] = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as top:
        for count in chosen.images:
            folder = Path(top) / str(count)
            folder.mkdir()
            for stage in STAGES:
                rows.append(in_a_process(stage, count, folder))
                print(json.dumps(rows[-1]), flush=True)
            if not chosen.keep:
                shutil.rmtree(folder)
    for row in growth(rows):
        print(json.dumps(row), flush=True)
    return 0


def in_a_process(stage: str, count: int, folder: Path) -> dict[str, float | str]:
    """Return what one stage takes, run in a process of its own with a cache in the folder."""
    command = [sys.executable, __file__, "--stage", stage, "--images", str(count), "--folder", str(folder)]
    environment = os.environ | {"FIRSTLIGHT_CACHE": str(folder / "cache"), "FIRSTLIGHT_PROGRESS": "off"}
    told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    row: dict[str, float | str] = json.loads(told.splitlines()[-1])
    return row


def measured(stage: str, count: int, folder: Path) -> dict[str, float | str]:
    """Run one stage, and return what it took, without what is imported before."""
    work = STAGES[stage]
    __import__("firstlight.api")
    started, used = time.perf_counter(), _processor_seconds()
    work(count, folder)
    return {
        "n": count,
        "stage": stage,
        "seconds": round(time.perf_counter() - started, 3),
        "processor_seconds": round(_processor_seconds() - used, 3),
        "peak_mb": round(max(resource.getrusage(who).ru_maxrss for who in _PROCESSES) / 1024),
    }


def growth(rows: list[dict[str, float | str]]) -> Iterator[dict[str, float | str]]:
    """Yield by which power of n the processor time and the memory of each stage grow, from one size to the next."""
    for stage in STAGES:
        found = [row for row in rows if row["stage"] == stage]
        for small, large in zip(found, found[1:], strict=False):
            times = math.log(float(large["n"]) / float(small["n"]))
            powers = {
                name: round(math.log(max(float(large[of]), 0.01) / max(float(small[of]), 0.01)) / times, 2)
                for name, of in (("time_power", "processor_seconds"), ("memory_power", "peak_mb"))
            }
            yield {"stage": stage, "from": small["n"], "to": large["n"], **powers}


def make(count: int, folder: Path) -> None:
    """Write a Parquet list that holds PNG files."""
    import pyarrow as pa
    from PIL import Image
    from pyarrow import parquet

    def encoded(pixels: NDArray[np.uint8]) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()

    schema = pa.schema([("image", pa.binary()), ("label", pa.int32())])
    with parquet.ParquetWriter(folder / "set.parquet", schema) as writer:
        for images, labels in pictures(count):
            writer.write_table(pa.table({"image": [encoded(image) for image in images], "label": labels}, schema))


def pictures(count: int, seed: int = 0) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    """Yield pictures uint8 `[n, SIDE, SIDE, 3]` and labels `[n]`: a pattern for each class, and something of its own.

    Some are copies of earlier ones, a little brighter, and some have hardly any detail.
    """
    rng = np.random.default_rng(seed)
    patterns = _smooth(rng, CLASSES)
    before = np.empty((0, SIDE, SIDE, 3), np.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        n = min(ROWS_AT_ONCE, count - start)
        labels = rng.integers(0, CLASSES, n).astype(np.int32)
        images = 128 + 60 * patterns[labels] + 40 * _smooth(rng, n)
        plain = rng.random(n) < PLAIN
        images[plain] = images[plain].mean(axis=(1, 2), keepdims=True) + rng.normal(0, 2, images[plain].shape)
        copies = np.flatnonzero(rng.random(n) < NEAR_COPIES) if len(before) else np.zeros(0, np.int64)
        images[copies] = before[rng.integers(0, len(before), len(copies))] + 3
        before = images
        yield np.clip(images, 0, 255).astype(np.uint8), labels


def _smooth(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Return smooth random pictures float32 `[count, SIDE, SIDE, 3]`, about 0, with a deviation of about 1."""
    values = rng.standard_normal((count, COARSE, COARSE, 3), np.float32)
    for axis in (1, 2):
        at = np.linspace(0, COARSE - 1, SIDE)
        low = np.minimum(at.astype(int), COARSE - 2)
        part = (at - low).astype(np.float32).reshape([-1 if each == axis else 1 for each in range(4)])
        values = values.take(low, axis) * (1 - part) + values.take(low + 1, axis) * part
    return values


def pack(_count: int, folder: Path) -> None:
    """Write the set as shards."""
    import firstlight as fl

    fl.pack(folder / "set.parquet", shards=folder / "shards")
    (folder / "set.parquet").unlink()


def check(count: int, folder: Path) -> None:
    """Decode and pack all pictures, and look for copies."""
    import firstlight as fl

    found = fl.check(folder / "shards").to_json()
    assert found["n"] == count and not found["quarantined"], found["quarantined"][:3]


def split(count: int, folder: Path) -> None:
    """Open the packed set, group it, and split it."""
    import firstlight as fl

    data = fl.open_dataset(folder / "shards")
    assert sum(len(data.split.rows(word)) for word in ("train", "valid", "test")) == count


def train(_count: int, folder: Path) -> None:
    """Train a small network for one epoch, with all that a run does around it."""
    import firstlight as fl

    fl.train(folder / "shards", model="mlp", hidden=(64,), epochs=1, batch_size=500, out=folder / "run")


def predict(count: int, folder: Path) -> None:
    """Classify all pictures, as files in the shards, into a table."""
    from firstlight.cli.entry import main as firstlight

    table = folder / "answers.csv"
    assert firstlight(["predict", str(folder / "run"), str(folder / "shards"), "--csv", str(table), "--quiet"]) == 0
    with table.open("rb") as file:
        assert sum(1 for _ in file) == count + 1


STAGES: dict[str, Callable[[int, Path], None]] = {
    "make": make,
    "pack": pack,
    "check": check,
    "split": split,
    "train": train,
    "predict": predict,
}
_PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in _PROCESSES]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    sys.exit(main())
