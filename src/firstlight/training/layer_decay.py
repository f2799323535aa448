"""Layer-wise learning rates, gradual unfreezing and freezing: how a pretrained network is trained depends on depth.

The first layers detect edges and colors, which suit any images; the last ones detect what the network was trained to
tell apart. So when it learns other classes, the last layers have to change most.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

LAST_FRACTION = 0.25  # of the blocks, which are trained with the head for `last`
UNFREEZING_FRACTION = 0.5  # of the run, after which even the first layer is trained if unfreezing is gradual
NORMS = (nn.modules.batchnorm._NormBase,)
MIN_LIVE_BATCH = 32  # images; statistics of smaller batches are worse than the published ones
MIN_LIVE_IMAGES = 5000  # training images, likewise


class LayerSchedule(NamedTuple):
    """How a parameter is trained: its rate as a fraction of the peak rate, and the fraction of the run it starts at."""

    rate: float = 1.0
    start: float = 0.0


def layer_schedules(body: nn.Module, layer_decay: float, *, gradual: bool) -> dict[int, LayerSchedule]:
    """Return the schedule of each parameter of a pretrained body, by `id`; all others train at the full rate.

    Args:
        body: the network without its head.
        layer_decay: the rate of the first block as a fraction of the head's; those between are spaced evenly on a
            logarithmic scale (layer-wise learning-rate decay: J. Howard and S. Ruder, arXiv:1801.06146).
        gradual: start training the blocks one after another, the last one first.
    """
    found = blocks(body)
    schedules: dict[int, LayerSchedule] = {}
    for number, block in enumerate(found):
        depth = (len(found) - number) / len(found)  # 1 at the first block, near 0 at the last
        schedule = LayerSchedule(layer_decay**depth, UNFREEZING_FRACTION * depth if gradual else 0.0)
        schedules |= {id(weights): schedule for weights in block}
    return schedules


def blocks(body: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of a network in blocks, from its input to its output.

    Containers are opened, and so is any module that holds more than half of all parameters; what remains (a residual
    block, a transformer block, a convolution) is a block.
    """
    total = _size(body)

    def opened(module: nn.Module) -> Iterator[list[nn.Parameter]]:
        is_container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        if any(module.children()) and (is_container or _size(module) > total / 2):
            yield list(module.parameters(recurse=False))
            for child in module.children():
                yield from opened(child)
        else:
            yield list(module.parameters())

    return [block for block in opened(body) if block]


def freeze(body: nn.Module, trained: str, *, live_norms: bool) -> None:
    """Set which parameters of a body are trained: none (`head`), the last quarter of its blocks (`last`), or `all`.

    Args:
        body: the network without its head; frozen layers also stay in evaluation mode (see `Network.train`).
        trained: `head`, `last` or `all`.
        live_norms: whether batch norms of trained layers use the statistics of each batch, and are trained.
    """
    found = blocks(body)
    count = {"head": 0, "last": math.ceil(LAST_FRACTION * len(found)), "all": len(found)}[trained]
    body.requires_grad_(False)
    for block in found[len(found) - count :]:
        for weights in block:
            weights.requires_grad_(True)
    if not live_norms:
        for layer in body.modules():
            if isinstance(layer, NORMS):
                layer.requires_grad_(False)


def norms_are_live(choice: str, trained: str, *, batch_size: int, images: int) -> bool:
    """Return whether batch norms are live: as chosen, or for `auto` by rule.

    The rule: their statistics were taken over a million images, so they stay frozen unless the whole network is
    trained, with 32 images per batch or more and 5,000 training images or more.
    """
    if choice != "auto":
        return choice == "live"
    return trained == "all" and batch_size >= MIN_LIVE_BATCH and images >= MIN_LIVE_IMAGES


def _size(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())
