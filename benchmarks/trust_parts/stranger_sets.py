"""Sets of images that no classifier of clothes, textures, or digits was trained on, uint8 `[H, W, C]` each.

`REPORTED` are the sets that the benchmark reports; `DESIGNED` are other ones, by which the method was chosen.
"""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Images = list[NDArray[np.uint8]]
Random = np.random.Generator
SIDE = 224  # pixels, of drawn images


def idx(file: Path) -> NDArray[np.uint8]:
    """Return images `[n, 28, 28]` or labels `[n]` of the MNIST family."""
    data = gzip.decompress(file.read_bytes())
    dimensions = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def mnist(root: Path, random: Random, count: int, *, name: str = "mnist", split: str = "t10k") -> Images:
    """Digits."""
    images = idx(root / name / f"{split}-images-idx3-ubyte.gz")
    return [image[..., None] for image in images[random.choice(len(images), count, replace=False)]]


def fashion(root: Path, random: Random, count: int) -> Images:
    """Small gray pictures of clothes."""
    return mnist(root, random, count, name="fashion-mnist")


def cifar(root: Path, random: Random, count: int, *, split: str, classes: tuple[str, ...]) -> Images:
    """Small photographs of some classes."""
    number = {"train": 5000, "test": 1000}[split]
    wanted = {f"{split}/{classes[i % len(classes)]}/{random.integers(number):04d}.jpg" for i in range(2 * count)}
    found = []
    with tarfile.open(root / "cifar10-jpeg.tar.gz") as tar:
        for member in tar:
            if "/".join(member.name.split("/")[-3:]) in wanted:
                file = tar.extractfile(member)
                assert file is not None
                found.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
    return [found[i] for i in random.permutation(len(found))[:count]]


def animals(root: Path, random: Random, count: int) -> Images:
    """Small photographs of animals."""
    return cifar(root, random, count, split="test", classes=("bird", "cat", "deer", "dog", "frog", "horse"))


def vehicles(root: Path, random: Random, count: int) -> Images:
    """Small photographs of vehicles."""
    return cifar(root, random, count, split="test", classes=("airplane", "automobile", "ship", "truck"))


def digits(root: Path, random: Random, count: int) -> Images:
    """Digits of 8 by 8 pixels, from scikit-learn."""
    from sklearn.datasets import load_digits

    images = (load_digits().images * 255 / 16).astype(np.uint8)
    return [images[i][..., None] for i in random.choice(len(images), count, replace=False)]


def scenery(root: Path, random: Random, count: int) -> Images:
    """Windows of two photographs, a temple and a flower, from scikit-learn."""
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    found = []
    for number in range(count):
        photo, side = photos[number % 2], int(random.integers(150, 400))
        top, left = (int(random.integers(0, extent - side)) for extent in photo.shape[:2])
        found.append(np.array(photo[top : top + side, left : left + side]))
    return found


def uniform(root: Path, random: Random, count: int) -> Images:
    """Uniform noise."""
    return [random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(count)]


def gaussian(root: Path, random: Random, count: int) -> Images:
    """Gaussian noise around gray, of several strengths."""
    return [
        np.clip(random.normal(128, random.uniform(15, 80), (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def blank(root: Path, random: Random, count: int) -> Images:
    """Pages of one gray each, from black to white."""
    return [np.full((SIDE, SIDE, 3), gray, np.uint8) for gray in np.linspace(0, 255, count).astype(int)]


def gradients(root: Path, random: Random, count: int) -> Images:
    """From one color to another, in any direction."""
    found = []
    for _ in range(count):
        angle, ends = random.uniform(0, 2 * np.pi), random.uniform(0, 255, (2, 3))
        y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
        share = ((np.cos(angle) * x + np.sin(angle) * y) / 1.42 + 0.5)[..., None]
        found.append((ends[0] * (1 - share) + ends[1] * share).astype(np.uint8))
    return found


def checkerboards(root: Path, random: Random, count: int) -> Images:
    """Of two colors, with squares of several sizes."""
    found = []
    for _ in range(count):
        square, colors = int(random.integers(4, 57)), random.integers(0, 256, (2, 3))
        y, x = np.mgrid[0:SIDE, 0:SIDE] // square
        found.append(colors[(y + x) % 2].astype(np.uint8))
    return found


def text(root: Path, random: Random, count: int) -> Images:
    """Pages of random words."""
    found, letters = [], np.array(list("abcdefghijklmnopqrstuvwxyz"))
    for _ in range(count):
        page = Image.new("RGB", (SIDE, SIDE), "white")
        size = int(random.integers(10, 25))
        draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
        for line in range(4, SIDE, int(1.4 * size)):
            words = ("".join(random.choice(letters, random.integers(1, 10))) for _ in range(8))
            draw.text((4, line), " ".join(words), fill="black", font=font)
        found.append(np.asarray(page))
    return found


Maker = Callable[[Path, Random, int], Images]
REPORTED: dict[str, Maker] = {
    "MNIST": mnist,
    "Fashion-MNIST": fashion,
    "animals of CIFAR-10": animals,
    "vehicles of CIFAR-10": vehicles,
    "digits": digits,
    "scenery": scenery,
    "uniform noise": uniform,
    "Gaussian noise": gaussian,
    "blank pages": blank,
    "gradients": gradients,
    "checkerboards": checkerboards,
    "text": text,
}
