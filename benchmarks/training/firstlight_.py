"""firstlight: its loader and its training loop on the arrays of the contest."""

import numpy as np
import torch
from contest import Contest, Split
from recipes import architecture_of, in_words, number_type, recipe_for

from firstlight.data.loader import Loader
from firstlight.inference.collect import collect
from firstlight.models.classifier import Classifier
from firstlight.runtime.processors import set_up_process
from firstlight.training.defaults import complete
from firstlight.training.loop import train_epochs
from firstlight.training.state import Epoch, TrainState


def loader(split: Split, **choices: object) -> Loader:
    """Return a loader of a split on the processor."""
    rows = np.arange(len(split.labels))
    return Loader(split.images, split.labels, rows, device=torch.device("cpu"), **choices)


def main() -> None:
    """Train and score."""
    set_up_process()
    contest = Contest("firstlight", nets=("mlp", "cnn"))
    choices = contest.choices
    train, valid, _ = contest.load()
    height, width, channels = train.images.shape[1:]
    recipe = recipe_for(choices.net, choices.set, choices.target, choices.seed, choices.epochs)
    recipe = complete(recipe, color=channels == 3, images=len(train.labels))
    choices.epochs = recipe.optimization.epochs
    torch.manual_seed(recipe.seed)
    classes = tuple(map(str, np.unique(train.labels)))
    size = (channels, height, width)
    classifier = Classifier(architecture=architecture_of(recipe, size), classes=classes, input_size=size)
    classifier.fit_normalization(torch.from_numpy(train.images[::10]).permute(0, 3, 1, 2))
    batches = loader(train, batch_size=recipe.optimization.batch_size, seed=recipe.seed, drop_last=True)

    def accuracy(split: Split) -> float:
        collected = collect(classifier, loader(split).epoch())
        return (collected.logits.argmax(dim=1) == collected.labels).double().mean().item()

    contest.begin(accuracy)
    state = TrainState.begin(classifier, recipe)
    for row in train_epochs(state, batches, loader(valid), recipe):
        if isinstance(row, Epoch):
            contest.lap()
    dtype = number_type("cpu")
    contest.finish(in_words(recipe, dtype), ("firstlight", "torch"), dtype=dtype)


if __name__ == "__main__":
    main()
