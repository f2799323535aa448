"""What does it cost to decode in processes that can be killed? Packing both ways, in turn, in one run.

The same photographs are written in formats that firstlight decodes in other processes, and in some that it does not.
Each side packs them into an empty cache; the pixels have to be the same. `threads` treats every file as plain.

    python benchmarks/isolated.py --data-root ../shared/data

Prints a JSON line for each format and side: pictures per second, and milliseconds of processor time per picture, those
of the other processes included; and how the sides compare, run by run.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import made_up
from firstlight.data import isolation
from firstlight.data.plain import is_plain
from firstlight.data.samples import Samples
from firstlight.data.sources import load_data
from firstlight.data.store import Store, pack
from firstlight.runtime.processors import set_up_process

FORMATS: dict[str, tuple[str, str, dict[str, object]]] = {
    "JPEG": ("jpg", "JPEG", {"quality": 90}),
    "progressive JPEG": ("jpg", "JPEG", {"quality": 90, "progressive": True}),
    "PNG": ("png", "PNG", {}),
    "TIFF": ("tif", "TIFF", {}),
    "TIFF with LZW": ("tif", "TIFF", {"compression": "tiff_lzw"}),
    "WebP": ("webp", "WEBP", {}),
    "GIF": ("gif", "GIF", {}),
    "small WebP": ("webp", "WEBP", {}),
    "small GIF": ("gif", "GIF", {}),
    "small PNG": ("png", "PNG", {}),
}
SMALL_SIDE = 28  # pixels of the small ones
SIDES = {"threads": lambda _: True, "processes": is_plain}


def photographs(archive: Path, count: int) -> Iterator[Image.Image]:
    """Yield the first pictures of an archive."""
    with tarfile.open(archive) as source:
        names = [member for member in source if member.name.endswith(".jpg")][:count]
        for name in names:
            file = source.extractfile(name)
            assert file is not None
            yield Image.open(io.BytesIO(file.read())).convert("RGB")


def processor_seconds() -> float:
    """Return the processor time of this process and of all below it (Linux)."""
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            process = int(stat.parent.name)
            parents[process], ticks[process] = int(fields[1]), sum(map(int, fields[11:15]))
    own = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(ticks.get(process, 0) for process in own) / os.sysconf("SC_CLK_TCK")


def packed(samples: Samples, side: int, workers: int) -> tuple[Store, float, float]:
    """Pack into an empty cache; return the store, and the seconds and the seconds of processor time that it took."""
    with tempfile.TemporaryDirectory() as cache, contextlib.redirect_stderr(io.StringIO()):
        os.environ["FIRSTLIGHT_CACHE"] = cache
        started, processor = time.perf_counter(), processor_seconds()
        store = pack(samples, (3, side, side), workers=workers)
        return store, time.perf_counter() - started, processor_seconds() - processor


def main() -> None:
    """Measure both sides for every format and print a row for each."""
    parser = argparse.ArgumentParser(description="Compare packing in threads with packing in other processes.")
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds clothing10.tar")
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--count", type=int, default=120, help="photographs; four times as many small ones")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--smoke", action="store_true", help="a few made-up pictures of two formats, once")
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.repeats, chosen.formats = 1, ["PNG", "small GIF"]
    set_up_process()
    for name in chosen.formats:
        suffix, kind, options = FORMATS[name]
        small = name.startswith("small")
        size, count = (SMALL_SIDE, 4 * chosen.count) if small else (chosen.img_size, chosen.count)
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
            archive = made_up.clothing(Path(other)) if chosen.smoke else chosen.data_root / "clothing10.tar"
            for number, image in enumerate(photographs(archive, count)):
                place = Path(folder, str(number % 5), f"{number}.{suffix}")
                place.parent.mkdir(exist_ok=True)
                (image.resize((size, size)) if small else image).save(place, kind, **options)
            samples = load_data(folder)
            speeds: dict[str, list[float]] = {side: [] for side in SIDES}
            processor: dict[str, list[float]] = {side: [] for side in SIDES}
            pixels = {}
            for number in range(chosen.repeats + 1):
                for side, decide in SIDES.items():
                    isolation.is_plain = decide  # type: ignore[assignment]
                    store, seconds, used = packed(samples, size, chosen.workers)
                    pixels[side] = np.array(store.pixels)
                    if number:  # the first one starts the processes
                        speeds[side].append(len(samples) / seconds)
                        processor[side].append(1000 * used / len(samples))
            assert np.array_equal(pixels["threads"], pixels["processes"])
        ratios = {"speed_ratio": compared(speeds), "processor_ratio": compared(processor)}
        for side, runs in speeds.items():
            line = {
                "part": "isolated",
                "side": f"{name}, {side}",
                "packed_per_second": round(statistics.median(runs), 1),
                "runs": [round(speed, 1) for speed in runs],
                "processor_ms": round(statistics.median(processor[side]), 2),
                "processor_runs": [round(used, 2) for used in processor[side]],
                "n": len(samples),
                "img_size": size,
            }
            print(json.dumps(line | (ratios if side == "processes" else {})), flush=True)


def compared(runs: dict[str, list[float]]) -> list[float]:
    """Return the median, the least and the greatest ratio of processes to threads, of runs in turn."""
    ratios = [ours / other for ours, other in zip(runs["processes"], runs["threads"], strict=True)]
    return [round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))]


if __name__ == "__main__":
    main()
