"""Optimizers with parameter groups, learning-rate schedules, and the moving average of the weights."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from firstlight.training.layer_decay import LayerSchedule
from firstlight.training.recipe import OptimizationRecipe

Model = TypeVar("Model", bound=nn.Module)

MATRIX_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ONE_CYCLE_START = 0.04  # of the peak learning rate
MUON_LR_RATIO = 5.0  # Muon's updates have unit scale: it takes a larger rate than the AdamW beside it
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic that drives singular values towards 1; K. Jordan, "Muon", 2024


def split_parameters(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trained parameters: matrices and filters, which decay; and norms, biases and tokens, which do not."""
    layers = (layer for layer in network.modules() if isinstance(layer, MATRIX_LAYERS))
    matrices = {id(layer.weight) for layer in layers}
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    decaying = [weights for weights in trained if id(weights) in matrices]
    return decaying, [weights for weights in trained if id(weights) not in matrices]


def build_optimizers(
    network: nn.Module, recipe: OptimizationRecipe, schedules: Mapping[int, LayerSchedule] | None = None
) -> "list[Optimizer]":
    """Return the optimizers that `recipe.optimizer` names; each parameter group holds its peak rate as `peak_lr`.

    Args:
        network: the module whose trained parameters are to be changed.
        recipe: complete.
        schedules: by the `id` of parameters, where they do not train at the full rate from the start.
    """
    assert recipe.lr is not None and recipe.weight_decay is not None
    decaying, plain = split_parameters(network)
    schedule_of = schedules or {}

    def groups(lr: float, *kinds: tuple[list[nn.Parameter], float]) -> list[dict[str, Any]]:
        """Group parameters by kind, each with its weight decay, and by schedule."""
        gathered: dict[tuple[float, LayerSchedule], list[nn.Parameter]] = {}
        for parameters, weight_decay in kinds:
            for weights in parameters:
                key = weight_decay, schedule_of.get(id(weights), LayerSchedule())
                gathered.setdefault(key, []).append(weights)
        return [
            {"params": together, "weight_decay": weight_decay, "peak_lr": lr * rate, "start": start}
            for (weight_decay, (rate, start)), together in gathered.items()
        ]

    if recipe.optimizer == "sgd":
        # note: SGD adds the decay to the gradient, and momentum multiplies it: it wants a smaller one than AdamW
        return [SGD(groups(recipe.lr, (decaying, recipe.weight_decay), (plain, 0.0)), momentum=recipe.momentum)]
    if recipe.optimizer == "adamw":
        return [AdamW(groups(recipe.lr, (decaying, recipe.weight_decay), (plain, 0.0)))]
    inner, last = decaying[:-1], decaying[-1:]  # the last matrix, the head, trains better under AdamW
    muon = Muon(groups(MUON_LR_RATIO * recipe.lr, (inner, recipe.weight_decay)), momentum=recipe.momentum)
    return [*([muon] if inner else []), AdamW(groups(recipe.lr, (last, recipe.weight_decay), (plain, 0.0)))]


