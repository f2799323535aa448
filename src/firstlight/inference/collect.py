"""Run a classifier over batches and collect its logits."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from firstlight.errors import DataError
from firstlight.models.classifier import evaluating
from firstlight.runtime.distributed import world
from firstlight.runtime.halving import in_halves
from firstlight.runtime.interrupts import raise_if_interrupted

if TYPE_CHECKING:
    from firstlight.data.loader import Batch, Loader


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
    with _evaluating(classifier):
        for found in _answers(classifier, batches, features=features):
            parts.append(found)
            raise_if_interrupted()
    if not parts:
        raise DataError("there are no samples to score; this split is empty")
    # Outside inference mode, so that the result can be used in any later computation.
    return Collected(*(torch.cat(column) for column in zip(*parts, strict=True)))


def collect_together(
    classifier: Callable[[Tensor], Tensor] | GivesFeatures, loader: "Loader", *, features: bool = False
) -> Collected:
    """Do what `collect` does with all batches of a loader, each of them in one of the processes that train together.

    All of them return the whole, to the same bits as one process would. Batches are dealt out in turn. A signal that
    waits in one of them is raised in all.

    Raises:
        DataError: if there is no batch.
    """
    here = world()
    if here.size == 1 or not len(loader):
        return collect(classifier, loader.epoch(), features=features)
    own = _answers(classifier, loader.dealt(here.rank, here.size), features=features)
    parts = []
    with _evaluating(classifier):
        for _ in range(-(-len(loader) // here.size)):
            if (found := next(own, None)) is not None:
                parts.append(found)
            here.raise_if_interrupted()
    positions = torch.split(torch.arange(len(loader.rows)), loader.batch_size)
    order = torch.cat([some for rank in range(here.size) for some in positions[rank :: here.size]])

    def whole(column: int) -> Tensor:
        """Return a column of all batches, in their order; who had none to score knows its width from the others."""
        own = torch.cat([part[column] for part in parts]) if parts else None
        width = max(here.gather_json(0 if own is None else own.shape[1]))
        found = torch.cat(here.gather(torch.zeros(0, width) if own is None else own))
        return torch.empty_like(found).index_copy_(0, order, found)

    return Collected(whole(0), loader.labels, loader.rows, whole(3) if features else None)


def _answers(
    classifier: Callable[[Tensor], Tensor] | GivesFeatures, batches: "Iterable[Batch]", *, features: bool
) -> Iterator[list[Tensor]]:
    """Yield for each batch its logits, labels, rows and perhaps features, on the CPU."""
    for batch in batches:
        with torch.inference_mode():
            if features:
                assert isinstance(classifier, GivesFeatures), "only a classifier or an engine has features"
                seen, logits = classifier.features_and_logits(batch.images)
                found = [logits, batch.labels, batch.rows, seen]
            else:
                assert callable(classifier)
                (scores,) = in_halves(lambda images: (classifier(images).float(),), batch.images)
                assert scores is not None
                found = [scores, batch.labels, batch.rows]
            found = [column.cpu() for column in found]
        yield found


def _evaluating(classifier: object) -> AbstractContextManager[object]:
    """Return a context in which a module is in evaluation mode."""
    return evaluating(classifier) if isinstance(classifier, nn.Module) else nullcontext()
