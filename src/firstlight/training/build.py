"""Build the classifier of a run: its network, its first weights, and how it normalizes images."""

import numpy as np
import torch

from firstlight.data.dataset import Dataset
from firstlight.models.classifier import Classifier
from firstlight.models.downloads import Weights
from firstlight.models.networks import initialize
from firstlight.models.pretrained import load_pretrained
from firstlight.models.spec import NetworkSpec, architecture
from firstlight.models.weights import load_state_dict_file, load_weights
from firstlight.progress import phase
from firstlight.runtime.seeds import derive_seed, generator
from firstlight.training.recipe import Recipe

MAX_IMAGES_FOR_STATISTICS = 5000  # training images that mean, deviation and whitening are computed from


@phase("building the network")
def build_classifier(
    data: Dataset, recipe: Recipe, network: NetworkSpec, weights: Weights | None, device: torch.device
) -> Classifier:
    """Return a classifier whose first weights depend on the seed alone, or are pretrained.

    Args:
        data: the images; a network that is trained from scratch normalizes by the statistics of its training images.
        recipe: complete.
        network: the spec of the network.
        weights: pretrained ones, under a new head; None if it is trained from scratch.
        device: where the classifier will be.

    Raises:
        RecipeError: if the network cannot take images of this size.
        ModelFileError: if a file of weights cannot be read, or is of another network.
    """
    channels, *sides = data.store.input_size
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive_seed(recipe.seed, "weights"))
        classifier = Classifier(
            architecture=architecture(
                network,
                recipe.model,
                input_size=data.store.input_size,
                enlarge=recipe.data.img_size is None and max(sides) < network.default_side,
                flip=bool(recipe.augmentation.flip),
                shift=recipe.augmentation.shift or 0,
            ),
            classes=data.samples.classes,
            input_size=data.store.input_size,
            resize=recipe.data.resize or "crop",
            max_pixels=recipe.data.max_pixels,
            white=data.store.white,
        )
    if recipe.model.init != "default":
        initialize(classifier.network, recipe.model.init, generator(recipe.seed, "weights"))
    if weights is not None:
        load_pretrained(classifier.network, network, weights)
        classifier.normalize_as(*network.normalization(channels))
        return classifier.to(device)
    rows = data.split.train[:: max(1, len(data.split.train) // MAX_IMAGES_FOR_STATISTICS)]
    pixels = np.ascontiguousarray(data.store.pixels[rows])
    classifier.fit_normalization(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    if recipe.model.weights:
        state = load_state_dict_file(recipe.model.weights)
        whole = any(name.startswith("network.") for name in state)
        if network.is_library and not whole:
            classifier.normalize_as(*network.normalization(channels))
        load_weights(classifier if whole else classifier.network, state, source=recipe.model.weights)
    return classifier.to(device)
