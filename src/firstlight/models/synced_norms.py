"""Batch norms whose statistics are those of the whole batch, of which several processes have a share each.

With local statistics the result would depend on how many processes there are, and a share of a few images would make
them noisy. PyTorch's own `SyncBatchNorm` needs GPUs, and stays in the network; this computes the same on any device,
right for shares of different sizes too, and leaves the network as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from firstlight.models.replaced import replaced

Sum = Callable[[Tensor], Tensor]  # of a tensor over all processes, in place


class SyncedNorms:
    """The batch norms of a network, timm's with an activation inside among them.

    Those that are frozen, or in evaluation mode, use their own statistics as always.

    Args:
        network: its layers are replaced only within `synced`.
        total: returns the sum of a tensor over all processes.
    """

    def __init__(self, network: nn.Module, total: Sum) -> None:
        norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
        self.forwards = {layer: partial(normalize, layer, total) for layer in norms}

    @contextmanager
    def synced(self) -> Iterator[None]:
        """Within the block, use the statistics of all processes."""
        with replaced(self.forwards):
            yield


def normalize(layer: _BatchNorm, total: Sum, values: Tensor) -> Tensor:
    """Return what a batch norm maps `values` to, float `[B, C, ...]`, by the statistics over all processes."""
    if not layer.training:
        return type(layer).forward(layer, values)  # type: ignore[no-any-return]  # torch leaves it untyped
    mean, variance, count = statistics(values.detach(), total)
    if layer.track_running_stats:
        update(layer, mean, variance, count)
    with torch.autocast(values.device.type, enabled=False):
        found: Tensor = _Normalize.apply(
            values, layer.weight, layer.bias, mean.float(), variance.float(), layer.eps, count, total
        )
    if hasattr(layer, "act"):  # timm's
        found = layer.act(layer.drop(found))
    return found


def statistics(values: Tensor, total: Sum) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance of each channel, float64 `[C]`, and how many values each has, `[1]`, over all processes."""
    count = values.numel() // values.shape[1]  # at least one, so that no share may be empty
    mean, variance = torch.ops.aten.batch_norm_update_stats(values, None, None, 0.0)
    mean, variance = mean.double(), variance.double()
    sums = torch.cat([count * mean, count * (variance + mean.square()), mean.new_tensor([count])])
    *columns, counts = total(sums).split([len(mean), len(mean), 1])
    mean, square = (column / counts for column in columns)
    return mean, (square - mean.square()).clamp_min(0.0), counts


@torch.no_grad()
def update(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Move the running statistics towards those of a batch, as PyTorch does."""
    assert layer.running_mean is not None and layer.running_var is not None and layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    weight = 1.0 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean.to(layer.running_mean), weight)
    layer.running_var.lerp_((variance * count / (count - 1)).to(layer.running_var), weight)


class _Normalize(torch.autograd.Function):
    """`weight * (values - mean) / sqrt(variance + eps) + bias`, where mean and variance depend on all values."""

    @staticmethod
    def forward(  # noqa: D102 - as autograd wants it
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float,
        count: Tensor, total: Sum,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(values, weight, mean, variance)
        ctx.eps, ctx.count, ctx.total = eps, count, total
        return functional.batch_norm(values, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102 - likewise
        values, weight, mean, variance = ctx.saved_tensors
        # as if the statistics were constants ...
        found, weights, biases = torch.ops.aten.native_batch_norm_backward(
            gradients[0], values, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        # ... less what they take away from every value, of all processes
        sums = ctx.total(torch.cat([weights, biases]).double()) / ctx.count
        slope, level = (column.float() for column in sums.split(len(mean)))
        scale = (variance + ctx.eps).rsqrt() * (1.0 if weight is None else weight)
        found -= functional.batch_norm(values, mean, variance, scale * slope, scale * level, training=False, eps=ctx.eps)
        return found, weights, biases, *[None] * 5