def set_lr(optimizers: "Iterable[Optimizer]", factor: float, done: float = 1.0) -> None:
    """Set the learning rate of every group to `factor` times its peak, or to zero before its start.

    Args:
        optimizers: whose groups they are.
        factor: of the schedule.
        done: the fraction of the run that is over.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group["peak_lr"] if done >= group["start"] else 0.0


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
    """An exponential moving average of a model's weights and statistics, which often scores better than the model.

    Args:
        model: what is averaged; the average starts as a copy of it.
        decay: of the average at each update; it rises to this as `(1 + updates) / (10 + updates)`, so that the first
            weights are soon forgotten.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: Model) -> None:
        """Include the present weights of the model."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            mine.lerp_(theirs, 1 - decay) if mine.is_floating_point() else mine.copy_(theirs)


class Optimizer(ABC):
    """What every optimizer shares: groups of parameters with their learning rates, and a state for each parameter.

    PyTorch's optimizers have the same `param_groups`, `state` and `step`, but import PyTorch's compiler when they are
    made, which takes a second of every run.

    Args:
        groups: each a dict of `params`, `weight_decay`, the peak learning rate `peak_lr`, and the fraction of the run
            at which it starts to train, `start`; `set_lr` changes its `lr`.
        choices: whatever else an update needs to know; the same in every group.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], **choices: Any) -> None:
        self.param_groups = [{"lr": group["peak_lr"], **choices, **group} for group in groups]
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            if trained := [weights for weights in group["params"] if weights.grad is not None]:
                self.update(trained, [weights.grad for weights in trained], group)

    @abstractmethod
    def update(self, params: list[nn.Parameter], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Change `params` in place, as each kind of optimizer does."""

    def column(self, params: list[nn.Parameter], name: str, first: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Return one entry of each parameter's state, made by `first` when it is asked for the first time."""
        states = [self.state.setdefault(weights, {}) for weights in params]
        for weights, state in zip(params, states, strict=True):
            if name not in state:
                state[name] = first(weights)
        return [state[name] for state in states]

    def state_dict(self, names: Mapping[int, str]) -> dict[str, dict[str, Tensor]]:
        """Return a copy of each parameter's state, by the parameter's name.

        Args:
            names: of the parameters, by their `id`.
        """
        return {
            names[id(weights)]: {entry: value.clone() for entry, value in state.items()}
            for weights, state in self.state.items()
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]], names: Mapping[int, str]) -> None:
        """Replace the state by a copy of what `state_dict` returned.

        Args:
            state: by the parameter's name; of a parameter that is not in it, nothing is known yet.
            names: of the parameters, by their `id`.
        """
        self.state = {}
        for group in self.param_groups:
            for weights in group["params"]:
                if (entries := state.get(names[id(weights)])) is not None:
                    self.state[weights] = {entry: _like(value, weights) for entry, value in entries.items()}


def _like(value: Tensor, weights: Tensor) -> Tensor:
    """Return a copy of an entry, on the device of its parameter, and in its memory layout if the shape is the same."""
    if value.shape == weights.shape:
        return torch.empty_like(weights, dtype=value.dtype).copy_(value)
    return value.to(weights.device, copy=True)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (arXiv:1711.05101), all parameters of a group in one fused sweep."""

    def update(self, params: list[nn.Parameter], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Step along the mean gradient, divided by the root of its mean square."""
        adamw(
            list[Tensor](params),
            gradients,
            exp_avgs=self.column(params, "mean", torch.zeros_like),
            exp_avg_sqs=self.column(params, "mean_square", torch.zeros_like),
            max_exp_avg_sqs=[],
            state_steps=self.column(params, "steps", lambda weights: torch.zeros((), device=weights.device)),
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
            fused=True,
        )


class SGD(Optimizer):
    """Gradient descent with Nesterov's momentum; `momentum` is a choice of each group."""

    def update(self, params: list[nn.Parameter], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Add the gradient to the velocity, and step along what the velocity will be."""
        momentum = group["momentum"]
        velocities = self.column(params, "velocity", torch.zeros_like)
        for weights, gradient, velocity in zip(params, gradients, velocities, strict=True):
            pull = gradient.add(weights, alpha=group["weight_decay"])
            velocity.mul_(momentum).add_(pull)
            weights.add_(pull.add_(velocity, alpha=momentum), alpha=-group["lr"])


class Muon(Optimizer):
    """Momentum whose update, for each matrix, is replaced by the nearest orthogonal matrix.

    Its parameters are matrices and convolution filters (taken as matrices `[out, in * k * k]`); an update's rows have
    about unit length before the learning rate. `momentum` is of the Nesterov kind, the weight decay decoupled.

    Source: K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def update(self, params: list[nn.Parameter], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Step along the orthogonalized momentum."""
        velocities = self.column(params, "velocity", torch.zeros_like)
        for weights, gradient, velocity in zip(params, gradients, velocities, strict=True):
            velocity.lerp_(gradient, 1 - group["momentum"])
            direction = gradient.lerp(velocity, group["momentum"])
            matrix = orthogonalize(direction.reshape(len(direction), -1))
            weights.mul_(1 - group["lr"] / MUON_LR_RATIO * group["weight_decay"])
            scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            weights.add_(matrix.view(direction.shape), alpha=-group["lr"] * scale)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Bring the singular values of a float matrix `[m, n]` close to 1 by Newton-Schulz iteration."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    result = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = result @ result.T
        result = a * result + (b * gram + c * gram @ gram) @ result
    orthogonal: Tensor = result.T if tall else result
    return orthogonal
