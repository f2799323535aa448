"""A set in the place of the photographs, to see that what takes them runs."""

import itertools
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def clothing(folder: Path) -> Path:
    """Write `clothing10.tar`: few small pictures of noise, of two classes in three parts."""
    archive, rng = folder / "clothing10.tar", np.random.default_rng(0)
    with tarfile.open(archive, "w") as target:
        for part, label, number in itertools.product(("train", "validation", "test"), ("dark", "light"), range(6)):
            file = folder / f"{part}-{label}-{number}.jpg"
            Image.fromarray(rng.integers(0, 128, (40, 48, 3), np.uint8) + 127 * (label == "light")).save(file)
            target.add(file, f"{part}/{label}/{number}.jpg")
            file.unlink()
    return archive
