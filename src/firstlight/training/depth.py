"""How deep each layer of a pretrained network lies, and what follows for its learning.

The first layers see edges and colors, which serve any images; the last ones see what the network was trained to
tell apart. So when it learns our classes the last ones move most: layer-wise learning rates, gradual unfreezing, and
freezing are all functions of depth.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from firstlight.models.library_network import LibraryNetwork

LAST_FRACTION = 0.25  # of the blocks, that learn with the head where `last` is asked for
GRADUAL_FRACTION = 0.5  # of the run, after which even the first layer learns if unfreezing is gradual
NORMS = (nn.modules.batchnorm._NormBase,)
LIVE_BATCH, LIVE_IMAGES = 32, 5000  # fewer a step, or in all, give statistics worse than those that were published


class Pace(NamedTuple):
    """How fast parameters learn: a share of the highest learning rate, from a share of the run on."""

    rate: float = 1.0
    opens: float = 0.0


def paces(network: nn.Module, layer_decay: float, *, gradual: bool) -> dict[int, Pace]:
    """Give the pace of the body's parameters, by `id`; what is not there learns at full pace from the start.

    Args:
        network: a `LinearProbe`; of another network every layer learns at full pace.
        layer_decay: the first block's rate as a share of the head's; the blocks between lie evenly on a logarithmic
            scale (layer-wise learning-rate decay: J. Howard and S. Ruder, arXiv:1801.06146).
        gradual: let the blocks begin one after another, the last one first.
    """
    if not isinstance(network, LibraryNetwork):
        return {}
    found = blocks(network.body)
    given: dict[int, Pace] = {}
    for number, block in enumerate(found):
        depth = (len(found) - number) / len(found)  # 1 at the first block, near 0 at the last
        pace = Pace(layer_decay**depth, GRADUAL_FRACTION * depth if gradual else 0.0)
        given |= {id(weights): pace for weights in block}
    return given


def blocks(body: nn.Module) -> list[list[nn.Parameter]]:
    """Cut a network into blocks of parameters, in the order in which images pass them.

    Containers are opened, and so is any module that holds more than half of all the parameters; what remains
    (a residual block, a transformer's block, a convolution) is a block.
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


def freeze(network: LibraryNetwork, learning: str, *, live_norms: bool) -> None:
    """Let the head learn, and of the body nothing (`head`), the last quarter of its blocks (`last`), or `all`.

    Args:
        probe: whose parameters' `requires_grad` is set; a frozen layer also stays in evaluation mode.
        learning: `head`, `last` or `all`.
        live_norms: whether batch norms of what learns take the statistics of each batch, and learn.
    """
    found = blocks(network.body)
    count = {"head": 0, "last": math.ceil(LAST_FRACTION * len(found)), "all": len(found)}[learning]
    network.requires_grad_(False)
    network.head.requires_grad_(True)
    for block in found[len(found) - count :]:
        for weights in block:
            weights.requires_grad_(True)
    if not live_norms:
        for layer in network.body.modules():
            if isinstance(layer, NORMS):
                layer.requires_grad_(False)


def norms_live(choice: str, learning: str, *, batch_size: int, images: int) -> bool:
    """Decide about batch norms: `live`, `frozen`, or by rule (`auto`).

    The rule: their statistics were taken over a million images. They stay frozen, unless the whole network learns,
    from at least 32 images a step and 5,000 in all.
    """
    if choice != "auto":
        return choice == "live"
    return learning == "all" and batch_size >= LIVE_BATCH and images >= LIVE_IMAGES


def _size(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())
