"""A small model that has learned digits, and the folder that it learned from."""

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.models.classifier import Classifier


@pytest.fixture(scope="session")
def digit_files(digit_folder):
    """The paths of the 120 digits, in the order of their names."""
    return [str(path) for path in sorted(digit_folder.rglob("*.png"))]


@pytest.fixture(scope="session")
def digit_pixels(digit_files):
    """The same digits, uint8 [N, 8, 8]."""
    return np.stack([np.asarray(Image.open(file)) for file in digit_files])


@pytest.fixture(scope="session")
def model(digit_files, digit_pixels):
    """An mlp that was trained on them for a moment; not to be changed."""
    labels = torch.tensor([int(file.split("/")[-2]) for file in digit_files])
    images = torch.from_numpy(digit_pixels)[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Classifier(
            architecture={"name": "mlp", "hidden": [64]}, classes=tuple("0123456789"), input_size=(1, 8, 8)
        )
        made.fit_normalization(images)
        optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(made(images), labels).backward()
            optimizer.step()
    made.temperature.fill_(1.5)
    return made.eval()
