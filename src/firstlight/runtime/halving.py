"""Run a network over images in halves, and halves of these, where the memory of a GPU does not take them at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from firstlight.runtime.memory import free_device_memory, is_out_of_gpu_memory

Columns = tuple[Tensor | None, ...]


def in_halves(compute: Callable[[Tensor], Columns], images: Tensor) -> Columns:
    """Return what `compute` returns for images, whose rows do not depend on each other.

    Args:
        compute: returns tensors with a row for each image, or None.
        images: `[B, C, H, W]`.

    Raises:
        RuntimeError: such as `torch.OutOfMemoryError`, if there is not even enough memory for one image.
    """
    try:
        return compute(images)
    except RuntimeError as error:
        if len(images) == 1 or not is_out_of_gpu_memory(error):
            raise
    free_device_memory(images.device)  # what the attempt left is free only now
    columns = zip(*(in_halves(compute, half) for half in images.tensor_split(2)), strict=True)
    return tuple(None if column[0] is None else torch.cat(column) for column in columns)
