"""Run a classifier over batches and collect its logits."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from firstlight.errors import DataError
from firstlight.models.classifier import evaluating
from firstlight.runtime.halving import in_halves
from firstlight.runtime.interrupts import raise_if_interrupted

if TYPE_CHECKING:
    from firstlight.data.loader import Batch


class Collected(NamedTuple):
    """What a classifier says about n samples, on the CPU.

    Attributes:
        logits: float32 `[n, K]`.
        labels: int64 `[n]`.
        rows: int64 `[n]`, each sample's row in the store.
        features: float32 `[n, D]`, if they were asked for.
    """

    logits: Tensor
    labels: Tensor
    rows: Tensor
    features: Tensor | None = None


@runtime_checkable
class GivesFeatures(Protocol):
    """A classifier or an engine: what gives features and logits of uint8 `[B, C, H, W]`, in one pass."""

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return float `[B, D]` and `[B, K]`."""
        ...


def collect(
    classifier: Callable[[Tensor], Tensor] | GivesFeatures, batches: "Iterable[Batch]", *, features: bool = False
) -> Collected:
    """Run a classifier over every batch, without gradients and in evaluation mode.

    Args:
        classifier: maps images uint8 `[B, C, H, W]` to logits `[B, K]`; a module gets its modes back afterwards.
        batches: read once, one at a time.
        features: also collect the features; the classifier must give them.

    Raises:
        DataError: if there is no batch.
    """
    parts = []
    mode = evaluating(classifier) if isinstance(classifier, nn.Module) else nullcontext()
    with mode, torch.inference_mode():
        for batch in batches:
            if features:
                assert isinstance(classifier, GivesFeatures), "only a classifier or an engine has features"
                seen, logits = classifier.features_and_logits(batch.images)
                found = [logits, batch.labels, batch.rows, seen]
            else:
                assert callable(classifier)
                (scores,) = in_halves(lambda images: (classifier(images).float(),), batch.images)
                assert scores is not None
                found = [scores, batch.labels, batch.rows]
            parts.append([column.cpu() for column in found])
            raise_if_interrupted()
    if not parts:
        raise DataError("there are no samples to score; this split is empty")
    # Outside inference mode, so that the result can be used in any later computation.
    return Collected(*(torch.cat(column) for column in zip(*parts, strict=True)))
