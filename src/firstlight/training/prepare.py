"""The images of a run as training sees them: packed and split, with every choice made, in batches, and augmented."""

from typing import NamedTuple

import torch
from torch import Tensor

from firstlight.data.dataset import Dataset, open_dataset
from firstlight.data.loader import Loader, Sharing
from firstlight.data.samples import Samples
from firstlight.errors import RecipeError
from firstlight.models.spec import NetworkSpec
from firstlight.runtime.distributed import world
from firstlight.runtime.seeds import derive_seed
from firstlight.training.defaults import complete
from firstlight.training.recipe import Recipe


class Shown(NamedTuple):
    """Training images of one batch, uint8 `[n, C, H, W]`, and in words what each is taken for."""

    images: Tensor
    titles: list[str]


def prepare(samples: Samples, recipe: Recipe, network: NetworkSpec) -> tuple[Dataset, Recipe]:
    """Return the set packed and split as this network wants it, and the recipe with every open choice filled in.

    Raises:
        DataError: if the set cannot be trained on.
        RecipeError: if a choice does not fit the images.
    """
    data = open_dataset(
        samples,
        recipe.data,
        default_side=network.default_side,
        default_resize=network.default_resize,
        seed=recipe.seed,
    )
    recipe = complete(
        recipe.replace(model=network.name),
        color=data.store.input_size[0] == 3,
        images=len(data.split.train),
        resize=network.default_resize,
        side=min(data.store.input_size[1:]),
    )
    recipe.augmentation.require_room(*data.store.input_size[1:])
    return data, recipe


def training_loader(data: Dataset, recipe: Recipe, device: torch.device | None = None) -> Loader:
    """Return the batches to train on, or this process's share of each if there are several; the recipe is complete.

    Raises:
        RecipeError: if there are more processes than images in a batch.
    """
    processes, asked = world(), recipe.optimization.batch_size
    assert asked
    batch_size = min(asked, len(data.split.train))
    if batch_size < processes.size:
        reason = f"{processes.size} processes share each batch, so that it needs at least as many pictures"
        raise RecipeError(reason, field="batch_size", value=batch_size)
    mixing = bool(recipe.augmentation.mixup or recipe.augmentation.cutmix)
    return data.loader(
        "train",
        device,
        batch_size=batch_size,
        seed=derive_seed(recipe.seed, "loader"),
        balanced=recipe.optimization.balance == "sampling",
        drop_last=True,
        sharing=Sharing(processes.rank, processes.size, mixing),
    )


def first_batch(data: Dataset, recipe: Recipe, count: int, epoch: int) -> Shown:
    """Return the first images of an epoch as gradient descent gets them, augmented."""
    classes = data.samples.classes
    batch = next(training_loader(data, recipe).epoch(epoch))
    images, targets = recipe.augmentation(
        batch.images, batch.labels, batch.rows, seed=recipe.seed, epoch=epoch, num_classes=len(classes)
    )
    if targets.ndim == 1:
        return Shown(images[:count], [classes[number] for number in targets[:count].tolist()])
    titles = []
    for row in targets[:count]:
        parts = [(fraction, classes[number]) for number, fraction in enumerate(row.tolist()) if fraction > 0]
        titles.append("\n".join(f"{name} {fraction:.0%}" for fraction, name in sorted(parts, reverse=True)))
    return Shown(images[:count], titles)
