"""Shortcuts: are planted ones found, and are clean sets left alone? About five minutes on one core for five seeds.

Each seed plants one cue at a time in 500 photographs of clothing10 (made smaller, to 200 pixels), and in 500 images of
CIFAR-10: each class has a value of its own, or (in the first two seeds) one class alone is marked. The strength is the
fraction of the images of a class that are marked; all others are as they would be without.
The peer, cleanlab's Datalab, gets gray thumbnails as features and the labels, and finds something if it calls the set
not i.i.d.; of file headers it knows nothing.
"""

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from firstlight.data.sources import load_data
from firstlight.delivery.check import check
from firstlight.evaluation.shortcuts import Shortcut
from trust_parts.goal import Goal

Random = np.random.Generator
IMAGES = 500
SEEDS_OF_ONE_CLASS = 2
SIDE = 200  # of the photographs, at most: pixels
QUALITY = 88
STRENGTHS = (1.0, 0.6, 0.3)
LEAST = {1.0: 0.95, 0.6: 0.95, 0.3: 0.80}
CUES = ("border", "tag", "aspect", "quality", "exif")
MEANT = {  # what may be reported for a planting
    "border": ("border", "corner"),
    "tag": ("corner", "border"),
    "aspect": ("aspect", "size"),
    "quality": ("jpeg",),
    "exif": ("exif",),
}


class Set(NamedTuple):
    """Images, uint8 `[H, W, C]` each, and their labels."""

    images: list[np.ndarray]
    labels: np.ndarray


class Marks(NamedTuple):
    """How the images of one class are marked, one value for each cue."""

    color: np.ndarray  # of a border or a tag
    proportions: float  # width to height
    quality: int
    camera: str


def measure(seeds: range, data_root: Path) -> Iterator[Goal]:
    """Yield how many plantings of each strength are found, and how many clean sets raise an alarm."""
    found: dict[tuple[float, bool], list[bool]] = {}
    peers: dict[float, list[bool]] = {}
    missed: dict[tuple[float, bool], list[str]] = {}
    for seed in seeds:
        for name in ("clothing10", "cifar10"):
            for strength in STRENGTHS:
                for cue in CUES:
                    for single in (False, True) if seed - seeds.start < SEEDS_OF_ONE_CLASS else (False,):
                        draw = np.random.default_rng([seed, len(name), int(100 * strength), CUES.index(cue), single])
                        files, labels = planted(some(data_root, name, draw), cue, strength, draw, single=single)
                        cues = [one.cue for one in shortcuts(files, labels)]
                        hit = any(one.startswith(MEANT[cue]) for one in cues)
                        found.setdefault((strength, single), []).append(hit)
                        if not hit:
                            missed.setdefault((strength, single), []).append(f"{cue} in {name}")
                        if not single and seed == seeds.start:
                            peers.setdefault(strength, []).append(datalab_finds(files, labels))
    for (strength, single), hits in sorted(found.items(), key=lambda item: (item[0][1], -item[0][0])):
        peer = f"Datalab: {np.mean(peers[strength]):.2f} (first seed)" if peers.get(strength) and not single else ""
        yield Goal(
            name=f"shortcuts found, in {strength:.0%} of {'one class' if single else 'each class'}",
            value=float(np.mean(hits)),
            n=len(hits),
            least=None if single else LEAST[strength],
            peer=peer,
            note="missed: " + ", ".join(names) if (names := missed.get((strength, single))) else "",
        )
    yield from clean(data_root)


def clean(data_root: Path) -> Iterator[Goal]:
    """Yield on how many sets as they are there is an alarm; the figure of each goes into the note."""
    alarms = {name: shortcuts(*make()) for name, make in clean_sets(data_root).items()}
    told = [f"{name}: {one.cue} {one.gain:.2f}" for name, found in alarms.items() for one in found]
    yield Goal(
        name="clean sets with an alarm",
        value=float(sum(map(bool, alarms.values()))),
        n=len(alarms),
        most=1,
        note="; ".join(told),
    )


