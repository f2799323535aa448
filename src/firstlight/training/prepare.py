"""What stands before the first step: the pictures made ready, the recipe complete, the classifier fresh."""

import numpy as np
import torch

from firstlight.data.dataset import Dataset, open_samples, split_samples
from firstlight.data.samples import Samples
from firstlight.data.store import USUAL_SIDE
from firstlight.errors import RecipeError
from firstlight.models.classifier import Classifier
from firstlight.models.networks import initialise
from firstlight.models.weights import load_state_dict_file, load_weights
from firstlight.runtime import derive_seed, generator
from firstlight.training.recipe import Recipe

ADAPT_PICTURES = 5000  # training pictures that mean, deviation and whitening are computed from


def prepare_data(samples: Samples, recipe: Recipe) -> tuple[Dataset, Recipe]:
    """Pack and split the pictures, and fill the recipe's open choices with what suits the model and the pictures."""
    usual = USUAL_SIDE
    if ":" in recipe.model:
        from firstlight.models.backbones import recommended_input_size

        usual = recommended_input_size(recipe.model)[1]
    store = open_samples(
        samples,
        size=recipe.img_size,
        usual=usual,
        fit=recipe.fit,
        workers=recipe.workers,
        allow_quarantine=recipe.allow_quarantine,
        max_pixels=recipe.max_pixels,
    )
    data = split_samples(
        samples,
        store,
        shares=recipe.split,
        group_by=recipe.group_by,
        drop_leaks=recipe.drop_leaks,
        seed=recipe.seed,
    )
    recipe = recipe.complete(colour=store.input_size[0] == 3, pictures=len(data.split.train))
    if recipe.shift and recipe.shift >= min(store.input_size[1:]):
        raise RecipeError(
            f"--shift {recipe.shift}: it must be smaller than the pictures, {store.input_size[1:]} pixels"
        )
    return data, recipe


def build_classifier(data: Dataset, recipe: Recipe, device: torch.device) -> Classifier:
    """Build the network with fresh weights that depend on the seed alone, fitted to the training pictures' colours."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive_seed(recipe.seed, "weights"))
        classifier = Classifier(
            architecture=recipe.architecture,
            classes=data.samples.classes,
            input_size=data.store.input_size,
            fit=recipe.fit,
        )
    if recipe.init != "default":
        initialise(classifier.network, recipe.init, generator(recipe.seed, "weights"))
    looked_at = data.split.train[:: max(1, len(data.split.train) // ADAPT_PICTURES)]
    pixels = np.ascontiguousarray(data.store.pixels[looked_at])
    classifier.adapt_to(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    if recipe.weights:
        state = load_state_dict_file(recipe.weights)
        whole = any(name.startswith("network.") for name in state)
        if ":" in recipe.model and not whole:
            from firstlight.models.backbones import recommended_normalisation

            classifier.normalise_as(*recommended_normalisation(recipe.model))
        load_weights(classifier if whole else classifier.network, state, source=recipe.weights)
    return classifier.to(device)
