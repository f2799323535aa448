"""Interim."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from firstlight.data.loader import Batch
from firstlight.errors import DataError
from firstlight.evaluation.evaluate import evaluate_logits as evaluate  # noqa
from firstlight.evaluation.mistakes import Mistake, worst_mistakes  # noqa
from firstlight.models.classifier import evaluating


class Outputs(NamedTuple):
    """What a classifier said about a set: logits float32 [n, K], labels int64 [n], rows int64 [n], on the CPU."""

    logits: Tensor
    labels: Tensor
    rows: Tensor


def collect(classifier: Callable[[Tensor], Tensor], batches: "Iterable[Batch]") -> Outputs:
    """Run `classifier` over every batch without gradients, in eval mode, and keep what it says on the CPU.

    Args:
        classifier: gives logits [B, K] for images uint8 [B, C, H, W]; a module gets its modes back after.
        batches: read once, one at a time.

    Raises:
        DataError: if there is no batch.
    """
    parts = []
    mode = evaluating(classifier) if isinstance(classifier, nn.Module) else nullcontext()
    with mode, torch.inference_mode():
        for batch in batches:
            outputs = (classifier(batch.images).float(), batch.labels, batch.rows)
            parts.append([output.cpu() for output in outputs])
    if not parts:
        raise DataError("there are no samples to score; this split is empty")
    # Outside inference mode, so that the result can be used in any later computation.
    return Outputs(*(torch.cat(column) for column in zip(*parts, strict=True)))