def shortcuts(images: Any, labels: Any) -> tuple[Shortcut, ...]:
    """Return what `check` finds."""
    return check(load_data((images, labels))).shortcuts


def planted(
    given: Set, cue: str, strength: float, draw: Random, *, single: bool = False
) -> tuple[list[bytes], np.ndarray]:
    """Return the set as JPEG files with one cue planted, and its labels."""
    count = int(given.labels.max()) + 1
    values = draw.permutation(count)
    marks = [
        Marks(draw.integers(0, 256, 3), 0.6 + 0.13 * value, 60 + 3 * int(value), f"Camera {value}") for value in values
    ]
    chosen = int(draw.integers(count))
    width, corner = draw.uniform(0.03, 0.08), int(draw.integers(4))
    side = draw.uniform(0.08, 0.2)
    files = []
    for pixels, label in zip(given.images, given.labels, strict=True):
        marked = draw.random() < strength and (not single or label == chosen)
        mark = marks[label] if marked else None
        image, quality, camera = pixels, QUALITY, f"Camera {draw.integers(count)}"
        if mark is not None:
            match cue:
                case "border":
                    image = with_border(pixels, mark.color, width)
                case "tag":
                    image = with_tag(pixels, mark.color, side, corner)
                case "aspect":
                    image = cut_to(pixels, mark.proportions)
                case "quality":
                    quality = mark.quality
                case "exif":
                    camera = f"{mark.camera} of this class"
        files.append(encoded(image, quality, camera if cue == "exif" else None))
    return files, given.labels


def encoded(pixels: np.ndarray, quality: int, camera: str | None) -> bytes:
    """Return a JPEG file, with a camera's model in its EXIF block if one is given."""
    file, exif = io.BytesIO(), Image.Exif()
    if camera is not None:
        exif[272] = camera
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, exif=exif)
    return file.getvalue()


def with_border(pixels: np.ndarray, color: np.ndarray, width: float) -> np.ndarray:
    """Return an image with a border of this fraction of its shorter side."""
    image, step = pixels.copy(), max(1, round(width * min(pixels.shape[:2])))
    image[:step], image[-step:], image[:, :step], image[:, -step:] = color, color, color, color
    return image


def with_tag(pixels: np.ndarray, color: np.ndarray, side: float, corner: int) -> np.ndarray:
    """Return an image with a square tag in a corner."""
    image, step = pixels.copy(), max(1, round(side * min(pixels.shape[:2])))
    rows = slice(None, step) if corner < 2 else slice(-step, None)
    columns = slice(None, step) if corner % 2 else slice(-step, None)
    image[rows, columns] = color
    return image


def cut_to(pixels: np.ndarray, proportions: float) -> np.ndarray:
    """Return the largest centered part of an image with these proportions, width to height."""
    height, width = pixels.shape[:2]
    rows, columns = min(height, round(width / proportions)), min(width, round(height * proportions))
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(pixels[top : top + rows, left : left + columns])


def some(data_root: Path, name: str, draw: Random, count: int = IMAGES) -> Set:
    """Return some images of a set, drawn anew."""
    whole = {"clothing10": clothing, "cifar10": cifar}[name](data_root)
    rows = draw.permutation(len(whole.labels))[:count]
    return Set([whole.images[row] for row in rows], whole.labels[rows])


@cache
def clothing(data_root: Path) -> Set:
    """Return the photographs of clothing10, made smaller."""

    def opened(file: io.BufferedIOBase) -> np.ndarray:
        image = Image.open(file).convert("RGB")
        image.draft("RGB", (SIDE, SIDE))
        image.thumbnail((SIDE, SIDE))
        return np.asarray(image)

    return _of_archive(data_root / "clothing10.tar", opened, lambda name: True)


@cache
def cifar(data_root: Path) -> Set:
    """Return the first 400 training images of each class of CIFAR-10."""
    return _of_archive(
        data_root / "cifar10-jpeg.tar.gz",
        lambda file: np.asarray(Image.open(file).convert("RGB")),
        lambda name: name.startswith("train/") and int(Path(name).stem) < 400,
    )


