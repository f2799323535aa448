"""What the layers of a network return for an image: which of them keep places, and a look at what they say on the way.

A look is a hook on a private copy of the network, so that nothing is ever left behind on the user's own.
"""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from firstlight.models.classifier import Classifier


class Output(NamedTuple):
    """What a layer returns for an image: its name, the shape, and whether the layer is only a chain of others."""

    layer: str
    shape: tuple[int, ...]
    is_chain: bool = False


_seen: ContextVar[list[Tensor] | None] = ContextVar("seen", default=None)


def private_copy(classifier: Classifier) -> Classifier:
    """Return a classifier in evaluation mode with the same weights, frozen and shared, and layers of its own."""
    shared: dict[int, Any] = {}
    with torch.inference_mode(False):
        for weights in classifier.parameters():
            shared[id(weights)] = nn.Parameter(_outside_inference_mode(weights.detach()), requires_grad=False)
        for buffer in classifier.buffers():
            shared[id(buffer)] = _outside_inference_mode(buffer)
    made = copy.copy(classifier)
    made._buffers = {name: shared.get(id(buffer), buffer) for name, buffer in classifier._buffers.items()}
    made._modules = {"network": copy.deepcopy(classifier.network, shared)}
    return made.eval()


def outputs_of(network: nn.Module, images: Tensor) -> list[Output]:
    """Return what each layer returns, in the order in which the layers finish.

    Args:
        network: in evaluation mode; it is run once, and has no hooks afterwards.
        images: what it takes.
    """
    found: list[Output] = []

    def note(name: str) -> Any:
        def write(layer: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found.append(Output(name, tuple(output.shape), isinstance(layer, nn.Sequential)))

        return write

    hooks = [layer.register_forward_hook(note(name)) for name, layer in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def last_spatial(outputs: Iterable[Output], fewest: int = 1) -> str | None:
    """Return the last layer that keeps places: `[B, C, H, W]` or `[B, H, W, C]` of more than one cell.

    None if there is none, or if tokens come after it, as in a transformer, whose only such layer is the first.

    Args:
        outputs: of the layers, in the order in which they finish.
        fewest: cells a side; a layer with fewer is passed over, and so are the layers that it is made of.
    """
    coarse: list[str] = []
    for layer, shape, is_chain in reversed(list(outputs)):
        if len(shape) == 3 and shape[1] > 1:
            return None
        if len(shape) != 4 or layer.startswith(tuple(coarse)):
            continue
        height, width = shape[1:3] if _channels_are_last(shape) else shape[2:]
        if min(height, width) >= fewest and height * width > 1:
            return layer
        if not is_chain:
            coarse.append(f"{layer}.")
    return None


def channels_first(activations: Tensor) -> Tensor:
    """Return the same activations as `[B, C, H, W]`."""
    return activations.permute(0, 3, 1, 2) if _channels_are_last(tuple(activations.shape)) else activations


def watch(layers: Iterable[nn.Module], *, cut: bool) -> None:
    """Hook layers of a private copy, so that inside `looking` what they return is seen; otherwise nothing changes.

    Args:
        layers: of a private copy.
        cut: whether gradients end there, which saves the memory and time of everything before.
    """
    for layer in layers:
        layer.register_forward_hook(_cut if cut else _keep)


@contextmanager
def looking() -> Iterator[list[Tensor]]:
    """Yield a list that, inside the block and in this thread only, gets what each watched layer returns."""
    seen: list[Tensor] = []
    token = _seen.set(seen)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield seen
    finally:
        _seen.reset(token)


def _outside_inference_mode(tensor: Tensor) -> Tensor:
    """Return a tensor that can take part in gradients: itself, or a copy if it was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def _cut(_layer: nn.Module, _inputs: Any, output: Any) -> Any:
    if (seen := _seen.get()) is None:
        return None
    leaf = output.detach().requires_grad_()
    seen.append(leaf)
    return leaf.clone()  # what follows may change it in place, as nn.ReLU(inplace=True) does


def _keep(_layer: nn.Module, _inputs: Any, output: Any) -> Any:
    if (seen := _seen.get()) is None:
        return None
    kept = output if output.requires_grad else output.detach().requires_grad_()
    seen.append(kept)
    return kept.clone()


def _channels_are_last(shape: tuple[int, ...]) -> bool:
    """Return whether a shape is `[B, H, W, C]`: its sides are alike there, and not in `[B, C, H, W]`."""
    _, first, second, third = shape
    as_first = abs(second - third) / max(second, third)
    as_last = abs(first - second) / max(first, second)
    return as_last < as_first
