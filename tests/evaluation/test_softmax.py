"""The softmax of blocks is torch's, and no block is larger than promised."""

import pytest
import torch

from firstlight.evaluation import softmax
from firstlight.evaluation.softmax import Softmax, blocks


@pytest.fixture(params=[1, 7, 1 << 22])
def block(request, monkeypatch):
    monkeypatch.setattr(softmax, "BLOCK_NUMBERS", request.param)


@pytest.mark.usefixtures("block")
def test_it_is_torchs_softmax():
    logits = 30 * torch.randn(20, 9, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 9
    expected = (logits.double() / 1.5).softmax(dim=1)
    ours = Softmax.of(logits, 1.5)
    torch.testing.assert_close(torch.stack(list(ours.columns())), expected.T)
    torch.testing.assert_close(ours.confidence, expected.amax(dim=1))
    torch.testing.assert_close(ours.probability(labels), expected[range(20), labels])
    losses = torch.nn.functional.cross_entropy(logits.double() / 1.5, labels, reduction="none")
    torch.testing.assert_close(ours.log_loss(labels), losses)


def test_blocks_cover_everything_once_and_hold_no_more_than_promised():
    for length, width in ((0, 5), (1, 1), (100, 1 << 30), (40_000, 10_000)):
        found = list(blocks(length, width))
        assert [row for rows in found for row in range(length)[rows]] == list(range(length))
        assert all(len(range(length)[rows]) * width <= max(softmax.BLOCK_NUMBERS, width) for rows in found)
