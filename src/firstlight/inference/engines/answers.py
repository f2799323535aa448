"""`Answers`: all that a model says about some images; computed here for torch, and for every file that is exported."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from firstlight.models.classifier import Classifier
from firstlight.models.strangeness import Strangeness

NOT_FINITE = "the model gives no finite number for it; its weights are broken, or too large for this number type"


class Answers(NamedTuple):
    """What a model says about B images.

    Attributes:
        probabilities: calibrated, float32 `[B, K]`.
        logits: before calibration, float32 `[B, K]`.
        features: what the head gets, float32 `[B, D]`.
        strangeness: how unlike the training images each is, float32 `[B]`; None if the model cannot tell.
    """

    probabilities: Tensor
    logits: Tensor
    features: Tensor
    strangeness: Tensor | None

    def are_finite(self) -> Tensor:
        """Return for each image whether all numbers about it are finite, bool `[B]`; if not, it has no answer."""
        columns = [column.isfinite().reshape(len(column), -1) for column in self if column is not None]
        return torch.cat(columns, dim=1).all(dim=1)


class Engine(Protocol):
    """What runs a model; several threads may use it at once."""

    name: str

    def __call__(self, images: Tensor) -> Answers:
        """Return what the model says about images, uint8 `[B, C, H, W]`."""
        ...

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits alone, float32 `[B, D]` and `[B, K]`."""
        ...


def answers_of(model: Classifier, strangeness: Strangeness | None, images: Tensor) -> Answers:
    """Return what a model says about images, uint8 `[B, C, H, W]`, on the device of the model.

    Args:
        model: in evaluation mode.
        strangeness: the score of the model's trust block, on the same device; None if it has none.
        images: of the model's input size.
    """
    features, logits = model.features_and_logits(images)
    strange = None if strangeness is None else strangeness.score(features, logits, images)
    return Answers(model.calibrated(logits), logits, features, strange)
