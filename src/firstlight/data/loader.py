"""Load batches of packed images onto the device, in an order that depends only on (seed, epoch)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firstlight.data.parallel import in_order
from firstlight.data.streaming import PixelRows
from firstlight.runtime.memory import memory_left
from firstlight.runtime.seeds import generator

SCORING_BATCH_IMAGES, SCORING_BATCH_PIXELS = 500, 2**22  # at most, in a batch that is only scored

# Images that take less than this fraction of the memory left, of the GPU or of this process, are kept there.
RESIDENT_FRACTION = 0.25
HOST_RESIDENT_BYTES = 2 << 30  # and on the CPU at most this many bytes


class Whole(NamedTuple):
    """A batch of which this process loads only its share: the labels and rows of all its images.

    Attributes:
        labels: int64 `[B]`.
        rows: int64 `[B]`.
        first: the place in it of the first image of the share.
        size: how many images the share has; one that is loaded after them is there only to be mixed with the last.
    """

    labels: Tensor
    rows: Tensor
    first: int
    size: int


@dataclass(frozen=True)
class Batch:
    """Images and labels on the device.

    Attributes:
        images: uint8 `[B, C, H, W]`, channels-last.
        labels: int64 `[B]`.
        rows: int64 `[B]`, each image's row in the store.
        whole: the batch that these are a share of; None if these are all.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    whole: Whole | None = None


class Sharing(NamedTuple):
    """How several processes share each batch: in parts of about the same size, one after another.

    Attributes:
        rank: of this process.
        size: how many processes there are.
        mixing: whether the image after the share is loaded too, and after the last image the first.
    """

    rank: int = 0
    size: int = 1
    mixing: bool = False


