"""What stands before the first step: weights found, images made ready, the recipe complete, the classifier built."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from firstlight.data.dataset import Dataset, open_samples, split_samples
from firstlight.data.samples import Samples
from firstlight.data.store import USUAL_SIDE
from firstlight.errors import RecipeError
from firstlight.models.classifier import Classifier
from firstlight.models.downloads import Weights, find_weights
from firstlight.models.libraries import published
from firstlight.models.library_network import LibraryNetwork
from firstlight.models.networks import initialize
from firstlight.models.pretrained import Word, choose_backbone, load_pretrained
from firstlight.models.weights import load_state_dict_file, load_weights
from firstlight.runtime.seeds import derive_seed, generator
from firstlight.training.recipe import Recipe

ADAPT_IMAGES = 5000  # training images that mean, deviation and whitening are computed from


def name_backbone(samples: Samples, recipe: Recipe, device: torch.device) -> Recipe:
    """Choose the backbone where only a word says which, and let its published weights say how images are cut."""
    if recipe.backbone is None:
        return recipe
    name = recipe.backbone
    if ":" not in name:
        name = choose_backbone(cast(Word, name), device.type, len(samples))
    fraction = published(name).crop
    resize = recipe.resize or ("crop" if fraction == 1 else f"crop:{fraction:.4g}")
    return dataclasses.replace(recipe, backbone=name, model=name, resize=resize)


def find_pretrained(recipe: Recipe) -> Weights | None:
    """Find the weights of the backbone, before anything long is done.

    Raises:
        UserError: if they are not here and cannot be fetched, are not what they should be, or their license is refused.
    """
    if recipe.backbone is None:
        return None
    file = Path(recipe.weights) if recipe.weights else None
    return find_weights(recipe.backbone, file, license=recipe.weights_license)


def prepare_data(samples: Samples, recipe: Recipe) -> tuple[Dataset, Recipe]:
    """Pack and split the images, and fill the recipe's open choices with what suits the model and the images."""
    usual = USUAL_SIDE
    if ":" in recipe.model:
        usual = published(recipe.model).input_size[1]
    store = open_samples(
        samples,
        size=recipe.img_size,
        usual=usual,
        resize=recipe.resize or "crop",
        workers=recipe.workers,
        allow_quarantine=recipe.allow_quarantine,
        max_pixels=recipe.max_pixels,
    )
    data = split_samples(
        samples,
        store,
        fractions=recipe.split,
        group_by=recipe.group_by,
        drop_leaks=recipe.drop_leaks,
        seed=recipe.seed,
    )
    recipe = recipe.complete(color=store.input_size[0] == 3, images=len(data.split.train))
    if recipe.shift and recipe.shift >= min(store.input_size[1:]):
        raise RecipeError(
            f"--shift {recipe.shift}: it must be smaller than the pictures, {store.input_size[1:]} pixels"
        )
    return data, recipe


def build_classifier(
    data: Dataset, recipe: Recipe, device: torch.device, pretrained: Weights | None = None
) -> Classifier:
    """Build the network with fresh weights that depend on the seed alone, fitted to the training images' colors.

    Args:
        data: the images.
        recipe: complete.
        device: where the classifier shall be.
        pretrained: the weights of `recipe.backbone`, which then gets a new head and the colors it was trained on.
    """
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive_seed(recipe.seed, "weights"))
        classifier = Classifier(
            architecture=_architecture(data, recipe),
            classes=data.samples.classes,
            input_size=data.store.input_size,
            resize=recipe.resize or "crop",
        )
    if recipe.init != "default":
        initialize(classifier.network, recipe.init, generator(recipe.seed, "weights"))
    if pretrained is not None:
        assert isinstance(classifier.network, LibraryNetwork)
        load_pretrained(classifier.network, recipe.model, pretrained)
        classifier.normalize_as(*published(recipe.model).normalization(data.store.input_size[0]))
        return classifier.to(device)
    looked_at = data.split.train[:: max(1, len(data.split.train) // ADAPT_IMAGES)]
    pixels = np.ascontiguousarray(data.store.pixels[looked_at])
    classifier.adapt_to(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    if recipe.weights:
        state = load_state_dict_file(recipe.weights)
        whole = any(name.startswith("network.") for name in state)
        if ":" in recipe.model and not whole:
            classifier.normalize_as(*published(recipe.model).normalization(data.store.input_size[0]))
        load_weights(classifier if whole else classifier.network, state, source=recipe.weights)
    return classifier.to(device)


def _architecture(data: Dataset, recipe: Recipe) -> dict[str, Any]:
    """Say which network; small images that kept their own size are enlarged for a backbone inside it."""
    if recipe.backbone is None:
        return recipe.architecture
    _, *sides = data.store.input_size
    usual = published(recipe.backbone).input_size[1]
    enlarged = {} if recipe.img_size or max(sides) >= usual else {"side": usual}
    return {"name": recipe.backbone, "head": "linear", **enlarged}
