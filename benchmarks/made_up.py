"""A small made-up set in place of the photographs, for smoke runs."""

import itertools
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def clothing(folder: Path) -> Path:
    """Write `clothing10.tar`: a few small pictures of noise, with two classes and three splits."""
    archive, rng = folder / "clothing10.tar", np.random.default_rng(0)
    with tarfile.open(archive, "w") as target:
        for split, label, number in itertools.product(("train", "validation", "test"), ("dark", "light"), range(6)):
            file = folder / f"{split}-{label}-{number}.jpg"
            Image.fromarray(rng.integers(0, 128, (40, 48, 3), np.uint8) + 127 * (label == "light")).save(file)
            target.add(file, f"{split}/{label}/{number}.jpg")
            file.unlink()
    return archive
