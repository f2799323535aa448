"""Faults of the machine: too little memory, decoders that are killed, and clocks that are wrong."""

import json
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.commands import Ran
from hostile_parts.mutations import generator
from hostile_parts.place import Place

ROOMS = tuple(2**20 * size for size in (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512))  # bytes
SKEWS = tuple(86_400.0 * days for days in (-20_000, -4_000, -365, -30, -1, 1, 30, 365, 4_000, 20_000))  # seconds
QUICK = ("--model=mlp", "--hidden=8", "--epochs=2", "--batch-size=32", "--quiet")
SECONDS, BYTES = 240.0, 2**30


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for each fault."""
    yield _row("out of memory", place.count(len(ROOMS)), lambda number: short_of_memory(place, number))
    pictures = _slow_pictures(place)
    yield _row("decoders that are killed", place.count(20), lambda number: killed(pictures, number))
    (place.folder / "clock").mkdir(exist_ok=True)
    _train(place.pictures, place.folder / "clock" / "right")
    yield _row("clocks that are wrong", place.count(len(SKEWS)), lambda number: skewed(place, SKEWS[number]))


def _row(name: str, count: int, attempt: Callable[[int], Found]) -> Row:
    return tried(name, count, attempt, seconds=SECONDS, spare_bytes=BYTES)


def short_of_memory(place: Place, number: int) -> Found:
    """Run a command with little more memory than it has; it ends well, or with one line."""
    folder, picture = place.fresh("memory"), next(place.pictures.rglob("*.png"))
    words = (
        ["train", place.pictures, *QUICK, "--out", folder / "run"],
        ["predict", place.run, place.pictures, "--json"],
        ["explain", place.run, picture, "--out", folder / "heatmaps"],
    )[number % 3]
    with at_most(ROOMS[number]):
        return Found(Ran(*words).fault)


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """Within the block, this process gets no more than so many bytes of memory besides those that it has."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    fields = Path("/proc/self/status").read_text("ascii").splitlines()
    has = 1024 * int(next(line for line in fields if line.startswith("VmData:")).split()[1])
    resource.setrlimit(resource.RLIMIT_DATA, (has + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _slow_pictures(place: Place) -> Path:
    """Return a folder of pictures that are decoded in other processes."""
    from PIL import Image

    folder = place.folder / "animations"
    for number, file in enumerate(sorted(place.pictures.rglob("*.png"))):
        target = folder / "ab"[number % 2] / f"{number}.gif"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).resize((300, 300)).save(target)
    return folder


def killed(pictures: Path, number: int) -> Found:
    """Kill a process that decodes, or the one that starts them, at a random moment; all pictures are read."""
    chance, done = generator("killed", number), threading.Event()

    def kill() -> None:
        from serve_load import family

        done.wait(chance.random() * 0.3)
        while not done.wait(0.002):
            others = family(os.getpid())[1:]
            if others:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(others), signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    os.environ["FIRSTLIGHT_CACHE"] = str(pictures.parent / f"cache-{os.getpid()}")
    try:
        ran = Ran("check", pictures, "--json")
    finally:
        done.set()
        killer.join()
        shutil.rmtree(os.environ["FIRSTLIGHT_CACHE"], ignore_errors=True)
    left_out = json.loads(ran.out).get("quarantined") if not ran.fault else None
    return Found(ran.fault or (f"pictures were left out: {left_out}" if left_out else ""))


def skewed(place: Place, seconds: float) -> Found:
    """Train with a clock that is wrong, on pictures of now; the bits are those of the right clock."""
    run = place.fresh("skewed") / "run"
    real = time.time
    try:
        time.time = lambda: real() + seconds
        fault = _train(place.pictures, run)
    finally:
        time.time = real
    right = place.folder / "clock" / "right"
    different = [
        name for name in ("model.safetensors", "split.csv") if (run / name).read_bytes() != (right / name).read_bytes()
    ]
    return Found(fault or (f"different: {different}" if different else ""))


def _train(pictures: Path, run: Path) -> str:
    return Ran("train", pictures, *QUICK, "--out", run).fault
