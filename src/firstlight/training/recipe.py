"""The Recipe: every choice of a training run, in groups; the command line's flags and the run's record."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from firstlight.choices import check_choices, did_you_mean
from firstlight.data.augment import Augment
from firstlight.data.recipe import DataRecipe
from firstlight.errors import RecipeError
from firstlight.models.recipe import OWN_NETWORKS, ModelRecipe


@dataclass(frozen=True, kw_only=True)
class TransferRecipe:
    """How a pretrained network is adapted to the images; not for networks trained from scratch."""

    feature_passes: int = 1
    """Number of times to compute each training picture's features: unchanged, then mirrored, then as random crops."""
    finetune: Literal["none", "head", "last", "all"] = "none"
    """What to fine-tune, with augmentation, after solving for the linear head: nothing, the head, the head and the
    last quarter of the backbone, or everything. The result is kept only if it does better on validation."""
    ladder: bool = False
    """Fine-tune the last quarter of the backbone, then all of it, as long as each step clearly helps."""
    learning_curve: bool = False
    """Estimate how much more pictures would help, by training heads on parts of the training set."""
    layer_decay: float = 0.3
    """Learning rate of the backbone's first layers, as a fraction of the head's."""
    unfreeze: Literal["at-once", "gradual"] = "at-once"
    """Fine-tune all layers from the start, or one after another, beginning at the head."""
    norms: Literal["auto", "frozen", "live"] = "auto"
    """Whether the backbone's batch norms stay as published (frozen) or are trained (live). auto means live if all
    layers are fine-tuned, in batches of at least 32 pictures, on at least 5,000 training pictures."""

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            RecipeError: if a value is not allowed.
        """
        check_choices(self, {"feature_passes": (1, 64), "layer_decay": (1e-6, 1)})


@dataclass(frozen=True, kw_only=True)
class OptimizationRecipe:
    """How the weights are trained. None means the network's default."""

    epochs: int | None = None
    """Number of passes over the training pictures."""
    batch_size: int | None = None
    """Number of pictures per training step."""
    optimizer: Literal["adamw", "sgd", "muon"] | None = None
    """AdamW, SGD with Nesterov momentum, or Muon for weight matrices with AdamW for the rest."""
    lr: float | None = None
    """Peak learning rate."""
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    """Learning rate after the warmup: linear decay, cosine decay, or constant."""
    warmup: float | None = None
    """Fraction of the run during which the learning rate rises to its peak."""
    weight_decay: float | None = None
    """Weight decay; never applied to norms and biases."""
    momentum: float = 0.9
    """Momentum of SGD and Muon."""
    label_smoothing: float | None = None
    """Fraction of each label that is spread evenly over all classes."""
    balance: Literal["none", "weights", "sampling"] = "none"
    """What to do about rare classes: nothing, weight their loss, or draw their pictures more often."""
    clip: float | None = None
    """Maximum gradient norm; longer gradients are scaled down."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, which is then used for scoring; 0 turns it off."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number type for matrix products; auto uses bfloat16 on processors and GPUs where it is faster."""
    compile: bool = False
    """Compile the network first: slower to start, then faster. Needs a C++ compiler."""
    patience: int | None = None
    """Stop after this many epochs without improvement on validation: higher accuracy, or the same at a lower loss."""
    time_limit: float | None = None
    """Stop after this many seconds of training; the schedule is fitted to the time."""

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            RecipeError: if a value is not allowed.
        """
        check_choices(self, OPTIMIZATION_RANGES)


OPTIMIZATION_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000), "batch_size": (2, 1_000_000), "lr": (1e-9, 100), "warmup": (0, 1),
    "weight_decay": (0, 100), "momentum": (0, 0.9999), "label_smoothing": (0, 0.99), "clip": (1e-9, 1e9),
    "ema": (0, 0.99999), "patience": (1, 100_000), "time_limit": (0.001, 1e9),
}  # fmt: skip  # one line for each group of choices reads best


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every choice of a training run. `Recipe.of(model="mlp", epochs=3)` builds one from flat names."""

    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    transfer: TransferRecipe = field(default_factory=TransferRecipe)
    optimization: OptimizationRecipe = field(default_factory=OptimizationRecipe)
    augmentation: Augment = field(default_factory=Augment)
    seed: int = 0
    """Random seed. The same seed, machine, and number of threads give the same model."""
    device: str = "auto"
    """Device to use: auto (a GPU if there is one), cpu, cuda, cuda:1, or mps."""

    def __post_init__(self) -> None:
        """Check the general choices, and that no group contradicts another.

        Raises:
            RecipeError: if a value is not allowed, or contradicts another one.
        """
        for name, kind in GROUPS.items():
            if not isinstance(group := getattr(self, name), kind):
                raise RecipeError(
                    f"give a {kind.__name__}; Recipe.of(...) builds a recipe from flat names", field=name, value=group
                )
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise RecipeError("choose a whole number from 0 to 2**63 - 1", field="seed", value=self.seed)
        if not isinstance(self.device, str):
            raise RecipeError("choose auto, cpu, cuda, cuda:1 or mps", field="device", value=self.device)
        self._check_transfer()
        if self.model.tta and self.model.is_pretrained and self.model.name != "auto":
            reason = "this works only for networks trained from scratch; leave it out"
            raise RecipeError(reason, field="tta", value=True)

    def _check_transfer(self) -> None:
        """Refuse choices about transfer learning for networks that are trained from scratch."""
        if self.model.is_pretrained:
            return
        chosen = {name: value for name, value in vars(self.transfer).items() if value != getattr(NO_TRANSFER, name)}
        if self.model.weights_license != "any":
            chosen["weights_license"] = self.model.weights_license
        has_weights = self.model.name not in OWN_NETWORKS
        advice = "set `pretrained`" if has_weights else "choose one with `model`, such as auto or timm:resnet18"
        for name, value in chosen.items():
            reason = f"this needs a pretrained network, and {self.model.name} is trained from scratch; {advice}"
            raise RecipeError(reason, field=name, value=value)

    @classmethod
    def of(cls, **choices: Any) -> Self:
        """Return a recipe with these choices, by their flat names, as on the command line.

        Args:
            choices: any field of any group by its name; the network's name is `model`.

        Raises:
            RecipeError: if there is no such choice, or a value is not allowed.

        >>> Recipe.of(model="mlp", epochs=3).optimization.epochs
        3
        """
        return cls().replace(**choices)

    def replace(self, **choices: Any) -> Self:
        """Return this recipe with other choices, by their flat names; see `of`."""
        changes: dict[str, dict[str, Any]] = {}
        for name, value in choices.items():
            if name not in HOMES:
                raise RecipeError(f"there is no choice {name}{did_you_mean(name, HOMES)}")
            group, own_name = HOMES[name]
            changes.setdefault(group, {})[own_name] = value
        general = changes.pop("", {})
        groups = {group: dataclasses.replace(getattr(self, group), **values) for group, values in changes.items()}
        return dataclasses.replace(self, **general, **groups)

    def flat(self) -> dict[str, Any]:
        """Return every choice by its flat name."""
        return {name: getattr(getattr(self, group) if group else self, own) for name, (group, own) in HOMES.items()}


NO_TRANSFER = TransferRecipe()
GROUPS: dict[str, type] = {
    "data": DataRecipe,
    "model": ModelRecipe,
    "transfer": TransferRecipe,
    "optimization": OptimizationRecipe,
    "augmentation": Augment,
}


def _homes() -> dict[str, tuple[str, str]]:
    """Return for each flat name its group, empty for the general choices, and its name there."""
    homes = {}
    for group, kind in GROUPS.items():
        for choice in dataclasses.fields(kind):
            flat = "model" if (group, choice.name) == ("model", "name") else choice.name
            assert flat not in homes, f"two choices are called {flat}"
            homes[flat] = (group, choice.name)
    return homes | {"seed": ("", "seed"), "device": ("", "device")}


HOMES = _homes()
