"""How fast are photographs prepared for training, compared with torchvision and with decoding alone?

Every side runs in this process with one thread, in turn (A B C A B C ...), and is measured in processor time. The
process is set up as the command line sets up its own (`set_up_process`), which helps every side. `SIDES` says what each
one does: `firstlight, same work` does only what the peers do, `firstlight pack` does everything once, and `firstlight
epoch` is the cost of every later epoch.

    python benchmarks/packing.py --data-root ../shared/data

Prints one JSON line per side.
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
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor, v2

import made_up
from firstlight.data.images import decode, resize_image
from firstlight.data.loader import Loader
from firstlight.data.sources import load_data
from firstlight.data.store import Store, pack
from firstlight.runtime.processors import set_up_process

BATCH = 256
SIDES = {  # what each side does, and with which packages
    "torchvision PIL": ("files in memory; convert, Resize, CenterCrop, ToTensor", ("torchvision", "pillow")),
    "torchvision v2": ("files in memory; decode_jpeg, v2.Resize, v2.CenterCrop", ("torchvision",)),
    "simplejpeg": (
        "files in memory; decoded at the smallest sufficient scale, resized by Pillow",
        ("simplejpeg", "pillow"),
    ),
    "decode alone": ("files in memory; Pillow's load, pixels discarded", ("pillow",)),
    "firstlight, same work": (
        "files in memory; decoded at the smallest sufficient scale and resized, to uint8",
        ("firstlight",),
    ),
    "firstlight pack": (
        "files in their archive; checked, resized, fingerprinted, compared, written",
        ("firstlight",),
    ),
    "firstlight epoch": ("shuffled batches of 256 from the packed file", ("firstlight",)),
}


def files_of(archive: Path) -> list[bytes]:
    """Read the pictures of an archive into memory."""
    with tarfile.open(archive) as source:
        opened = [source.extractfile(member) for member in source if member.name.endswith(".jpg")]
        return [file.read() for file in opened if file is not None]


def through_pillow(files: list[bytes], side: int) -> None:
    """Make tensors as torchvision's tutorials do."""
    prepare = Compose([Resize(side), CenterCrop(side), ToTensor()])
    for data in files:
        prepare(Image.open(io.BytesIO(data)).convert("RGB"))


def through_tensors(files: list[bytes], side: int) -> None:
    """Decode into a tensor and resize it."""
    prepare = v2.Compose([v2.Resize(side, antialias=True), v2.CenterCrop(side)])
    for data in files:
        prepare(decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB))


def through_simplejpeg(files: list[bytes], side: int) -> None:
    """Decode into NumPy at the smallest sufficient scale, crop the center, and resize it with Pillow."""
    for data in files:
        pixels = simplejpeg.decode_jpeg(data, min_height=side, min_width=side, min_factor=1)
        height, width, _ = pixels.shape
        short = min(height, width)
        left, top = (width - short) // 2, (height - short) // 2
        box = (left, top, left + short, top + short)
        np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR, box=box))


def decode_alone(files: list[bytes], _side: int) -> None:
    """Decode and discard the pixels."""
    for data in files:
        Image.open(io.BytesIO(data)).load()


def through_firstlight(files: list[bytes], side: int) -> None:
    """Decode and resize as packing does, and discard the pixels."""
    size = (3, side, side)
    for data in files:
        resize_image(decode(data, input_size=size).pixels, size, "crop")


def packed(archive: Path, side: int) -> Store:
    """Pack into an empty cache folder."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["FIRSTLIGHT_CACHE"] = cache
        return pack(load_data(str(archive)), (3, side, side), workers=1)


def epoch(loader: Loader, number: int) -> None:
    """Read every batch once."""
    for batch in loader.epoch(number):
        assert batch.images.dtype == torch.uint8


def main() -> None:
    """Measure all sides in turn and print a row for each."""
    parser = argparse.ArgumentParser(description="Measure how many photographs are prepared per CPU-second.")
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds clothing10.tar")
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="a few made-up pictures, once")
    chosen = parser.parse_args()
    set_up_process()
    torch.set_num_threads(1)
    side = chosen.img_size
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stderr(io.StringIO()):
        archive = made_up.clothing(Path(temporary)) if chosen.smoke else chosen.data_root / "clothing10.tar"
        files = files_of(archive)
        store, rows = packed(archive, side), np.arange(len(files))
        assert len(store.pixels) == len(files), "every side processes the same pictures"
        loader = Loader(store.pixels, np.zeros(len(files), np.int64), rows, batch_size=BATCH,
                        device=torch.device("cpu"), seed=0)  # fmt: skip
        sides: dict[str, Callable[[int], object]] = {
            "torchvision PIL": lambda _: through_pillow(files, side),
            "torchvision v2": lambda _: through_tensors(files, side),
            "simplejpeg": lambda _: through_simplejpeg(files, side),
            "decode alone": lambda _: decode_alone(files, side),
            "firstlight, same work": lambda _: through_firstlight(files, side),
            "firstlight pack": lambda _: packed(archive, side),
            "firstlight epoch": lambda number: epoch(loader, number),
        }
        runs: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(1 if chosen.smoke else chosen.repeats):
            for name, run in sides.items():
                started = time.process_time()
                run(number)
                runs[name].append(len(files) / (time.process_time() - started))
    for name, speeds in runs.items():
        recipe, packages = SIDES[name]
        line = {
            "part": "packing",
            "side": name,
            "images_per_cpu_second": round(statistics.median(speeds), 1),
            "runs": [round(speed, 1) for speed in speeds],
            "n": len(files),
            "img_size": side,
            "recipe": recipe,
            "versions": {package: version(package) for package in packages},
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
