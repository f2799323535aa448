"""The loader: device batches in an order that is a function of (seed, epoch), so that any batch can be sought."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.data.parallel import in_order
from firstlight.runtime.memory import memory_left
from firstlight.runtime.seeds import generator

SCORED_AT_ONCE, SCORED_PIXELS = 500, 2**22  # images, and pixels of theirs, where nothing is learned

RESIDENT_FRACTION = 0.25  # of a GPU's free memory, or of what this process may still take; a smaller set is kept there
HOST_RESIDENT_BYTES = 2 << 30


@dataclass(frozen=True)
class Batch:
    """Images on the device: images uint8 `[B, C, H, W]` channels-last, labels and rows int64 `[B]`."""

    images: Tensor
    labels: Tensor
    rows: Tensor


def scored_at_once(height: int, width: int) -> int:
    """Say how many images of this size are scored at once."""
    return max(1, min(SCORED_AT_ONCE, SCORED_PIXELS // (height * width)))


class Loader:
    """Batches of some rows of a store.

    Args:
        pixels: uint8 `[N, H, W, C]`, in memory or memory-mapped.
        labels: int64 `[N]`.
        rows: which rows to give, int64 `[n]`.
        batch_size: the last batch of an epoch may be smaller unless `drop_last`; by default what suits scoring, fewer
            of large images, whose layers take memory.
        device: where batches go; a set that fits there is kept there.
        seed: shuffles, together with the epoch; None gives the rows in their order.
        balanced: draw rows, with replacement, so that every class is as frequent as the others.
        drop_last: leave out a last batch that is not full.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        rows: NDArray[np.int64],
        *,
        batch_size: int | None = None,
        device: torch.device,
        seed: int | None = None,
        balanced: bool = False,
        drop_last: bool = False,
    ) -> None:
        self.pixels = pixels
        self.rows = torch.from_numpy(rows)
        self.labels = torch.from_numpy(labels[rows])
        self.batch_size = batch_size or scored_at_once(*pixels.shape[1:3])
        self.device = device
        self.seed = seed
        self.balanced = balanced
        self.batches = len(rows) // self.batch_size if drop_last else -(-len(rows) // self.batch_size)
        self.resident = self._keep_on_device() if self._fits() else None

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self.batches

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Give the batches of an epoch, from batch `start` on; skipping costs nothing."""
        order = self.order(epoch)[: self.batches * self.batch_size]
        chosen = [order[first : first + self.batch_size] for first in range(0, len(order), self.batch_size)][start:]
        if self.resident is not None:
            pixels, labels, rows = self.resident
            for positions in chosen:
                here = positions.to(self.device, non_blocking=True)
                images = pixels.index_select(0, here).permute(0, 3, 1, 2)
                yield Batch(images, labels.index_select(0, here), rows.index_select(0, here))
        else:
            yield from self._read_ahead(chosen)

    def order(self, epoch: int) -> Tensor:
        """The positions of an epoch, int64 `[n]`: a function of the seed and the epoch alone."""
        count = len(self.rows)
        if self.seed is None:
            return torch.arange(count)
        rng = generator(self.seed, "order", epoch)
        if not self.balanced:
            return torch.randperm(count, generator=rng)
        weights = (1.0 / torch.bincount(self.labels).double())[self.labels]
        return torch.multinomial(weights, count, replacement=True, generator=rng)

    def _fits(self) -> bool:
        needed = len(self.rows) * int(np.prod(self.pixels.shape[1:]))
        if self.device.type == "cuda":
            return needed < RESIDENT_FRACTION * torch.cuda.mem_get_info(self.device)[0]
        return needed < min(HOST_RESIDENT_BYTES, RESIDENT_FRACTION * memory_left())

    def _keep_on_device(self) -> tuple[Tensor, Tensor, Tensor]:
        pixels = torch.from_numpy(self.pixels[self.rows.numpy()])
        return pixels.to(self.device), self.labels.to(self.device), self.rows.to(self.device)

    def _read(self, positions: Tensor) -> Batch:
        # note: by NumPy, since torch would start threads for this one too, and all of them would fight over the cores
        rows = self.rows.numpy()[positions.numpy()]
        in_file = np.argsort(rows)  # pages are read in the order of the file; the batch keeps its own
        pixels = np.empty((len(rows), *self.pixels.shape[1:]), np.uint8)
        pixels[in_file] = self.pixels[rows[in_file]]
        images = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            images = images.pin_memory()
        labels = self.labels.numpy()[positions.numpy()]
        return Batch(images.permute(0, 3, 1, 2), torch.from_numpy(labels), torch.from_numpy(rows))

    def _read_ahead(self, chosen: list[Tensor]) -> Iterator[Batch]:
        """Read the next batches from disk while the device works on this one."""
        for batch in in_order(self._read, chosen, workers=1):
            yield Batch(*(part.to(self.device, non_blocking=True) for part in vars(batch).values()))
