"""Let some layers of a network compute something else for a while, whatever library they come from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Forwards = Mapping[nn.Module, Callable[[Tensor], Tensor]]


def outside_of_graphs(forwards: Forwards) -> Forwards:
    """Return the same functions, to be run as they are in a network that `torch.compile` has made into graphs."""
    disable: Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]] = torch.compiler.disable
    return {layer: disable(forward) for layer, forward in forwards.items()}


@contextmanager
def replaced(forwards: Forwards) -> Iterator[None]:
    """Within the block, run these functions in place of the layers' own; afterwards nothing is left of them."""
    try:
        for layer, forward in forwards.items():
            layer.forward = forward
        yield
    finally:
        for layer in forwards:
            vars(layer).pop("forward", None)
