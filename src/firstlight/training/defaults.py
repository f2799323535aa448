"""The defaults of each kind of network, for choices that the user left open."""

from typing import Any

from firstlight.errors import RecipeError
from firstlight.training.recipe import Recipe

MIN_STEPS = 600  # training steps; for few images there are more epochs
MIN_BATCH_FOR_MUON = 128  # images per step; below it, orthogonalizing the updates takes longer than computing them

# Tuned on validation data only; see LOG.md.
DEFAULTS: dict[str, dict[str, Any]] = {
    "mlp": {
        "epochs": 12, "batch_size": 256, "optimizer": "adamw", "lr": 3e-3, "warmup": 0.2, "weight_decay": 0.02,
        "label_smoothing": 0.0, "shift": 0, "flip": False,
    },
    "cnn": {
        "epochs": 8, "batch_size": 512, "optimizer": "muon", "lr": 0.016, "warmup": 0.2, "weight_decay": 0.05,
        "label_smoothing": 0.1, "shift": 2,
    },
    "pretrained": {
        "epochs": 6, "batch_size": 32, "optimizer": "adamw", "lr": 1e-3, "warmup": 0.1, "weight_decay": 0.05,
        "label_smoothing": 0.1, "shift": 0, "crop_scale": 0.6,
    },
    "from scratch": {
        "epochs": 20, "batch_size": 32, "optimizer": "adamw", "lr": 1e-3, "warmup": 0.1, "weight_decay": 0.05,
        "label_smoothing": 0.1, "shift": 4,
    },
}  # fmt: skip  # a table reads best with few lines per row

# Of every kind of network whose row does not say otherwise.
COMMON: dict[str, Any] = {"ema": 0.0, "crop_scale": 1.0}

# Used with an optimizer other than the network's default one.
OTHER_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"lr": 4e-3},  # in place of Muon, which takes larger steps
    "sgd": {"lr": 0.05, "weight_decay": 5e-4},  # its steps are not rescaled, and momentum multiplies its weight decay
}


def kind_of_network(recipe: Recipe) -> str:
    """Return the row of `DEFAULTS` that a recipe takes."""
    if recipe.model.is_pretrained:
        return "pretrained"
    return recipe.model.name if recipe.model.name in DEFAULTS else "from scratch"


def complete(recipe: Recipe, *, color: bool, images: int, resize: str = "crop", side: int | None = None) -> Recipe:
    """Return the recipe with every open choice filled in, as the record of the run.

    Args:
        recipe: what the user chose.
        color: whether the images have color. Only those are mirrored by default, since signs and letters, which must
            not be, are mostly gray.
        images: the number of training images. With few of them batches are smaller, and there are more epochs, so that
            there are always `MIN_STEPS` steps.
        resize: how images are resized where the user did not say.
        side: the shorter side of the packed images, in pixels; a default shift stays below it.

    Raises:
        RecipeError: if `tta` is on, but training uses no views to average over.
    """
    kind = kind_of_network(recipe)
    defaults = {"flip": color, "resize": resize, **COMMON, **DEFAULTS[kind]}
    if side is not None:
        defaults["shift"] = min(defaults["shift"], side - 1)
    chosen = recipe.flat()
    largest = 1 << max(4, (images // 32).bit_length() - 1)
    batch_size = chosen["batch_size"] or min(defaults["batch_size"], largest)
    optimizer = chosen["optimizer"] or ("adamw" if batch_size < MIN_BATCH_FOR_MUON else defaults["optimizer"])
    if optimizer != defaults["optimizer"]:
        defaults |= {"optimizer": optimizer, **OTHER_OPTIMIZERS.get(optimizer, {})}
    defaults["batch_size"] = batch_size
    if kind != "pretrained":  # a pretrained network needs no more epochs where there are few images
        defaults["epochs"] = max(defaults["epochs"], -(-MIN_STEPS // max(1, images // batch_size)))
    completed = recipe.replace(**{name: value for name, value in defaults.items() if chosen[name] is None})
    require_views(completed)
    return completed


def require_views(recipe: Recipe) -> None:
    """Refuse test-time augmentation if training uses no other views of an image.

    Raises:
        RecipeError: if `tta` is on, but images are neither mirrored nor shifted.
    """
    defaults, augmentation = DEFAULTS[kind_of_network(recipe)], recipe.augmentation
    flip = defaults.get("flip") if augmentation.flip is None else augmentation.flip
    shift = defaults["shift"] if augmentation.shift is None else augmentation.shift
    if recipe.model.tta and flip is False and not shift:
        raise RecipeError(
            "training uses no other views to average over; turn `flip` on, or set `shift` to 1", field="tta", value=True
        )