def scoring_batch_size(height: int, width: int) -> int:
    """Return how many images of this size are scored at once."""
    return max(1, min(SCORING_BATCH_IMAGES, SCORING_BATCH_PIXELS // (height * width)))


class Loader:
    """Batches of some rows of a store.

    Args:
        pixels: uint8 `[N, H, W, C]`, in memory, memory-mapped, or checked while read.
        labels: int64 `[N]`.
        rows: which rows to yield, int64 `[n]`.
        batch_size: images per batch; the last batch of an epoch may be smaller unless `drop_last`. By default what
            suits scoring: 500, or fewer if the images are large.
        device: where batches go, by default the CPU; a set that is small enough is kept there.
        seed: of the shuffling, together with the epoch; None keeps the order of `rows`.
        balanced: draw rows, with replacement, so that all classes are equally frequent.
        drop_last: leave out a last batch that is not full.
        sharing: load only the share of this process in each batch.

    >>> from firstlight.data.dataset import open_dataset
    >>> from firstlight.data.sources import load_data
    >>> data = open_dataset(load_data("digits"))
    >>> loader = Loader(data.store.pixels, data.samples.labels, data.split.train, batch_size=256, seed=0)
    >>> [len(batch.labels) for batch in loader.epoch(1)]
    [256, 256, 256, 256, 235]
    """

    def __init__(
        self,
        pixels: PixelRows,
        labels: NDArray[np.int64],
        rows: NDArray[np.int64],
        *,
        batch_size: int | None = None,
        device: torch.device | None = None,
        seed: int | None = None,
        balanced: bool = False,
        drop_last: bool = False,
        sharing: Sharing | None = None,
    ) -> None:
        self.pixels = pixels
        self.rows = torch.from_numpy(rows)
        self.labels = torch.from_numpy(labels[rows])
        self.batch_size = batch_size or scoring_batch_size(*pixels.shape[1:3])
        self.device = device or torch.device("cpu")
        self.seed = seed
        self.balanced = balanced
        self.sharing = sharing or Sharing()
        self.batches = len(rows) // self.batch_size if drop_last else -(-len(rows) // self.batch_size)
        self.resident = self._keep_on_device() if self._fits() else None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.batches

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from batch `start` on; those before it are skipped at no cost."""
        yield from self._batches(self._positions(epoch)[start:])

    def _positions(self, epoch: int) -> list[Tensor]:
        """Return the positions of each batch of an epoch in `rows`."""
        order = self.order(epoch)[: self.batches * self.batch_size]
        return [order[first : first + self.batch_size] for first in range(0, len(order), self.batch_size)]

    def _batches(self, chosen: list[Tensor]) -> Iterator[Batch]:
        if self.resident is not None:
            pixels, labels, rows = self.resident
            for batch in chosen:
                positions = self._share_of(batch).to(self.device, non_blocking=True)
                images = pixels.index_select(0, positions).permute(0, 3, 1, 2)
                found = labels.index_select(0, positions), rows.index_select(0, positions)
                yield Batch(images, *found, self._whole(batch))
        else:
            yield from self._read_ahead(chosen)

    def dealt(self, rank: int, size: int) -> Iterator[Batch]:
        """Yield every `size`-th batch of an epoch, from batch `rank` on: those that this of `size` processes scores."""
        yield from self._batches(self._positions(0)[rank::size])

    def order(self, epoch: int) -> Tensor:
        """Return the order of an epoch as positions in `rows`, int64 `[n]`; it depends only on seed and epoch."""
        count = len(self.rows)
        if self.seed is None:
            return torch.arange(count)
        rng = generator(self.seed, "order", epoch)
        if not self.balanced:
            return torch.randperm(count, generator=rng)
        weights = (1.0 / torch.bincount(self.labels).double())[self.labels]
        return torch.multinomial(weights, count, replacement=True, generator=rng)

    def _share_of(self, batch: Tensor) -> Tensor:
        """Return the share of this process in a batch, which is given and returned as positions in `rows`."""
        rank, size, mixing = self.sharing
        share = batch.tensor_split(size)[rank]
        if mixing and size > 1:
            following = batch.roll(-1).tensor_split(size)[rank]
            return torch.cat([share, following[-1:]])
        return share

    def _whole(self, batch: Tensor) -> Whole | None:
        rank, size, _ = self.sharing
        if size == 1:
            return None
        shares = [len(share) for share in batch.tensor_split(size)]
        labels, rows = (column[batch].to(self.device, non_blocking=True) for column in (self.labels, self.rows))
        return Whole(labels, rows, sum(shares[:rank]), shares[rank])

    def _fits(self) -> bool:
        needed = len(self.rows) * int(np.prod(self.pixels.shape[1:])) * self.sharing.size
        if self.device.type == "cuda":
            return needed < RESIDENT_FRACTION * torch.cuda.mem_get_info(self.device)[0]
        return needed < min(HOST_RESIDENT_BYTES, RESIDENT_FRACTION * memory_left())

    def _keep_on_device(self) -> tuple[Tensor, Tensor, Tensor]:
        pixels = torch.from_numpy(self.pixels[self.rows.numpy()])
        return pixels.to(self.device), self.labels.to(self.device), self.rows.to(self.device)

    def _read(self, positions: Tensor) -> Batch:
        # note: by NumPy, since torch would start more threads from this one, and they would compete for the processors
        rows = self.rows.numpy()[positions.numpy()]
        in_file = np.argsort(rows)  # read in the order of the file, but keep the order of the batch
        pixels = np.empty((len(rows), *self.pixels.shape[1:]), np.uint8)
        pixels[in_file] = self.pixels[rows[in_file]]
        images = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            images = images.pin_memory()
        labels = self.labels.numpy()[positions.numpy()]
        return Batch(images.permute(0, 3, 1, 2), torch.from_numpy(labels), torch.from_numpy(rows))

    def _read_ahead(self, chosen: list[Tensor]) -> Iterator[Batch]:
        """Read the next batches from disk while the device works on this one."""
        shares = [self._share_of(batch) for batch in chosen]
        for batch, read in zip(chosen, in_order(self._read, shares, workers=1), strict=True):
            images, labels, rows = (
                tensor.to(self.device, non_blocking=True) for tensor in (read.images, read.labels, read.rows)
            )
            yield Batch(images, labels, rows, self._whole(batch))