def _of_archive(path: Path, opened: Callable[[Any], np.ndarray], wanted: Callable[[str], bool]) -> Set:
    images, words = [], []
    with tarfile.open(path) as files:
        for member in files:
            if member.isfile() and member.name.endswith(".jpg") and wanted(member.name):
                images.append(opened(files.extractfile(member)))
                words.append(member.name.split("/")[1])
    return Set(images, np.unique(words, return_inverse=True)[1])


@cache
def idx(data_root: Path, name: str) -> Set:
    """Return the test images of MNIST or Fashion-MNIST."""
    images = gzip.decompress((data_root / name / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((data_root / name / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return Set(list(pixels), np.frombuffer(labels, np.uint8, offset=8).astype(np.int64))


def clean_sets(data_root: Path) -> dict[str, Callable[[], tuple[Any, Any]]]:
    """Return functions that make sets without a planted cue. The last ones were not looked at in the design."""

    def part(whole: Set, rows: np.ndarray) -> tuple[Any, Any]:
        images, labels = [whole.images[row] for row in rows], whole.labels[rows]
        same = len({image.shape for image in images}) == 1
        if same:
            return np.stack(images), labels
        return [encoded(image, QUALITY, None) for image in images], labels

    def classes(whole: Set, *kept: int) -> tuple[Any, Any]:
        return part(whole, np.flatnonzero(np.isin(whole.labels, kept)))

    def half(whole: Set, seed: int, count: int | None = None) -> tuple[Any, Any]:
        rows = np.random.default_rng(seed).permutation(len(whole.labels))
        return part(whole, rows[: count or len(rows) // 2])

    def digits() -> tuple[Any, Any]:
        from sklearn.datasets import load_digits

        found = load_digits()
        return np.rint(found.images * 255 / 16).astype(np.uint8), found.target

    def blobs() -> tuple[Any, Any]:
        from sklearn.datasets import make_classification

        pixels, labels = make_classification(900, 32 * 32, n_informative=40, n_classes=3, random_state=7)
        scaled = np.clip(128 + 40 * pixels, 0, 255).astype(np.uint8)
        return scaled.reshape(-1, 32, 32), labels

    return {
        "digits": digits,
        "MNIST, 2,000": lambda: half(idx(data_root, "mnist"), 0, 2000),
        "Fashion-MNIST, 2,000": lambda: half(idx(data_root, "fashion-mnist"), 0, 2000),
        "CIFAR-10, 2,000": lambda: half(cifar(data_root), 0, 2000),
        "clothing10": lambda: part(clothing(data_root), np.arange(len(clothing(data_root).labels))),
        "clothing10, a half": lambda: half(clothing(data_root), 1),
        "CIFAR-10, cat and dog": lambda: classes(cifar(data_root), 3, 5),
        "MNIST, 3 and 8": lambda: classes(idx(data_root, "mnist"), 3, 8),
        # not looked at in the design
        "clothing10, dress, shirt and shoes": lambda: classes(clothing(data_root), 0, 5, 6),
        "clothing10, the other half": lambda: half(clothing(data_root), 2),
        "CIFAR-10, animals that run": lambda: classes(cifar(data_root), 4, 7),
        "Fashion-MNIST, pullover and coat": lambda: classes(idx(data_root, "fashion-mnist"), 2, 4),
        "Fashion-MNIST, 500": lambda: half(idx(data_root, "fashion-mnist"), 3, 500),
        "drawn from normal distributions": blobs,
    }


def datalab_finds(files: list[bytes], labels: np.ndarray) -> bool:
    """Return whether Datalab reports anything that could be the cue; False where it is not installed."""
    try:
        from cleanlab import Datalab
    except ImportError:
        return False
    thumbnails = [np.asarray(Image.open(io.BytesIO(file)).convert("L").resize((16, 16))).ravel() for file in files]
    features = np.stack(thumbnails).astype(np.float32)
    lab = Datalab({"label": labels.tolist()}, label_name="label", verbosity=0)
    lab.find_issues(features=features, issue_types={"non_iid": {}})
    return bool(lab.get_issue_summary("non_iid")["score"].item() < 0.05)
