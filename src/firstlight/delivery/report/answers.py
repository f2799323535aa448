"""The answers that a report is about: one for each test image."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.evaluation.softmax import Softmax
from firstlight.runs.outputs import Outputs


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model said about n images.

    Attributes:
        names: of the images.
        labels: int64 `[n]`.
        predicted: the most probable class, int64 `[n]`.
        confidence: its calibrated probability, float64 `[n]`.
        of_label: that of the label, float64 `[n]`.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    of_label: NDArray[np.float64]

    @classmethod
    def of(cls, outputs: Outputs, temperature: float) -> "Answers":
        """Return the answers in the outputs of a split."""
        softmax = Softmax.of(torch.from_numpy(outputs.logits), temperature)
        of_label = softmax.probability(torch.from_numpy(outputs.labels))
        predicted = outputs.logits.argmax(axis=1).astype(np.int64)
        return cls(outputs.names, outputs.labels, predicted, softmax.confidence.numpy(), of_label.numpy())

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each answer is its label, bool `[n]`."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right

    @cached_property
    def worst(self) -> NDArray[np.int64]:
        """The positions of the wrong answers, the most confident first, int64."""
        wrong = np.flatnonzero(~self.right)
        order = np.lexsort([wrong, self.of_label[wrong], -self.confidence[wrong]])
        return wrong[order].astype(np.int64)
