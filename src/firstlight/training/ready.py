"""Get a run ready, before its folder is made: choose the network, pack and split the images, build the classifier."""

from dataclasses import dataclass, replace

import torch

from firstlight.data.dataset import Dataset
from firstlight.data.plan import require_split
from firstlight.data.samples import Samples
from firstlight.models.classifier import Classifier
from firstlight.models.downloads import Weights
from firstlight.progress import announce
from firstlight.runtime.device import pick_device, require_compiler
from firstlight.runtime.distributed import world
from firstlight.runtime.processors import default_workers
from firstlight.training.build import build_classifier
from firstlight.training.choice import choose_network
from firstlight.training.defaults import require_views
from firstlight.training.prepare import prepare
from firstlight.training.recipe import Recipe

BYTES_OF_NUMBER = 4  # float32
COPIES_IN_STATE = 5  # of the weights: as they are, their average, the best ones, and two moments


@dataclass(frozen=True)
class Ready:
    """All that a run needs before its folder is made.

    Attributes:
        data: packed and split.
        recipe: complete.
        classifier: with its first weights, on its device.
        weights: the pretrained ones; None if there are none.
        choice: of the network, in a line for people.
        device: where it is trained.
    """

    data: Dataset
    recipe: Recipe
    classifier: Classifier
    weights: Weights | None
    choice: str
    device: torch.device

    @property
    def bytes_of_run(self) -> int:
        """About how many bytes the run folder takes at its largest: two models, two states, and the outputs."""
        weights: int = sum(tensor.nbytes for tensor in self.classifier.state_dict().values())
        num_classes, split = len(self.data.samples.classes), self.data.split
        images = sum(len(split.rows(part)) for part in ("train", "valid", "test"))
        outputs = images * (num_classes + self.classifier.network.num_features) * BYTES_OF_NUMBER
        if self.weights is not None and not self.recipe.transfer.ladder and self.recipe.transfer.finetune == "none":
            return 2 * weights + outputs
        states = 2 * (COPIES_IN_STATE * weights + len(split.train) * num_classes * BYTES_OF_NUMBER)
        return 2 * weights + outputs + states


def make_ready(samples: Samples, recipe: Recipe) -> Ready:
    """Choose the network, pack and split the images, and build the classifier of a run.

    Raises:
        UserError: if the data or the recipe cannot be used.
    """
    device = pick_device(recipe.device)
    require_split(recipe.data.split)
    if recipe.optimization.compile:
        require_compiler()
    choice = choose_network(samples, recipe, device_type=device.type)
    network, weights = choice.network, choice.weights
    if recipe.model.name != network.name:
        announce(choice.line)
    recipe = recipe.replace(model=network.name)
    require_views(recipe)
    data, recipe = prepare(samples, recipe, network)
    data = replace(data, notes=(*data.notes, *choice.notes))
    classifier = build_classifier(data, recipe, network, weights, device)
    return Ready(data, recipe, classifier, weights, choice.line, device)


def what_begins(data: Dataset, recipe: Recipe, device: str) -> str:
    """Return a line about the network, the images and the device of a run, for people."""
    _, height, width = data.store.input_size
    counts = {split: len(data.split.rows(split)) for split in ("train", "valid", "test")}
    return (
        f"training {recipe.model.name} at {width} x {height} pixels, {len(data.samples.classes):,} classes: "
        f"{counts['train']:,} pictures to train on, {counts['valid']:,} to validate, {counts['test']:,} to test, "
        f"on {device}"
    )


def who_trains(data: Dataset, recipe: Recipe) -> str | None:
    """Return a line about the processes that train together, for people; None where there is only one."""
    here = world()
    if here.size == 1:
        return None
    assert recipe.optimization.batch_size
    batch = min(recipe.optimization.batch_size, len(data.split.train))
    shares = sorted({-(-batch // here.size), batch // here.size}, reverse=True)
    machines, threads = -(-here.size // here.local_size), torch.get_num_threads()
    on = "1 machine" if machines == 1 else f"{machines:,} machines"
    words = f"{here.size:,} processes on {on}, {' or '.join(f'{share:,}' for share in shares)} pictures each per step"
    spare = default_workers() // (here.local_size * threads)
    if spare > 1 and recipe.device in ("auto", "cpu") and not torch.cuda.is_available():
        words += f"; each uses {threads} of its {threads * spare} processors: set OMP_NUM_THREADS={threads * spare}"
    return words
