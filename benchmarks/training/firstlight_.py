"""firstlight: its loader and its loop on the arrays of the contest."""

import numpy as np
import torch
from contest import Contest, Split
from recipes import in_words, number_type, recipe_for

from firstlight.data.loader import Loader
from firstlight.evaluation.evaluate import collect
from firstlight.models.classifier import Classifier
from firstlight.runtime.processors import set_up_process
from firstlight.training.loop import train as train_epochs


def loader(split: Split, **choices: object) -> Loader:
    """Give batches of a split on the processor."""
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
    recipe = recipe.complete(color=channels == 3, images=len(train.labels))
    choices.epochs = recipe.epochs
    torch.manual_seed(recipe.seed)
    classes = tuple(map(str, np.unique(train.labels)))
    classifier = Classifier(architecture=recipe.architecture, classes=classes, input_size=(channels, height, width))
    classifier.adapt_to(torch.from_numpy(train.images[::10]).permute(0, 3, 1, 2))
    batches = loader(train, batch_size=recipe.batch_size, seed=recipe.seed, drop_last=True)

    def accuracy(split: Split) -> float:
        seen = collect(classifier, loader(split).epoch())
        return (seen.logits.argmax(dim=1) == seen.labels).double().mean().item()

    contest.begin(accuracy)
    for _ in train_epochs(classifier, batches, loader(valid), recipe):
        contest.lap()
    dtype = number_type("cpu")
    contest.finish(in_words(recipe, dtype), ("firstlight", "torch"), dtype=dtype)


if __name__ == "__main__":
    main()
