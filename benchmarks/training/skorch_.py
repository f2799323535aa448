"""skorch as in its MNIST notebook: arrays into a NeuralNetClassifier, one epoch at a time with `partial_fit`."""

import numpy as np
import torch
from contest import Contest, Split
from skorch import NeuralNetClassifier
from torch import nn, optim


def flat(split: Split) -> np.ndarray:
    """Return the images as rows of floats from 0 to 1."""
    return split.images.reshape(len(split.images), -1).astype("float32") / 255


class Mlp(nn.Module):
    """Three hidden layers with dropout; the output is logits."""

    def __init__(self, num_inputs: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(num_inputs, 512), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.2)),
            nn.Linear(128, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [B, num_classes] of rows [B, num_inputs]."""
        return self.layers(x)


def main() -> None:
    """Train and score."""
    contest = Contest("skorch")
    torch.manual_seed(contest.choices.seed)
    train, _, _ = contest.load()
    x_train = flat(train)
    net = NeuralNetClassifier(
        Mlp,
        module__num_inputs=x_train.shape[1],
        module__num_classes=len(np.unique(train.labels)),
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.Adam,
        lr=1e-3,
        max_epochs=1,  # of each `partial_fit`
        iterator_train__shuffle=True,
        train_split=None,  # train on all of it: there is a separate validation split
        verbose=0,
    )

    def accuracy(split: Split) -> float:
        return net.score(flat(split), split.labels)

    contest.begin(accuracy)
    while not contest.over:
        net.partial_fit(x_train, train.labels)
        contest.lap()
    contest.finish(
        "Adam 1e-3, batch 128 (its default), dropout 0.2, cross entropy, arrays scaled to 0..1, partial_fit per epoch",
        ("skorch", "torch"),
    )


if __name__ == "__main__":
    main()
