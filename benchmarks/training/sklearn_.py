"""scikit-learn: arrays into an MLPClassifier, one epoch at a time with `partial_fit`."""

import numpy as np
from contest import Contest, Split
from sklearn.neural_network import MLPClassifier


def flat(split: Split) -> np.ndarray:
    """Return the images as rows of floats from 0 to 1."""
    return split.images.reshape(len(split.images), -1).astype("float32") / 255


def main() -> None:
    """Train and score."""
    contest = Contest("scikit-learn")
    train, _, _ = contest.load()
    x_train = flat(train)
    classifier = MLPClassifier(hidden_layer_sizes=(512, 256, 128), random_state=contest.choices.seed)

    def accuracy(split: Split) -> float:
        return classifier.score(flat(split), split.labels)

    contest.begin(accuracy)
    while not contest.over:
        classifier.partial_fit(x_train, train.labels, classes=np.unique(train.labels))
        contest.lap()
    contest.finish(
        "Adam 1e-3 (its default), batch 200 (its default), no dropout, arrays scaled to 0..1, partial_fit per epoch",
        ("scikit-learn", "numpy"),
    )


if __name__ == "__main__":
    main()
