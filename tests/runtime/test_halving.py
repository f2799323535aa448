"""Tests of `firstlight.runtime.halving`."""

import pytest
import torch

from firstlight.runtime.halving import in_halves


def limited(most, seen):
    def compute(images):
        seen.append(len(images))
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images * 2, None

    return compute


def test_what_memory_does_not_take_at_once_is_computed_in_halves():
    images, seen = torch.arange(7.0), []
    doubled, none = in_halves(limited(2, seen), images)
    assert torch.equal(doubled, images * 2) and none is None
    assert seen == [7, 4, 2, 2, 3, 2, 1]


def test_memory_that_does_not_suffice_for_one_image_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        in_halves(limited(0, []), torch.zeros(3))
