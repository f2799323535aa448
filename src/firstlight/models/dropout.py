"""Dropout whose masks follow from the sample: the same in any batch, on any device, in any number of processes.

A mask is a window of a long row of random numbers, which each layer has for itself; where the window begins is a hash
of (seed, epoch, sample). So a mask costs no more than a copy, while drawing one number after another takes longer than
the matrix products of the mlp.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from firstlight.models.replaced import outside_of_graphs, replaced
from firstlight.runtime.seeds import derive_seed, generator

WINDOW_BITS = 20  # a window begins at one of 2^20 places
LEVELS = 2**16  # of a random number: the fraction of zeroed units is a multiple of 1/65,536
UNITS, CHANNELS = (nn.Dropout,), (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
SAMPLES = {"DropPath": "drop_prob", "StochasticDepth": "p"}  # of timm and torchvision, and where their fraction is


class KeyedDropout:
    """The dropout layers of a network, and timm's and torchvision's that leave out a whole block for some samples.

    What has no layer of its own, such as dropout inside of attention, goes on to draw from the global generator.

    Args:
        network: its layers are replaced only within `of`.
        seed: of the run.
        compiled: whether the network runs in graphs of `torch.compile`.
    """

    def __init__(self, network: nn.Module, seed: int, *, compiled: bool = False) -> None:
        self.seed = seed
        self.keys = torch.zeros(0, dtype=torch.int64)
        self.rows: dict[tuple[str, torch.dtype], Tensor] = {}
        forwards: dict[nn.Module, Callable[[Tensor], Tensor]] = {}
        for name, layer in network.named_modules():
            if (rate := rate_of(layer)) > 0:
                multiplier = derive_seed(seed, "dropout of a layer", name) | 1
                forwards[layer] = partial(self._drop, layer, name, rate, multiplier)
        self.forwards = outside_of_graphs(forwards) if compiled else forwards

    @contextmanager
    def of(self, keys: Tensor) -> Iterator[None]:
        """Within the block, draw the masks of the samples with these keys, int64 `[B]` of 64 random bits each."""
        self.keys = keys
        with replaced(self.forwards):
            yield

    def _drop(self, layer: nn.Module, name: str, rate: float, multiplier: int, values: Tensor) -> Tensor:
        """Zero a fraction of the values in training, and scale the others up so that their mean stays."""
        if not layer.training:
            return values
        if len(values) % len(self.keys):  # not one row for each sample, or a few
            own: Tensor = type(layer).forward(layer, values)
            return own
        begins: Tensor = (self.keys * multiplier >> 64 - WINDOW_BITS) & 2**WINDOW_BITS - 1
        if type(layer).__name__ in SAMPLES:
            kept: Tensor = (begins >= rate * 2**WINDOW_BITS).to(values.dtype)
            scale = 1 / (1 - rate) if getattr(layer, "scale_by_keep", True) else 1.0
            factors = (kept * scale).repeat_interleave(len(values) // len(kept))
            return values * factors.view(-1, *[1] * (values.ndim - 1))
        shape = [*values.shape[:2], *[1] * (values.ndim - 2)] if isinstance(layer, CHANNELS) else values.shape
        length = torch.Size(shape).numel() // len(self.keys)
        row = self._row(name, rate, length, values)
        windows = row.as_strided((2**WINDOW_BITS, length), (1, 1))
        return values * windows.index_select(0, begins).view(shape)

    def _row(self, name: str, rate: float, length: int, values: Tensor) -> Tensor:
        """Return what units are multiplied by: 0 or the scale, at random; long enough for windows of this length."""
        key, needed = (name, values.dtype), 2**WINDOW_BITS + length
        row = self.rows.get(key)
        if row is None or len(row) < needed or row.device != values.device:
            words = torch.empty(-(-needed // 4), dtype=torch.int64)
            words.random_(-(2**63), None, generator=generator(self.seed, "dropout", name))
            zeroed = max(1, round(rate * LEVELS))
            kept = words.view(torch.int16) >= zeroed - LEVELS // 2
            row = self.rows[key] = kept.to(values.device, values.dtype).mul_(LEVELS / (LEVELS - zeroed))
        return row


def rate_of(layer: nn.Module) -> float:
    """Return which fraction a layer drops, so that it can be replaced; 0 if it is another kind of layer."""
    if isinstance(layer, UNITS + CHANNELS):
        return layer.p
    if getattr(layer, "mode", "row") == "row":
        return float(getattr(layer, SAMPLES.get(type(layer).__name__, ""), None) or 0.0)
    return 0.0
