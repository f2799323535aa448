"""firstlight's recipes in the contest, chosen on validation data only."""

from typing import Any

from firstlight.models.spec import NetworkSpec, architecture
from firstlight.runtime.device import pick_device, pick_dtype
from firstlight.training.recipe import Recipe

# The mlp, and the cnn on Fashion-MNIST: the fastest recipe that reached the target on validation with seeds 0 to 2.
_MLP = {"epochs": 3, "batch_size": 512, "lr": 8e-3, "warmup": 0.3, "dropout": 0.0, "label_smoothing": 0.1}
_CHOICES = {
    ("mlp", "mnist", 0.98): _MLP,
    ("mlp", "fashion-mnist", 0.89): _MLP,
    ("cnn", "mnist", 0.993): {"epochs": 2, "width": 16, "batch_size": 256},
    ("cnn", "fashion-mnist", 0.925): {"epochs": 3, "width": 8, "shift": 0},
    ("cnn", "cifar10", 0.80): {"epochs": 3, "width": 24},
    ("cnn", "cifar10", 0.85): {"epochs": 6},
    ("cnn", "cifar10", 0.90): {"epochs": 14, "width": 48, "shift": 3, "tta": True},
}


def recipe_for(net: str, data_set: str, target: float, seed: int, epochs: int | None = None) -> Recipe:
    """Return the recipe that takes a network to a target on a set; by default, that of the model's defaults."""
    choices = _CHOICES.get((net, data_set, target), {})
    return Recipe.of(model=net, seed=seed, **(choices | ({"epochs": epochs} if epochs else {})))


def architecture_of(recipe: Recipe, input_size: tuple[int, int, int]) -> dict[str, Any]:
    """Return the architecture of a complete recipe for images of this size, as a `Classifier` takes it."""
    network = NetworkSpec.of(recipe.model.name, pretrained=recipe.model.pretrained)
    flip, shift = recipe.augmentation.flip, recipe.augmentation.shift
    return architecture(network, recipe.model, input_size=input_size, enlarge=False, flip=flip, shift=shift)


def in_words(recipe: Recipe, dtype: str) -> str:
    """Describe a complete recipe, and the number type of the matrix products on this machine, in one line."""
    model, training, augmentation = recipe.model, recipe.optimization, recipe.augmentation
    net = f"first block {model.width} wide" if model.name == "cnn" else f"dropout {model.dropout:g}"
    net += ", answers averaged over views" if model.tta else ""
    net += f", shifted by up to {augmentation.shift}" if augmentation.shift else ""
    net += ", mirrored" if augmentation.flip else ""
    net += f", label smoothing {training.label_smoothing:g}" if training.label_smoothing else ""
    return (
        f"{net}, {training.optimizer} {training.lr:g}, batch {training.batch_size}, {training.schedule} over "
        f"{training.epochs} epochs, products in {dtype}"
    )


def number_type(device: str = "auto") -> str:
    """Return the number type of firstlight's matrix products on a device of this machine."""
    return str(pick_dtype(pick_device(device))).removeprefix("torch.")
