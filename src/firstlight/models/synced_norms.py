"""Batch norms whose statistics are those of the whole batch, of which several processes have a share each.

With local statistics the result would depend on how many processes there are, and a share of a few images would make
them noisy. PyTorch's own `SyncBatchNorm` needs GPUs, and stays in the network; this computes the same on any device,
right for shares of different sizes too, and leaves the network as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from firstlight.models.replaced import outside_of_graphs, replaced

Sum = Callable[[Tensor], Tensor]  # of a tensor over all processes, in place


class SyncedNorms:
    """The batch norms of a network, timm's with an activation inside among them.

    Those that are frozen, or in evaluation mode, use their own statistics as always.

    Args:
        network: its layers are replaced only within `synced`.
        total: returns the sum of a tensor over all processes.
        compiled: whether the network runs in graphs of `torch.compile`.
    """

    def __init__(self, network: nn.Module, total: Sum, *, compiled: bool = False) -> None:
        norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
        forwards: dict[nn.Module, Callable[[Tensor], Tensor]] = {
            layer: partial(normalize, layer, total) for layer in norms
        }
        self.forwards = outside_of_graphs(forwards) if compiled else forwards

    @contextmanager
    def synced(self) -> Iterator[None]:
        """Within the block, use the statistics of all processes."""
        with replaced(self.forwards):
            yield


def normalize(layer: _BatchNorm, total: Sum, values: Tensor) -> Tensor:
    """Return what a batch norm maps `values` to, float `[B, C, ...]`, by the statistics over all processes."""
    if not layer.training:
        return type(layer).forward(layer, values)
    found = statistics(values.detach(), total)
    if layer.track_running_stats:
        update(layer, found)
    with torch.autocast(values.device.type, enabled=False):
        answer: Tensor = _Normalize.apply(values, layer.weight, layer.bias, found, layer.eps, total)
    for name in ("drop", "act"):  # timm's
        if isinstance(part := getattr(layer, name, None), nn.Module):
            answer = part(answer)
    return answer


class Statistics(NamedTuple):
    """Of the values of each channel, over all processes.

    Attributes:
        mean: float64 `[C]`.
        variance: float64 `[C]`, the sum of squares divided by the count.
        number: how many values a channel has, float64 `[1]`.
    """

    mean: Tensor
    variance: Tensor
    number: Tensor


def statistics(values: Tensor, total: Sum) -> Statistics:
    """Return the statistics of each channel of float `[B, C, ...]`, where no process may have an empty share."""
    count = values.numel() // values.shape[1]
    mean, variance = (column.double() for column in torch.ops.aten.batch_norm_update_stats(values, None, None, 0.0))
    sums = total(torch.cat([count * mean, count * (variance + mean.square()), mean.new_tensor([count])]))
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    return Statistics(mean, (square - mean.square()).clamp_min(0.0), sums[-1:])


@torch.no_grad()
def update(layer: _BatchNorm, found: Statistics) -> None:
    """Move the running statistics towards those of a batch, as PyTorch does."""
    assert layer.running_mean is not None and layer.running_var is not None and layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    weight = 1.0 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    unbiased = found.variance * found.number / (found.number - 1)
    layer.running_mean.lerp_(found.mean.to(layer.running_mean), weight)
    layer.running_var.lerp_(unbiased.to(layer.running_var), weight)


class _Normalize(torch.autograd.Function):
    """`weight * (values - mean) / sqrt(variance + eps) + bias`, where mean and variance depend on all values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, *others: Any) -> Tensor:  # noqa: D102 - as autograd wants it
        weight, bias, found, ctx.eps, ctx.total = others
        mean, variance, ctx.number = found.mean.float(), found.variance.float(), found.number
        ctx.save_for_backward(values, weight, mean, variance)
        return functional.batch_norm(values, mean, variance, weight, bias, training=False, eps=ctx.eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102 - likewise
        values, weight, mean, variance = ctx.saved_tensors
        # as if the statistics were constants ...
        found, weights, biases = torch.ops.aten.native_batch_norm_backward(
            gradients[0], values, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        # ... less what they take away from every value, of all processes
        sums = ctx.total(torch.cat([weights, biases]).double()) / ctx.number
        slope, level = (column.float() for column in sums.split(len(mean)))
        scale = (variance + ctx.eps).rsqrt() * (1.0 if weight is None else weight)
        found -= functional.batch_norm(
            values, mean, variance, scale * slope, scale * level, training=False, eps=ctx.eps
        )
        return found, weights, biases, None, None, None
