"""The gradient of one batch: at once, or in parts where the memory of a GPU cannot take it at once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from firstlight.errors import RunError, TrainingError
from firstlight.models.classifier import Classifier
from firstlight.runtime.memory import free_device_memory, is_out_of_gpu_memory

LEAST_PICTURES = 2  # in a part: layers that normalize over a batch need two


@dataclass(frozen=True)
class CrossEntropy:
    """The loss of a batch.

    Attributes:
        weights: of each class, float32 `[K]`; None if all count the same.
        smoothing: of the labels, 0 to 1.
    """

    weights: Tensor | None
    smoothing: float

    def mean(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over a batch: logits `[B, K]`, targets int64 `[B]` or float32 `[B, K]`."""
        return functional.cross_entropy(logits, targets, weight=self.weights, label_smoothing=self.smoothing)

    def share(self, logits: Tensor, targets: Tensor, total: Tensor | int) -> Tensor:
        """Return what a part of a batch adds to the mean over the whole batch, whose `total` is known."""
        sums = functional.cross_entropy(
            logits, targets, weight=self.weights, label_smoothing=self.smoothing, reduction="sum"
        )
        return sums / total

    def total(self, labels: Tensor, *, mixed: bool) -> Tensor | int:
        """Return what the sum of a batch is divided by: its size, or the sum of the weights of its labels.

        Args:
            labels: of the whole batch, int64 `[B]`.
            mixed: whether the targets are not these labels, but probabilities for each image.
        """
        if self.weights is None or mixed:
            return len(labels)
        return self.weights[labels].sum()


class Given(NamedTuple):
    """What the gradient is computed from.

    Attributes:
        images: uint8 `[B, C, H, W]`.
        keys: of the masks of dropout, int64 `[B]`.
        targets: int64 `[B]` or float32 `[B, K]`.
    """

    images: Tensor
    keys: Tensor
    targets: Tensor


RunNetwork = Callable[[Tensor, Tensor], Tensor]  # maps images and keys to logits


def backward(
    classifier: Classifier,
    run_network: RunNetwork,
    batch: Given,
    loss: CrossEntropy,
    *,
    attempting: Callable[[], AbstractContextManager[None]],
    parts: int,
) -> tuple[Tensor, Tensor, int]:
    """Compute the gradient of the mean loss of a batch, in twice as many parts as long as memory runs out.

    The gradients of the parts add up to that of the batch, whatever their number. Only batch normalization sees the
    difference. An attempt that fails leaves no trace.

    Args:
        classifier: gets the gradient, in place of the one before.
        run_network: the same, as it is run.
        batch: the images, their keys and their targets.
        loss: of a batch.
        attempting: what an attempt runs in, such as with a seed.
        parts: how many to begin with.

    Returns:
        the loss, the logits `[B, K]` without gradient, and how many parts there were.

    Raises:
        TrainingError: if there is not even enough memory for the smallest parts.
    """
    images = batch.images
    statistics = list(classifier.network.buffers())
    before = [buffer.clone() for buffer in statistics]
    while True:
        try:
            classifier.zero_grad()
            with attempting():
                found = _in_parts(run_network, batch, loss, parts)
        except RuntimeError as error:
            if not is_out_of_gpu_memory(error):
                raise
            found = None  # note: what the attempt left is free only after this block
        if found is not None:
            return *found, parts
        classifier.zero_grad()
        free_device_memory(images.device)
        with torch.no_grad():
            for buffer, value in zip(statistics, before, strict=True):
                buffer.copy_(value)
        if len(images) // (2 * parts) < LEAST_PICTURES:
            raise TrainingError(
                f"{images.device} does not have enough memory even for {-(-len(images) // parts)} pictures at a time; "
                "use a smaller `img_size`, a smaller `model`, or `device` cpu"
            )
        parts *= 2


def backward_share(
    classifier: Classifier,
    run_network: RunNetwork,
    share: Given,
    loss: CrossEntropy,
    *,
    labels: Tensor,
    attempting: Callable[[], AbstractContextManager[None]],
) -> tuple[Tensor, Tensor]:
    """Compute this process's share of the gradient of the mean loss of a batch; the shares add up to the gradient.

    Args:
        classifier: gets the share, in place of the gradient before.
        run_network: the same, as it is run.
        share: of the batch.
        loss: of a batch.
        labels: of the whole batch, int64 `[B]`.
        attempting: what it runs in, such as with a seed.

    Returns:
        what the share adds to the mean loss of the batch, and its logits `[b, K]` without gradient.

    Raises:
        RunError: if the memory of the GPU runs out. It ends the run: in parts, the processes would wait forever.
    """
    classifier.zero_grad()
    try:
        with attempting():
            logits = run_network(share.images, share.keys)
            total = loss.total(labels, mixed=share.targets.ndim > 1)
            part = loss.share(logits, share.targets, total)
            part.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    except RuntimeError as error:
        if not is_out_of_gpu_memory(error):
            raise
        raise RunError(
            f"{share.images.device} does not have enough memory for {len(share.images)} pictures at a time; "
            f"use a `batch_size` below {len(labels)}, a smaller `img_size`, or more processes"
        ) from None
    return part.detach(), logits.detach()


def _in_parts(run_network: RunNetwork, batch: Given, loss: CrossEntropy, parts: int) -> tuple[Tensor, Tensor]:
    images, keys, targets = batch
    if parts == 1:
        logits = run_network(images, keys)
        mean = loss.mean(logits, targets)
        mean.backward()  # type: ignore[no-untyped-call]  # likewise
        return mean.detach(), logits.detach()
    total, shares, answers = loss.total(targets, mixed=targets.ndim > 1), [], []
    for part in zip(*(column.tensor_split(parts) for column in batch), strict=True):
        logits = run_network(*part[:2])
        share = loss.share(logits, part[2], total)
        share.backward()  # type: ignore[no-untyped-call]  # likewise
        shares.append(share.detach())
        answers.append(logits.detach())
    return torch.stack(shares).sum(), torch.cat(answers)
