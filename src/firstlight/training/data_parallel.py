"""How several processes train one classifier: each computes its share of a batch, and the shares are added up.

A process alone, which is the usual case, computes whole batches, and none of this costs it anything.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from torch import Tensor

from firstlight.data.loader import Batch, Whole
from firstlight.models.classifier import Classifier
from firstlight.models.synced_norms import SyncedNorms
from firstlight.runtime.distributed import World
from firstlight.training.gradient import CrossEntropy, Given, RunNetwork, backward, backward_share
from firstlight.training.gradient_sum import GradientSum


class DataParallel:
    """The work of this process, and what it has to learn from the others.

    Args:
        classifier: on the device of this process, with the same weights in all of them.
        world: the processes.
        compiled: whether the classifier runs in graphs of `torch.compile`.
    """

    def __init__(self, classifier: Classifier, world: World, *, compiled: bool = False) -> None:
        self.classifier = classifier
        self.world = world
        self.norms: SyncedNorms | None = None
        self.gradients: GradientSum | None = None
        if world.size > 1:
            self.norms = SyncedNorms(classifier.network, world.sum, compiled=compiled)
            self.gradients = GradientSum(classifier.parameters(), world)

    def __enter__(self) -> Self:
        """Collect the gradients of the classifier within the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the classifier alone again."""
        if self.gradients:
            self.gradients.remove()

    def synced(self) -> AbstractContextManager[None]:
        """Return a context in which batch norms use the statistics of whole batches."""
        return self.norms.synced() if self.norms else nullcontext()

    def backward(
        self,
        run_network: RunNetwork,
        given: Given,
        loss: CrossEntropy,
        whole: Whole | None,
        *,
        attempting: Callable[[], AbstractContextManager[None]],
        parts: int,
    ) -> tuple[Tensor, Tensor, int]:
        """Compute the gradient of the mean loss of a batch, given a share of it; see `backward` in `gradient.py`.

        Args:
            run_network: the classifier, as it is run.
            given: the images of the share, and one more where images are mixed.
            loss: of a batch.
            whole: the batch; None if the share is all of it.
            attempting: what an attempt runs in.
            parts: in how many parts one process alone begins.

        Returns:
            what the share adds to the mean loss, its logits `[b, K]`, and in how many parts it was computed.
        """
        if whole is None:
            return backward(self.classifier, run_network, given, loss, attempting=attempting, parts=parts)
        share = Given(*(column[: whole.size] for column in given))
        assert self.gradients
        self.gradients.begin()
        found = backward_share(self.classifier, run_network, share, loss, labels=whole.labels, attempting=attempting)
        self.gradients.finish()
        return *found, 1

    def gather(self, batch: Batch, loss: Tensor, logits: Tensor) -> Callable[[], tuple[Tensor, Tensor, Tensor]]:
        """Send the answers to a share to the others; return what waits for theirs.

        Args:
            batch: the share.
            loss: what it adds to the mean loss of the whole batch.
            logits: of its images, float32 `[b, K]`.

        Returns:
            a function that returns the mean loss of the whole batch, its logits `[B, K]`, and its rows `[B]`.
        """
        whole = batch.whole
        if whole is None:
            return lambda: (loss, logits, batch.rows)
        sent = logits.new_zeros(len(whole.rows) + 1, logits.shape[1])  # nothing but a share, in its place, and the loss
        sent[whole.first : whole.first + whole.size] = logits
        sent[-1, 0] = loss
        arrived = self.world.sum_later(sent)

        def wait() -> tuple[Tensor, Tensor, Tensor]:
            found = arrived()
            return found[-1, 0].clone(), found[:-1], whole.rows

        return wait
