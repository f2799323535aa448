"""Keras as in its MNIST example: a Sequential model and `model.fit`; KERAS_BACKEND selects torch or jax."""

import keras
import numpy as np
from contest import Contest, Split
from keras import layers


def scaled(split: Split) -> np.ndarray:
    """Return the images as floats from 0 to 1."""
    return split.images.astype("float32") / 255


class Lap(keras.callbacks.Callback):
    """Reports a lap after every epoch."""

    def __init__(self, contest: Contest) -> None:
        super().__init__()
        self.contest = contest

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """End the epoch."""
        self.contest.lap()
        self.model.stop_training = self.contest.over


def main() -> None:
    """Train and score."""
    backend = keras.backend.backend()
    contest = Contest(f"keras-{backend}")
    keras.utils.set_random_seed(contest.choices.seed)
    train, _, _ = contest.load()
    x_train = scaled(train)
    model = keras.Sequential(
        [
            keras.Input(shape=x_train.shape[1:]),
            layers.Flatten(),
            *(layers.Dense(512, activation="relu"), layers.Dropout(0.2)),
            *(layers.Dense(256, activation="relu"), layers.Dropout(0.2)),
            *(layers.Dense(128, activation="relu"), layers.Dropout(0.2)),
            layers.Dense(len(np.unique(train.labels)), activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])

    def accuracy(split: Split) -> float:
        return float((model.predict(scaled(split), batch_size=1024, verbose=0).argmax(axis=1) == split.labels).mean())

    contest.begin(accuracy)
    epochs = contest.choices.epochs or contest.choices.most_epochs
    model.fit(x_train, train.labels, batch_size=128, epochs=epochs, verbose=0, callbacks=[Lap(contest)])
    contest.finish(
        f"Adam 1e-3 (its default), batch 128, dropout 0.2, arrays scaled to 0..1, model.fit on {backend}",
        ("keras", backend),
    )


if __name__ == "__main__":
    main()
