"""Does `firstlight check` find exactly what is wrong with a set?

Complete real sets (MNIST, CIFAR-10 as JPEG, clothing photographs) are written as class folders with splits, checked
as they are, and then checked again with planted faults: broken files and many kinds of copies. Faults that were there
before are reported separately and do not count.

    python benchmarks/planted_faults.py --data-root ../shared/data

Prints one JSON line per row, then a table. A planted copy is found if it is reported together with its original
(across splits: as a leak). It is false if it is reported together with any other picture. The row "untouched" counts
pictures that have no planted fault or copy, but that `check` reports only after the planting.
"""

import argparse
import contextlib
import gzip
import io
import json
import os
import struct
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from firstlight.cli import main as firstlight

Random = np.random.Generator


@dataclass
class Planted:
    """One kind of fault: which file was made from which original."""

    originals: dict[str, str] = field(default_factory=dict)
    report: str = "copies"  # where `check` should report it: copies, leaks or quarantined


def mnist(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name of each image in a class folder, and its file."""
    for prefix, split in (("train", "train"), ("t10k", "test")):
        images = gzip.decompress((root / "mnist" / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((root / "mnist" / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())[8:]
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
        for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            yield f"{split}/{label}/{row:05d}.png", encoded(Image.fromarray(image), "PNG", compress_level=1)


def archive(name: str) -> Callable[[Path], Iterator[tuple[str, bytes]]]:
    """Return a function that does the same for an archive of class folders."""

    def images(root: Path) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(root / name) as files:
            for member in files:
                opened = files.extractfile(member)
                if opened is not None and member.name.endswith(".jpg"):
                    split, label, file = member.name.split("/")[-3:]
                    yield f"{split}/{label}/{file}", opened.read()

    return images


SETS = {"mnist": mnist, "cifar10": archive("cifar10-jpeg.tar.gz"), "clothing10": archive("clothing10.tar")}


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Encode an image as a file of this kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def truncated(data: bytes, _draw: Random) -> tuple[bytes, str]:
    """Cut a file off after three fifths."""
    return data[: len(data) * 3 // 5], ".png" if data[:4] == b"\x89PNG" else ".jpg"


def re_encoded(data: bytes, draw: Random) -> tuple[bytes, str]:
    """Save again as JPEG of quality 50 to 95, WebP of 60 to 95, or PNG."""
    image = opened(data)
    match draw.integers(3):
        case 0:
            return encoded(image, "JPEG", quality=int(draw.integers(50, 96))), ".jpg"
        case 1:
            return encoded(image, "WEBP", quality=int(draw.integers(60, 96))), ".webp"
        case _:
            return encoded(image, "PNG"), ".png"


def resized(data: bytes, draw: Random) -> tuple[bytes, str]:
    """Resize by 0.5 to 2, bicubic or bilinear."""
    image, factor = opened(data), 2 ** draw.uniform(-1, 1)
    filters = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)
    size = round(image.width * factor), round(image.height * factor)
    return encoded(image.resize(size, filters[draw.integers(2)]), "PNG"), ".png"


def sixteen_bit(data: bytes, _draw: Random) -> tuple[bytes, str]:
    """Write the same values in 16 bits; by hand, because Pillow does not write 16-bit color."""
    pixels = np.asarray(opened(data))
    rows = (pixels.astype(">u2") * 257).reshape(len(pixels), -1)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ), ".png"


def rotated_by_tag(data: bytes, draw: Random) -> tuple[bytes, str]:
    """Rotate the pixels, and record it in the EXIF orientation tag, as cameras do."""
    ways = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    tag = int(draw.choice(list(ways)))
    exif = Image.Exif()
    exif[0x0112] = tag
    return encoded(opened(data).transpose(ways[tag]), "JPEG", quality=90, exif=exif), ".jpg"


def rotated_pixels(data: bytes, draw: Random) -> tuple[bytes, str]:
    """Rotate or mirror the pixels themselves, in one of the seven ways that change an image."""
    way = Image.Transpose(int(draw.integers(7)))
    return encoded(opened(data).transpose(way), "PNG"), ".png"


def saved_as_png(data: bytes, _draw: Random) -> tuple[bytes, str]:
    """Save the same pixels as PNG."""
    return encoded(opened(data), "PNG"), ".png"


def opened(data: bytes) -> Image.Image:
    """Decode a file."""
    image = Image.open(io.BytesIO(data))
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


KINDS: dict[str, tuple[Callable[[bytes, Random], tuple[bytes, str]], str]] = {
    "truncated": (truncated, "quarantined"),
    "re-encoded": (re_encoded, "copies"),
    "resized": (resized, "copies"),
    "16-bit": (sixteen_bit, "copies"),
    "rotated by tag": (rotated_by_tag, "copies"),
    "rotated pixels": (rotated_pixels, "copies"),
    "across splits, equal": (saved_as_png, "leaks"),
    "across splits, re-encoded": (re_encoded, "leaks"),
}


def plant(folder: Path, names: list[str], count: int, draw: Random) -> dict[str, Planted]:
    """Write `count` faults of each kind into the folder, each made from a different original."""
    splits = sorted({name.split("/")[0] for name in names})
    chosen = iter(draw.choice(names, count * len(KINDS), replace=False).tolist())
    planted = {kind: Planted(report=report) for kind, (_, report) in KINDS.items()}
    for kind, (spoil, report) in KINDS.items():
        for number in range(count):
            original = next(chosen)
            data, ending = spoil((folder / original).read_bytes(), draw)
            split, label, _ = original.split("/")
            if report == "leaks":
                split = next(other for other in splits if other != split)
            name = f"{split}/{label}/planted-{kind.replace(' ', '-').replace(',', '')}-{number}{ending}"
            (folder / name).write_bytes(data)
            planted[kind].originals[name] = original
    return planted


def check(folder: Path) -> dict[str, Any]:
    """Run `firstlight check --json`."""
    answer = io.StringIO()
    with contextlib.redirect_stdout(answer):
        code = firstlight(["check", str(folder), "--json"])
    assert code == 0, f"check ended with {code}"
    found: dict[str, Any] = json.loads(answer.getvalue())
    return found


def partners(groups: list[list[str]]) -> dict[str, set[str]]:
    """Return the names that each name is reported together with."""
    together: dict[str, set[str]] = {}
    for group in groups:
        for name in group:
            together.setdefault(name, set()).update(set(group) - {name})
    return together


def score(before: dict[str, Any], after: dict[str, Any], planted: dict[str, Planted]) -> Iterator[dict[str, Any]]:
    """Compare what was found with what was planted; yield a row per kind."""
    known = partners(before["duplicates"] + before["near_duplicates"])
    copies = partners(after["duplicates"] + after["near_duplicates"])
    leaks = partners(after["leaks"])
    quarantined = {entry["image"] for entry in after["quarantined"]}
    originals = {copy: original for kind in planted.values() for copy, original in kind.originals.items()}
    for kind, faults in planted.items():
        reported = leaks if faults.report == "leaks" else copies
        if faults.report == "quarantined":
            found = sum(name in quarantined for name in faults.originals)
            false = sum(name in copies for name in faults.originals)
        else:
            found = sum(original in reported.get(copy, ()) for copy, original in faults.originals.items())
            family = {copy: {original, *known.get(original, ())} for copy, original in faults.originals.items()}
            strangers = {
                copy: {name for name in copies.get(copy, ()) if originals.get(name, name) not in family[copy]}
                for copy in faults.originals
            }
            false = sum(copy in quarantined or bool(strangers[copy]) for copy in faults.originals)
        yield {
            "kind": kind,
            "planted": len(faults.originals),
            "found": found,
            "false": false,
            "recall": found / len(faults.originals),
            "precision": found / (found + false) if found + false else 1.0,
        }
    touched = set(originals) | set(originals.values())
    touched |= {other for name in originals.values() for other in known.get(name, ())}
    stirred = {name for name, others in copies.items() if others - known.get(name, set())} - touched
    stirred |= quarantined - {entry["image"] for entry in before["quarantined"]} - touched
    yield {"kind": "untouched", "planted": 0, "found": 0, "false": len(stirred)}


def measure(name: str, data_root: Path, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Write one set, check it, plant faults, and check it again."""
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["FIRSTLIGHT_CACHE"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / name
        names = []
        for image, data in SETS[name](data_root):
            path = folder / image
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            names.append(image)
        before = check(folder)
        planted = plant(folder, names, count, np.random.default_rng(seed))
        started = time.perf_counter()
        after = check(folder)
        seconds = round(time.perf_counter() - started, 1)
        there = {key: len(before[key]) for key in ("quarantined", "duplicates", "near_duplicates", "leaks")}
        yield {"set": name, "kind": "there before", "n": len(names), "check_seconds": seconds, **there}
        for row in score(before, after, planted):
            yield {"set": name, **row}


def main() -> None:
    """Measure the sets and print the rows and the table."""
    parser = argparse.ArgumentParser(description="Measure which faults planted in real sets `firstlight check` finds.")
    parser.add_argument("--data-root", type=Path, required=True, help="folder with the real sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--planted", type=int, default=50, help="number of faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rows = []
    for name in chosen.sets:
        for row in measure(name, chosen.data_root, chosen.planted, chosen.seed):
            print(json.dumps(row), flush=True)
            rows.append(row)
    print(f"\n{'set':12}{'kind':28}{'planted':>8}{'found':>8}{'false':>8}{'recall':>8}{'precision':>11}")
    for row in rows:
        if "recall" in row:
            fractions = f"{row['recall']:8.3f}{row['precision']:11.3f}"
            print(f"{row['set']:12}{row['kind']:28}{row['planted']:8}{row['found']:8}{row['false']:8}{fractions}")
        elif row["kind"] == "untouched":
            print(f"{row['set']:12}{row['kind']:28}{'':16}{row['false']:8}")
        else:
            words = f"{row['near_duplicates']} near and {row['duplicates']} exact groups, {row['leaks']} leaks"
            print(f"{row['set']:12}{'there before, in ' + format(row['n'], ','):28}  {words}")


if __name__ == "__main__":
    main()
