"""Optimisers by parameter group, and schedules as functions of progress."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from firstlight.training.recipe import Recipe

Model = TypeVar("Model", bound=nn.Module)

MATRIX_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ONE_CYCLE_START = 0.04  # of the highest learning rate
MUON_LR_RATIO = 5.0  # Muon's updates have unit scale: it takes a larger rate than the AdamW beside it
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic that drives singular values towards 1; K. Jordan, "Muon", 2024


def split_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Sort the learned parameters: matrices and filters, which decay; and norms, biases and tokens, which do not."""
    layers = (layer for layer in network.modules() if isinstance(layer, MATRIX_LAYERS))
    matrices = {id(layer.weight) for layer in layers}
    learned = [weights for weights in network.parameters() if weights.requires_grad]
    decaying = [weights for weights in learned if id(weights) in matrices]
    return decaying, [weights for weights in learned if id(weights) not in matrices]


def build_optimizers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Build what `recipe.optimizer` names; each group remembers its highest rate as `peak_lr`.

    Args:
        network: the module whose learned parameters are to be changed.
        recipe: a complete recipe.
    """
    assert recipe.lr is not None and recipe.weight_decay is not None
    decaying, plain = split_parameters(network)
    groups: list[dict[str, Any]] = [
        {"params": decaying, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer]
    if recipe.optimizer == "sgd":
        # note: SGD adds the decay to the gradient, and momentum multiplies it: it wants a smaller one than AdamW
        optimizers = [torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=True)]
    elif recipe.optimizer == "muon":
        inner, outer = decaying[:-1], decaying[-1:]  # the last matrix, the head, learns better under AdamW
        groups[0]["params"] = outer
        muon_lr = MUON_LR_RATIO * recipe.lr
        optimizers = [Muon(inner, muon_lr, recipe.momentum, recipe.weight_decay)] if inner else []
        optimizers.append(torch.optim.AdamW(groups, lr=recipe.lr, fused=True))
    else:
        optimizers = [torch.optim.AdamW(groups, lr=recipe.lr, fused=True)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_lr(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's learning rate to `factor` times its highest."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group["peak_lr"]


def one_cycle(progress: float, warmup: float) -> float:
    """Rise in a straight line during `warmup`, then fall in a straight line to zero.

    Source: L. Smith, arXiv:1708.07120; straight lines as in airbench.
    """
    if progress < warmup:
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * progress / warmup
    return (1 - progress) / max(1 - warmup, 1e-9)


def cosine(progress: float, warmup: float) -> float:
    """Rise in a straight line during `warmup`, then fall along half a cosine to zero (arXiv:1608.03983)."""
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1 - warmup, 1e-9)))


def constant(progress: float, warmup: float) -> float:
    """Rise in a straight line during `warmup`, then stay."""
    return max(progress / warmup, 1e-3) if progress < warmup else 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "one-cycle": one_cycle,
    "cosine": cosine,
    "constant": constant,
}


class MovingAverage(Generic[Model]):
    """An exponential moving average of a model's weights and statistics, which often scores better than they do.

    Args:
        model: what is averaged; the average begins there.
        decay: of the average at each update; it rises to this as `(1 + updates) / (10 + updates)`, so that the first
            weights are soon forgotten.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: Model) -> None:
        """Take the model's present weights in."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            mine.lerp_(theirs, 1 - decay) if mine.is_floating_point() else mine.copy_(theirs)


class Muon(torch.optim.Optimizer):
    """Momentum whose update, for each matrix, is replaced by the nearest orthogonal matrix.

    Args:
        params: matrices and convolution filters (taken as matrices `[out, in * k * k]`).
        lr: learning rate; an update's rows have about unit length before it.
        momentum: of the Nesterov kind.
        weight_decay: decoupled, as in AdamW.

    Source: K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no closure, nothing to give back
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                state = self.state[weights]
                if not state:
                    state["velocity"] = torch.zeros_like(weights)
                velocity = state["velocity"]
                velocity.lerp_(weights.grad, 1 - group["momentum"])
                update = weights.grad.lerp(velocity, group["momentum"])
                matrix = orthogonalise(update.reshape(len(update), -1))
                weights.mul_(1 - group["lr"] / MUON_LR_RATIO * group["weight_decay"])
                scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                weights.add_(matrix.view(update.shape), alpha=-group["lr"] * scale)


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Bring the singular values of a float matrix `[m, n]` close to 1 by Newton-Schulz iteration."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    result = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = result @ result.T
        result = a * result + (b * gram + c * gram @ gram) @ result
    orthogonal: Tensor = result.T if tall else result
    return orthogonal
