"""What a network answered about each training image in the first half of its training: the mean of its logits.

Each answer is given before the step that learns from it. An image that is labeled wrong is answered as what it looks
like for long, so that its mean margin is low. In the second half wrong labels are learned by heart, so that answers no
longer count.

Source: G. Pleiss et al., Identifying mislabeled data using the area under the margin ranking, arXiv:2001.10528.
"""

from typing import Self

import torch
from torch import Tensor

ANSWERS_COUNT_UNTIL = 0.5  # of the training that is done (LOG.md); the first epoch counts in any case
MAX_BYTES = 2**29  # kept at most; beyond, nothing is kept
UNIT = 2.0**-24  # of the sums, which are whole numbers, so that neither their order nor who adds them changes a bit
MAX_LOGIT = 2.0**20  # a larger one, and one that is no number, counts as this


class Answers:
    """Sums of the logits of each training image, and how often it was answered.

    Args:
        rows: of the training images in the store, int64 `[n]`.
        num_classes: K.
        device: where the logits are.
    """

    def __init__(self, rows: Tensor, num_classes: int, device: torch.device) -> None:
        self.place_of = torch.zeros(int(rows.max()) + 1, dtype=torch.int64, device=device)
        self.place_of[rows.to(device)] = torch.arange(len(rows), device=device)
        kept = len(rows) if len(rows) * num_classes * 8 <= MAX_BYTES else 0
        self.sums = torch.zeros(kept, num_classes, dtype=torch.int64, device=device)
        self.counts = torch.zeros(kept, 1, dtype=torch.int64, device=device)

    def add(self, rows: Tensor, logits: Tensor) -> None:
        """Add the logits `[B, K]` of the images in some rows `[B]`."""
        if len(self.sums):
            places = self.place_of[rows]
            numbers = logits.detach().float().nan_to_num(MAX_LOGIT).clamp(-MAX_LOGIT, MAX_LOGIT)
            self.sums.index_add_(0, places, (numbers / UNIT).round().long())
            self.counts.index_add_(0, places, torch.ones_like(places)[:, None])

    def mean(self) -> Tensor:
        """Return the mean logits, float32 `[n, K]`, on the CPU; NaN for an image that was never answered."""
        return (self.sums.cpu().double() * UNIT / self.counts.cpu()).float()

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of its tensors."""
        return {name: tensor.clone() for name, tensor in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, Tensor], device: torch.device) -> Self:
        """Return what `state_dict` came from."""
        answers = cls.__new__(cls)
        for name, tensor in state.items():
            setattr(answers, name, tensor.to(device, copy=True))
        return answers
