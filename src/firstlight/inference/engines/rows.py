"""Do small products in steps of one size, so that a row's result does not depend on how many rows there are.

The order in which a matrix product adds up depends on its shape, and so do the last bits of its result.
"""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

ROWS = 8  # a step of one row would take as long


def in_steps(function: Callable[..., Tensor], *columns: Tensor, rows: int = ROWS) -> Tensor:
    """Return what a function returns for columns of one length, called with `rows` rows at a time.

    Args:
        function: maps tensors `[rows, ...]` to one, `[rows, ...]`, row by row.
        columns: `[B, ...]` each; the last row stands for those that are missing in the last step.
        rows: in one step.
    """
    found = []
    for start in range(0, len(columns[0]), rows):
        parts = [column[start : start + rows] for column in columns]
        missing = rows - len(parts[0])
        if missing:
            parts = [torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) for part in parts]
        found.append(function(*parts)[: rows - missing])
    return found[0] if len(found) == 1 else torch.cat(found)


def steps_for(*weights: Tensor) -> int:
    """Return in steps of how many rows products with these weights, `[N, D]`, give each row the same bits: 8 or 1."""
    for weight in weights:
        row = torch.rand(weight.shape[1], generator=torch.Generator().manual_seed(0)).to(weight)
        found = row.expand(ROWS, -1).contiguous() @ weight.T
        if not torch.equal(found, found[:1].expand_as(found)):
            return 1
    return ROWS


class SteadyLinear(nn.Linear):
    """A linear layer whose result for a row does not depend on the other rows."""

    rows: int

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """Return the same layer; the two share their weights."""
        made = cls.__new__(cls)
        vars(made).update(vars(layer))
        made.rows = steps_for(layer.weight.detach())
        return made

    def forward(self, input: Tensor) -> Tensor:
        """Map `[B, D]` to `[B, K]`."""
        return in_steps(super().forward, input, rows=self.rows)
