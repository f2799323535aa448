"""Softmax of many samples over many classes, computed in blocks, so that it takes little memory beside the logits."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_NUMBERS = 1 << 22  # logits that are float64 at the same time: 32 MiB


def blocks(length: int, width: int) -> Iterator[slice]:
    """Yield slices of 0..length-1, each of as many rows of `width` numbers as one block holds, at least one."""
    rows = max(1, BLOCK_NUMBERS // max(width, 1))
    for start in range(0, length, rows):
        yield slice(start, start + rows)


@dataclass(frozen=True, eq=False)
class Softmax:
    """The probabilities softmax(logits / temperature), of which only what is asked for is computed, in float64.

    Attributes:
        logits: float `[n, K]`, K >= 1.
        temperature: by which they are divided.
        highest: the highest divided logit of each sample, float64 `[n]`.
        total: the sum of all exp(divided logit - highest), float64 `[n]`.
    """

    logits: Tensor
    temperature: float
    highest: Tensor
    total: Tensor

    @classmethod
    def of(cls, logits: Tensor, temperature: float = 1.0) -> "Softmax":
        """Return the softmax of logits, float `[n, K]`."""
        highest = torch.empty(len(logits), dtype=torch.float64, device=logits.device)
        total = torch.empty_like(highest)
        for rows in blocks(*logits.shape):
            scaled = logits[rows].double() / temperature
            highest[rows] = scaled.amax(dim=1)
            total[rows] = (scaled - highest[rows, None]).exp_().sum(dim=1)
        return cls(logits, temperature, highest, total)

    @property
    def confidence(self) -> Tensor:
        """The highest probability of each sample, float64 `[n]`."""
        return 1 / self.total

    def log_loss(self, labels: Tensor) -> Tensor:
        """Return the negative log probability of each sample's label, int64 `[n]`, in nats, float64 `[n]`."""
        return self.total.log() + (self.highest - self._scaled(labels))

    def probability(self, classes: Tensor) -> Tensor:
        """Return the probability of one class for each sample, int64 `[n]`, float64 `[n]`."""
        return (self._scaled(classes) - self.highest).exp() / self.total

    def columns(self) -> Iterator[Tensor]:
        """Yield the probabilities of each class in turn, float64 `[n]`."""
        for classes in blocks(self.logits.shape[1], len(self.logits)):
            scaled = self.logits[:, classes].T.double().contiguous() / self.temperature
            yield from (scaled - self.highest).exp_() / self.total

    def _scaled(self, classes: Tensor) -> Tensor:
        return self.logits.gather(1, classes[:, None])[:, 0].double() / self.temperature
