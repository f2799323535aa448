"""The pointing game on real digits side by side: the heatmap for one of them points at it, and controls do not."""

import numpy as np
import pytest
import torch

from firstlight.inference.heatmaps.explainer import Explainer
from firstlight.models.classifier import Classifier

PAIRS = 100


def canvases(digits, numbers, random, count):
    """Pictures uint8 `[count, 1, 32, 32]` with one digit of each number, at a random height, from left to right."""
    images, labels = digits
    found = np.zeros((count, 1, 32, 32), np.uint8)
    for canvas in found:
        for place, number in enumerate(random.permutation(numbers)):
            digit = images[random.choice(np.flatnonzero(labels == number))].repeat(2, 0).repeat(2, 1)
            row = random.integers(0, 17)
            column = 16 * place if len(numbers) == 2 else random.integers(0, 17)
            canvas[0, row : row + 16, column : column + 16] = digit
            if place == 0:
                canvas[0, 0, 31] = number  # a mark of what is on the left, too faint to matter
    return torch.from_numpy(found)


@pytest.fixture(scope="module")
def learned(digits):
    """A cnn that has learned to tell zeros from ones anywhere in a picture, and one with random weights."""
    random = np.random.default_rng(0)
    images = torch.cat([canvases(digits, [number], random, 48) for number in (0, 1)])
    labels = torch.arange(2).repeat_interleave(48)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = [
            Classifier(architecture={"name": "cnn", "width": 8}, classes=("0", "1", "2"), input_size=(1, 32, 32))
            for _ in range(2)
        ]
        model = made[0]
        model.fit_normalization(images)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return [one.eval() for one in made]


def hits(model, method, images, asked, on_the_right):
    found = Explainer(model, method)(images, asked).numpy()
    columns = found.max(axis=1)
    return np.mean((columns.argmax(axis=1) >= 16) == on_the_right)


@pytest.fixture(scope="module")
def pairs(digits):
    images = canvases(digits, [0, 1], np.random.default_rng(1), PAIRS)
    left = images[:, 0, 0, 31].long()
    asked = torch.arange(PAIRS) % 2
    return images, asked, (left != asked).numpy()


@pytest.mark.parametrize("method", ["auto", "occlusion"])
def test_heatmaps_point_at_the_digit_that_is_asked_for(method, learned, pairs):
    count, least = (20, 0.8) if method == "occlusion" else (PAIRS, 0.9)  # occlusion is slow, and few pairs vary more
    assert hits(learned[0], method, *(column[:count] for column in pairs)) >= least


def test_they_would_fail_with_random_weights_or_the_other_class(learned, pairs):
    images, asked, right = pairs
    assert 0.3 < hits(learned[1], "auto", images, asked, right) < 0.7
    assert hits(learned[0], "auto", images, 1 - asked, right) < 0.2
