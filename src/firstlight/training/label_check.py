"""Look at the labels of a set before training: features, heads that never saw the image, and its neighbors."""

import numpy as np
from numpy.typing import NDArray

from firstlight.data.dataset import Dataset, open_store
from firstlight.data.groups import image_groups
from firstlight.data.samples import Samples
from firstlight.data.split import SplitRows
from firstlight.evaluation.mixed_up import mixed_up_classes
from firstlight.progress import announce, phase
from firstlight.runs.outputs import Outputs
from firstlight.runs.suspects import LabelCheck
from firstlight.runtime.device import pick_device
from firstlight.training.build import build_classifier
from firstlight.training.choice import Choice, choose_network
from firstlight.training.defaults import complete
from firstlight.training.recipe import Recipe
from firstlight.training.suspects import as_suspects
from firstlight.training.transfer.exact_head import Problem, assign_folds, fit_head, fit_head_by_folds
from firstlight.training.transfer.features import Features, extract_features
from firstlight.training.transfer.patches import patch_features

FEW_IMAGES = 1_000  # up to which all folds choose the penalty of the head; of more, one does
HELD_OUT_SLOPE = 1e-4  # of the loss, where the search for a head that judges labels ends
MIN_IMAGES = 10  # of a class; below, its labels can hardly be judged


def check_labels(samples: Samples, recipe: Recipe | None = None) -> LabelCheck:
    """Return what the images of a set say about its labels; training is not needed for it.

    Photographs are seen by the network that `train` would take, small images by filters made of their own patches.

    Args:
        samples: the set.
        recipe: the choices of a run, of which the network, the size and the device count.

    Raises:
        DataError: if too many images cannot be used.
        ModelFileError: if the weights cannot be read.
    """
    recipe = recipe or Recipe()
    data, choice = _usable_images(samples, recipe)
    rows, classes = data.split.train, samples.classes
    labels = samples.labels[rows]
    counts = np.bincount(labels, minlength=len(classes))
    small = tuple(name for name, count in zip(classes, counts, strict=True) if count < MIN_IMAGES)
    groups = image_groups(samples, data.store.duplicates)[rows]
    if len(np.unique(groups)) < 2 or (counts > 0).sum() < 2:
        announce("the labels cannot be judged: it takes two classes and two different pictures at least")
        return LabelCheck((), (), classes)
    features = _features(data, recipe, choice)
    logits = held_out_logits(features, labels, groups, len(classes), seed=recipe.seed)
    said = Outputs(tuple(samples.names[row] for row in rows), labels, logits, np.array(features))
    return LabelCheck(as_suspects(said, groups, classes), mixed_up_classes(logits, labels, classes), small)


@phase("judging labels")
def held_out_logits(
    features: Features, labels: NDArray[np.int64], groups: NDArray[np.int64], num_classes: int, *, seed: int = 0
) -> NDArray[np.float32]:
    """Return for every image the logits of a head that saw neither it nor its group, float32 `[n, K]`.

    Args:
        features: float32 `[n, D]`.
        labels: int64 `[n]`.
        groups: int64 `[n]`; images of a group stay together.
        num_classes: K.
        seed: of the folds.
    """
    fold_of = assign_folds(labels, groups, seed=seed)
    if len(labels) <= FEW_IMAGES or len(np.unique(fold_of)) < 2:
        head = fit_head_by_folds(features, labels, groups, num_classes, seed=seed)
        assert head.held_out_logits is not None
        return head.held_out_logits.float().numpy()
    asked = fold_of == 0
    problem = Problem(features[~asked], labels[~asked], num_classes)
    strength = fit_head(problem, features[asked], labels[asked]).strength
    whole = Problem(features, labels, num_classes)
    return whole.out_of_fold(fold_of, strength, HELD_OUT_SLOPE).float().numpy()


def label_features(samples: Samples, recipe: Recipe) -> tuple[Features, Dataset]:
    """Return features of all usable images, and these images as a set without a split."""
    data, choice = _usable_images(samples, recipe)
    return _features(data, recipe, choice), data


def _usable_images(samples: Samples, recipe: Recipe) -> tuple[Dataset, Choice]:
    """Return all usable images as a set without a split, and the network that `train` would take."""
    choice = choose_network(samples, recipe, device_type=pick_device(recipe.device).type)
    side, resize = choice.network.default_side, choice.network.default_resize
    store = open_store(samples, default_side=side, resize=resize, allow_quarantine=True)
    nothing = np.zeros(0, np.int64)
    return Dataset(samples, store, SplitRows(store.usable, nothing, nothing), [], []), choice


def _features(data: Dataset, recipe: Recipe, choice: Choice) -> Features:
    """Return the features of these images, float32 `[n, D]`."""
    store, network = data.store, choice.network
    if choice.weights is None:
        return patch_features(store.pixels, store.usable, recipe.seed)
    recipe = complete(
        recipe.replace(model=network.name),
        color=store.input_size[0] == 3,
        images=len(store.usable),
        resize=network.default_resize,
        side=min(store.input_size[1:]),
    )
    classifier = build_classifier(data, recipe, network, choice.weights, pick_device(recipe.device))
    return extract_features(classifier, data, store.usable, choice.weights.sha256)
