"""Can we train on a set three times as large as the memory, and predict 100,000 files with constant memory?

    python benchmarks/memory.py --data-root ../shared/data

Training runs in a control group of the system (Linux, as root), whose limit includes the disk cache; if no such group
can be made, the row says so. Prints one JSON line for each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

import firstlight as fl

CGROUPS = Path("/sys/fs/cgroup")
IMG_SIZE = 144  # 60,000 pictures of 144 pixels and 3 channels are 3.7 GB
FILES = 100_000


def main() -> None:
    """Measure and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--smoke", action="store_true", help="a small set, a few files")
    choices = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        print(json.dumps(trained_in_little_memory(Path(folder), choices)), flush=True)
        print(json.dumps(predicted(Path(folder), 300 if choices.smoke else FILES)), flush=True)


def trained_in_little_memory(folder: Path, choices: argparse.Namespace) -> dict[str, object]:
    """Pack a set and train on it, with the memory limited to a third of the packed size."""
    source, side, count, channels = f"{choices.data_root}/cifar10-jpeg.tar.gz", IMG_SIZE, 60_000, 3
    if choices.smoke:
        source, side, count, channels = "digits", 512, 1797, 1
    packed = count * side * side * channels
    allowed = max(packed // 3, 1000 << 20) if choices.smoke else packed // 3
    words = ["train", source, "--img-size", str(side), "--model", "mlp", "--hidden", "16", "--epochs", "1", "--json"]
    command = [sys.executable, "-m", "firstlight", *words, "--out", str(folder / "run")]
    environment = os.environ | {"FIRSTLIGHT_CACHE": str(folder / "cache")}
    row: dict[str, object] = {"side": "train", "packed_mb": packed >> 20, "allowed_mb": allowed >> 20}
    try:
        with control_group(allowed) as (join, peak):
            started = time.perf_counter()
            done = subprocess.run(
                command, env=environment, preexec_fn=join, capture_output=True, text=True, check=False
            )
            seconds = time.perf_counter() - started
            row |= {"seconds": seconds, "exit_code": done.returncode, "peak_over_allowed": peak() / allowed}
    except OSError as error:
        return row | {"not_run": f"cannot make a control group here: {error}"}
    if done.returncode:
        return row | {"complaint": done.stderr[-300:]}
    return row | {"test": json.loads(done.stdout)["test"]["accuracy"]["value"]}


@contextmanager
def control_group(limit: int) -> Iterator[tuple[object, object]]:
    """Make a control group with a memory limit in bytes; yield functions that join it and that read its peak."""
    second = (CGROUPS / "cgroup.controllers").exists()
    group = CGROUPS / ("" if second else "memory") / f"firstlight-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.max" if second else "memory.limit_in_bytes")).write_text(str(limit))
        peak_file = group / ("memory.peak" if second else "memory.max_usage_in_bytes")
        yield (
            lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
            lambda: int(peak_file.read_text()),
        )
    finally:
        group.rmdir()


def predicted(folder: Path, count: int) -> dict[str, object]:
    """Predict many files in a separate process, and watch its memory."""
    run = fl.train(fl.load_data("digits"), model="mlp", epochs=1, out=folder / "digits")
    digits = fl.load_data("digits").images
    (folder / "files").mkdir()
    for number in range(200):
        Image.fromarray(digits.read(number)[:, :, 0]).save(folder / "files" / f"{number:06d}.png")
    for number in range(200, count):
        (folder / "files" / f"{number:06d}.png").hardlink_to(folder / "files" / f"{number % 200:06d}.png")
    command = [sys.executable, "-m", "firstlight", "predict", str(run.folder / "model.safetensors")]
    started = time.perf_counter()
    seen: list[int] = []
    with subprocess.Popen(
        [*command, str(folder / "files"), "--csv", str(folder / "out.csv")], stdout=subprocess.DEVNULL
    ) as done:
        while done.poll() is None:
            seen.append(resident(done.pid))
            time.sleep(0.5 if count > 1000 else 0.05)
    rows = sum(1 for _ in (folder / "out.csv").open()) - 1
    rest = seen[len(seen) // 3 : -1] or seen
    return {
        "side": f"predict, {count:,} files",
        "seconds": time.perf_counter() - started,
        "rows": rows,
        "first_third_mb": max(seen[: len(seen) // 3] or seen) >> 20,
        "rest_mb": max(rest) >> 20,
    }


def resident(process: int) -> int:
    """Return the bytes of memory that a process holds."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


if __name__ == "__main__":
    main()
