"""The Recipe: every choice of a run in one frozen dataclass; the command line's flags and the run's record."""

import dataclasses
import json
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from firstlight.errors import RecipeError
from firstlight.resize import parse_resize

OWN_NETWORKS = ("mlp", "cnn")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every choice of a run. A choice that is None takes the model's own default, listed in `DEFAULTS`."""

    data_root: str | None = None
    """Where named sets are looked for, and downloaded to; else FIRSTLIGHT_DATA, else the user's cache folder."""
    img_size: int | None = None
    """Side of the square that pictures are brought to, in pixels; small pictures that are all alike keep theirs."""
    resize: str | None = None
    """How a picture becomes that square: crop cuts its center out, crop:0.875 cuts the rim off as well, pad, squash; by
    default as the backbone's weights were made for, else crop."""
    max_pixels: int = 50_000_000
    """A picture of more pixels is set aside before it is decoded."""
    allow_quarantine: bool = False
    """Go on even if more than 1 % of the pictures cannot be used."""
    split: str = "70/15/15"
    """Shares of train/valid/test, or the split.csv of an earlier run to follow; official splits are kept."""
    group_by: str | None = None
    """Pictures that must stay together: 'folder', or a regular expression on their names."""
    drop_leaks: bool = False
    """Take training pictures out that have a copy in the validation or test part of an official split."""

    model: str = "cnn"
    """The network: mlp, cnn, timm:NAME or torchvision:NAME."""
    hidden: tuple[int, ...] = (512, 256, 128)
    """Widths of the mlp's hidden layers."""
    width: int = 32
    """Width of the cnn's first block; the second is three times, the third six times as wide."""
    dropout: float = 0.2
    """Share of the mlp's hidden units that is silenced at each training step."""
    init: Literal["default", "zero", "normal"] = "default"
    """First weights: PyTorch's own, the same with zero biases, or normal with standard deviation 0.01."""
    weights: str | None = None
    """Start from the weights in this file: a model.safetensors of ours, or a plain .safetensors or .pth state dict, of
    the same network; with as many classes, unless it is for a --backbone. A backbone's own are found without it."""

    backbone: str | None = None
    """Build on a network that has seen a million pictures: timm:NAME, torchvision:NAME, auto, fast, balanced, best."""
    weights_license: Literal["any", "permissive"] = "any"
    """Refuse weights whose license is not known to allow any use."""
    views: int = 1
    """Features of so many views of each training picture: as it is, mirrored, then random cuts."""
    finetune: Literal["none", "head", "last", "all"] = "none"
    """After the exact head, train by gradient with augmentation: the head, the last quarter of the backbone too, or
    all of it; what does not validate better is not kept."""
    ladder: bool = False
    """Fine-tune the last quarter, then all, as long as each step is worth it."""
    learning_curve: bool = False
    """Tell what more pictures would give, from heads on parts of those that there are."""
    layer_decay: float = 0.3
    """Learning rate of a backbone's first layers, as a share of the head's."""
    unfreeze: Literal["at-once", "gradual"] = "at-once"
    """Fine-tune all layers from the start, or from the head down, one after another."""
    norms: Literal["auto", "frozen", "live"] = "auto"
    """A backbone's batch norms: as they were published, or learning; auto lets them learn with all layers, at 32
    pictures a step and 5,000 in all."""

    epochs: int | None = None
    """How often every training picture is seen."""
    batch_size: int | None = None
    """Pictures a training step."""
    optimizer: Literal["adamw", "sgd", "muon"] | None = None
    """AdamW, SGD with Nesterov momentum, or Muon for the matrices and AdamW for the rest."""
    lr: float | None = None
    """Highest learning rate."""
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    """Learning rate over the run: up then down in straight lines, down along a cosine, or constant."""
    warmup: float | None = None
    """Share of the run in which the learning rate rises."""
    weight_decay: float | None = None
    """Pull of the weights towards zero; never on norms and biases."""
    momentum: float = 0.9
    """Momentum of SGD and Muon."""
    label_smoothing: float | None = None
    """Share of each label that is spread over all classes."""
    balance: Literal["none", "weights", "sampling"] = "none"
    """Rare classes: leave them rare, weigh their loss, or draw their pictures more often."""
    clip: float | None = None
    """Longest gradient allowed; longer ones are scaled down."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, which is then what is scored; 0 turns it off."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number type of the heavy arithmetic; auto takes bfloat16 where this machine gains from it."""
    compile: bool = False
    """Compile the network first: slower to start, then faster where a compiler is installed."""
    patience: int | None = None
    """Stop after so many epochs without a better one by validation: more accurate, or as accurate at a lower loss."""
    time_limit: float | None = None
    """Stop after so many seconds of training; the schedule is fitted to the time."""

    flip: bool | None = None
    """Mirror training pictures at random; by default color pictures are."""
    shift: int | None = None
    """Shift training pictures by up to so many pixels."""
    crop_scale: float | None = None
    """Below 1: cut out a random part of at least this share of a training picture, and enlarge it."""
    rotate: float = 0.0
    """Turn training pictures by up to so many degrees."""
    color_jitter: float = 0.0
    """Change brightness, contrast and saturation of training pictures by up to this share."""
    erase: float = 0.0
    """Probability that a rectangle of a training picture is blanked."""
    mixup: float = 0.0
    """Blend pairs of training pictures, with weights from Beta(this, this)."""
    cutmix: float = 0.0
    """Paste a part of another training picture, its size from Beta(this, this)."""
    tta: bool = False
    """Test-time augmentation: answer with the mean over a picture and, as far as training shows them, its mirror image
    and both moved by a pixel; more accurate, and up to six times the work of every answer, also to validation pictures
    after each epoch."""

    seed: int = 0
    """Everything random follows from it."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    workers: int | None = None
    """Threads that decode pictures; the result does not depend on it."""

    def __post_init__(self) -> None:
        """Refuse, in one line, what cannot be.

        Raises:
            RecipeError: names the field, its value and what it may be.
        """
        for name, hint in get_type_hints(Recipe).items():
            if not _fits(getattr(self, name), hint):
                raise RecipeError(f"--{name.replace('_', '-')} {getattr(self, name)!r}: {_expected(hint)} is wanted")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise RecipeError(f"--{name.replace('_', '-')} {value}: give a number from {low:g} to {high:g}")
        for name, values in _literal_choices().items():
            if (value := getattr(self, name)) is not None and value not in values:
                raise RecipeError(f"--{name.replace('_', '-')} {value}: choose {', '.join(map(str, values))}")
        if self.model not in OWN_NETWORKS and not self.model.startswith(("timm:", "torchvision:")):
            choices = ", ".join((*OWN_NETWORKS, "timm:NAME", "torchvision:NAME"))
            raise RecipeError(f"--model {self.model}: there is no such network; choose {choices}")
        if self.resize is not None:
            parse_resize(self.resize)
        self._check_backbone()
        self._check_views()
        if not self.hidden or min(self.hidden) < 1:
            raise RecipeError(f"--hidden {' '.join(map(str, self.hidden))}: give one width above zero for each layer")

    def _check_backbone(self) -> None:
        if self.backbone is None:
            for name, idle in ONLY_BACKBONES.items():
                if getattr(self, name) != idle:
                    flag = f"--{name.replace('_', '-')}"
                    raise RecipeError(f"{flag} is about a pretrained network; name one with --backbone")
        elif not self.backbone.startswith(("timm:", "torchvision:")) and self.backbone not in BACKBONE_WORDS:
            choices = ", ".join(("timm:NAME", "torchvision:NAME", *BACKBONE_WORDS))
            raise RecipeError(f"--backbone {self.backbone}: there is no such network; choose {choices}")
        elif self.tta:
            raise RecipeError("--tta is for networks that are trained from nothing; leave it out with --backbone")
        elif self.model not in ("cnn", self.backbone):  # the default, or what a record of such a run says
            raise RecipeError(f"--model {self.model} and --backbone {self.backbone} are two networks; name one of them")

    def _check_views(self) -> None:
        usual = DEFAULTS[self._kind]
        flip = usual.get("flip") if self.flip is None else self.flip
        shift = usual["shift"] if self.shift is None else self.shift
        if self.tta and flip is False and not shift:
            raise RecipeError("--tta: training shows no other views to average over; add --flip or --shift 1")

    @property
    def _kind(self) -> str:
        """Which row of `DEFAULTS` it takes."""
        return "backbone" if self.backbone else self.model if self.model in DEFAULTS else "network"

    @property
    def architecture(self) -> dict[str, Any]:
        """What a `models.classifier.Classifier` needs to know."""
        shown = "+".join(kind for kind, seen in (("mirror", self.flip), ("move", self.shift)) if seen)
        own: dict[str, dict[str, Any]] = {
            "mlp": {"hidden": list(self.hidden), "dropout": self.dropout},
            "cnn": {"width": self.width},
        }
        return {"name": self.model} | own.get(self.model, {}) | ({"tta": shown} if self.tta and shown else {})

    def complete(self, *, color: bool, images: int) -> "Recipe":
        """Fill every choice that was left open with what suits the model and the set, as the record of the run.

        Args:
            color: whether the pictures have color; only those are mirrored unasked, since signs and letters,
                which must not be, are mostly gray.
            pictures: how many there are to train on; few get smaller batches and more epochs, so that there are
                always `FEWEST_STEPS` steps to learn in.

        Raises:
            RecipeError: if training shows no views for `tta`.
        """
        defaults = {"flip": color, "resize": "crop", "ema": 0.0, "crop_scale": 1.0, **DEFAULTS[self._kind]}
        room = 1 << max(4, (images // 32).bit_length() - 1)
        batch_size = self.batch_size or min(defaults["batch_size"], room)
        optimizer = self.optimizer or ("adamw" if batch_size < MUON_PAYS else defaults["optimizer"])
        if optimizer != defaults["optimizer"]:
            defaults |= {"optimizer": optimizer, **OTHER_OPTIMIZERS.get(optimizer, {})}
        defaults["batch_size"] = batch_size
        if not self.backbone:  # which knows what to look for already
            steps = max(1, images // batch_size)
            defaults["epochs"] = max(defaults["epochs"], -(-FEWEST_STEPS // steps))
        left_open = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **left_open)


BACKBONE_WORDS = ("auto", "fast", "balanced", "best")
# What means something for a backbone only, and what it is where there is none.
ONLY_BACKBONES = {
    "finetune": "none", "ladder": False, "learning_curve": False, "views": 1, "weights_license": "any",
    "layer_decay": 0.3, "unfreeze": "at-once", "norms": "auto",
}  # fmt: skip  # as below

FEWEST_STEPS = 600
MUON_PAYS = 128  # images a step; for fewer, orthogonalizing the updates takes longer than finding them

# What each model takes where the user leaves a choice open; tuned on validation data only, see LOG.md.
DEFAULTS: dict[str, dict[str, Any]] = {
    "mlp": {
        "epochs": 12, "batch_size": 256, "optimizer": "adamw", "lr": 3e-3, "warmup": 0.2, "weight_decay": 0.02,
        "label_smoothing": 0.0, "shift": 0, "flip": False,
    },
    "cnn": {
        "epochs": 8, "batch_size": 512, "optimizer": "muon", "lr": 0.016, "warmup": 0.2, "weight_decay": 0.05,
        "label_smoothing": 0.1, "shift": 2,
    },
    "backbone": {
        "epochs": 6, "batch_size": 32, "optimizer": "adamw", "lr": 1e-3, "warmup": 0.1, "weight_decay": 0.05,
        "label_smoothing": 0.1, "shift": 0, "crop_scale": 0.6,
    },
    "network": {
        "epochs": 20, "batch_size": 32, "optimizer": "adamw", "lr": 1e-3, "warmup": 0.1, "weight_decay": 0.05,
        "label_smoothing": 0.1, "shift": 4,
    },
}  # fmt: skip  # one row a model reads best as a table

# What goes with an optimizer that is not the model's own.
OTHER_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"lr": 4e-3},  # in place of Muon, whose matrices take larger steps
    "sgd": {"lr": 0.05, "weight_decay": 5e-4},  # its steps are not rescaled, and momentum multiplies its decay
}

RANGES: dict[str, tuple[float, float]] = {
    "img_size": (1, 4096), "max_pixels": (1, 2**31), "dropout": (0, 0.95), "epochs": (1, 100_000),
    "batch_size": (2, 1_000_000),
    "lr": (1e-9, 100), "warmup": (0, 1), "weight_decay": (0, 100), "momentum": (0, 0.9999),
    "label_smoothing": (0, 0.99), "clip": (1e-9, 1e9), "ema": (0, 0.99999), "patience": (1, 100_000),
    "time_limit": (0.001, 1e9), "shift": (0, 4096), "crop_scale": (0.01, 1), "rotate": (0, 180),
    "color_jitter": (0, 1), "erase": (0, 1), "mixup": (0, 100), "cutmix": (0, 100), "seed": (0, 2**63 - 1),
    "workers": (1, 1024), "width": (1, 4096), "views": (1, 64), "layer_decay": (1e-6, 1),
}  # fmt: skip  # as above


def to_toml(recipe: Recipe, source: str) -> str:
    """Write a recipe as TOML, with the source it was used on; a choice that is None is left out."""
    choices = {"source": source} | {choice.name: getattr(recipe, choice.name) for choice in dataclasses.fields(recipe)}
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in choices.items() if value is not None)


def from_toml(path: Path) -> tuple[Recipe, str | None]:
    """Read a recipe, and the source if the file names one.

    Raises:
        RecipeError: if the file cannot be read, or holds a choice that does not exist or has the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8", "surrogateescape"))  # as `write_text` writes odd names
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); give the path of a recipe in TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML ({error})") from None
    known: dict[str, Any] = get_type_hints(Recipe) | {"source": str}
    for name, value in table.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise RecipeError(f"{path}: there is no choice {name}" + (f"; did you mean {near[0]}?" if near else ""))
        if not _fits(value, known[name]):
            raise RecipeError(f"{path}: {name} = {value!r} is not of type {_expected(known[name])}")
        if isinstance(value, list):
            table[name] = tuple(value)
    source = table.pop("source", None)
    return Recipe(**table), source


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    if isinstance(value, str):
        # a JSON string is a TOML basic string, but for one sign that only TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has the type that a field declares; the words of a `Literal` are checked later."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (UnionType, Union):
        return any(_fits(value, part) for part in parts)
    if kind is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, parts[0]) for item in value)
    if kind is Literal:
        return isinstance(value, str)
    if hint is NoneType:
        return value is None
    return type(value) is hint or (hint is float and type(value) is int)


def _expected(hint: Any) -> str:
    return str(hint).replace("typing.", "") if get_args(hint) else hint.__name__


def _literal_choices() -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(Recipe)
    choices = {}
    for name, hint in hints.items():
        values = [value for part in (hint, *get_args(hint)) for value in get_args(part) if isinstance(value, str)]
        if values:
            choices[name] = tuple(values)
    return choices
