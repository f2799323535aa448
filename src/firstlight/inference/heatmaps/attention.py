"""Heatmaps of vision transformers: attention weighted by gradients, followed through all blocks.

The relevance of each token for each other one begins as the identity, R = I. Every block adds what its attention A
passes on, as far as that raises the class's logit: R += E[(grad A * A)+] R, with the mean over the heads. The heatmap
is the row of the token that is classified, or the mean over all rows if the network averages its tokens.
Source: Chefer, Gur, and Wolf, "Generic Attention-model Explainability", ICCV 2021, arXiv:2103.15679.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from firstlight.inference.heatmaps.layers import Output, looking

FEWEST_BLOCKS = 2  # a network with a single attention is a convolutional one that pools by it
MOST_PREFIX_TOKENS = 16  # class, distillation, and register tokens


@dataclass(frozen=True)
class Tokens:
    """The tokens of a vision transformer.

    Attributes:
        layers: that return attention `[B, heads, N, N]`, by name, from the first block to the last.
        grid: rows and columns of the patches.
        prefix: how many tokens come before those of the patches.
        pooled: whether the network classifies the mean of its patch tokens rather than its first token.
    """

    layers: tuple[str, ...]
    grid: tuple[int, int]
    prefix: int
    pooled: bool


def show_attention(network: nn.Module) -> None:
    """Make timm's attention layers compute their attention step by step, where it can be seen; answers stay."""
    for layer in network.modules():
        if hasattr(layer, "attn_drop") and hasattr(layer, "fused_attn"):
            layer.fused_attn = False  # type: ignore[assignment]  # a plain attribute, not a parameter or a module


def tokens_of(network: nn.Module, outputs: Sequence[Output]) -> Tokens | None:
    """Return the tokens of a vision transformer whose attention can be seen; None if it is something else.

    Args:
        network: after `show_attention`.
        outputs: what its layers return.
    """
    spatial = [output for output in outputs if len(output.shape) == 4]
    attentions = [output for output in spatial if output.layer.endswith("attn_drop")]
    grids = [output.shape[2:] for output in spatial if output.layer.endswith(".proj")]
    if len(attentions) < FEWEST_BLOCKS or not grids or len({output.shape[2:] for output in attentions}) > 1:
        return None
    (height, width), (queries, keys) = grids[0], attentions[0].shape[2:]
    prefix = keys - height * width
    if queries != keys or not 0 <= prefix <= MOST_PREFIX_TOKENS:
        return None
    body: Any = getattr(network, "body", network)
    pooled = prefix == 0 or str(getattr(body, "global_pool", "token")) in ("avg", "avgmax", "max", "map")
    return Tokens(tuple(output.layer for output in attentions), (height, width), prefix, pooled)


def relevance(attentions: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return how much each token draws on each other one, for a class: float `[B, N, N]`.

    Args:
        attentions: float `[B, heads, N, N]` of each block, from the first to the last.
        gradients: of the class's logit, the same shapes.
    """
    batch, _, count, _ = attentions[0].shape
    found = torch.eye(count).to(attentions[0]).expand(batch, count, count)
    for attention, gradient in zip(attentions, gradients, strict=True):
        found = found + (gradient * attention).clamp_min(0).mean(dim=1) @ found
    return found


def attention_map(network: nn.Module, tokens: Tokens, images: Tensor, classes: Tensor) -> Tensor:
    """Return the heatmap of each image for a class, float `[B, h, w]`, at least 0, one value for each patch.

    Args:
        network: whose attention layers are watched.
        tokens: of the network.
        images: normalized float `[B, C, H, W]`.
        classes: int64 `[B]`.
    """
    with looking() as seen:
        logits = network(images.clone() if images.is_inference() else images)
        gradients = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), seen)
    found = relevance([one.detach() for one in seen], gradients)
    rows = found[:, tokens.prefix :].mean(dim=1) if tokens.pooled else found[:, 0]
    return rows[:, tokens.prefix :].reshape(len(rows), *tokens.grid)
