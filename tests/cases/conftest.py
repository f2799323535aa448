"""Small sets that tests of cases make for themselves."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Maker = Callable[[Path, Iterable[str]], Path]


@pytest.fixture
def named() -> Maker:
    """Writes files of these names; what is in them does not matter, since sources read names only."""

    def write(root: Path, names: Iterable[str]) -> Path:
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not looked at")
        return root

    return write


@pytest.fixture
def pictures() -> Maker:
    """Writes noise pictures of these names, 16 x 16 in color, no two alike."""
    dice = np.random.default_rng(15)

    def write(root: Path, names: Iterable[str]) -> Path:
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
        return root

    return write
