"""Occlusion: what each part of an image is worth, found by covering it and asking again. It works for any network.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

STEPS = 14  # as many cover the longer side of an image; a window is two steps wide
WINDOWS_OF_A_PIXEL = 4
PIXELS_AT_ONCE = 2**21  # of covered images that go through the network together

Window = tuple[slice, slice]


def windows_of(height: int, width: int) -> Iterator[Window]:
    """Yield the rows and columns of each window; every pixel is in four of them."""
    step = math.ceil(max(height, width) / STEPS)
    for top in range(-step, height, step):
        for left in range(-step, width, step):
            yield slice(max(top, 0), min(top + 2 * step, height)), slice(max(left, 0), min(left + 2 * step, width))


def occlusion(network: Callable[[Tensor], Tensor], images: Tensor, classes: Tensor) -> Tensor:
    """Return how much the log odds of a class fall where each image is covered, float `[B, H, W]`, at least 0.

    Windows are filled with zero, the mean color of the training images. A pixel gets the mean over the windows that
    cover it; where covering raises the log odds, it is 0.

    Args:
        network: maps normalized images to logits.
        images: normalized float `[B, C, H, W]`.
        classes: int64 `[B]`.
    """
    return torch.stack([_one(network, *pair) for pair in zip(images, classes, strict=True)])


def log_odds(logits: Tensor, index: Tensor) -> Tensor:
    """Return the log odds of a class, `[B]`: they keep changing where a probability is already 1 in float32."""
    chosen = logits[:, index]
    if logits.shape[1] == 1:
        return chosen
    others = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
    others[index] = False
    return chosen - logits[:, others].logsumexp(dim=1)


def _one(network: Callable[[Tensor], Tensor], image: Tensor, index: Tensor) -> Tensor:
    _, height, width = image.shape
    windows = list(windows_of(height, width))
    at_once = max(1, PIXELS_AT_ONCE // (height * width))
    with torch.inference_mode():
        whole = log_odds(network(image[None]).float(), index)[0]
        falls = image.new_zeros(height, width)
        for first in range(0, len(windows), at_once):
            some = windows[first : first + at_once]
            covered = image.repeat(len(some), 1, 1, 1)
            for place, (rows, columns) in enumerate(some):
                covered[place, :, rows, columns] = 0
            fall = whole - log_odds(network(covered).float(), index)
            for place, (rows, columns) in enumerate(some):
                falls[rows, columns] += fall[place]
        return (falls / WINDOWS_OF_A_PIXEL).clamp_min(0)
