"""Norms over several processes against PyTorch's own over the whole batch."""

import copy

import pytest
import torch
from tests.worlds import in_ranks
from timm.layers import BatchNormAct2d
from torch import nn

from firstlight.models.synced_norms import SyncedNorms

SHARES = (slice(0, 5), slice(5, 6), slice(6, 12))


def with_parameters(norm):
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0, generator=torch.manual_seed(1))
        norm.bias.uniform_(-1.0, 1.0, generator=torch.manual_seed(2))
    return norm


def run(norm, values, wanted):
    values = values.clone().requires_grad_()
    answer = norm(values)
    (answer * wanted + answer.pow(3)).sum().backward()
    return answer.detach(), values.grad, norm.weight.grad, norm.bias.grad


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: nn.BatchNorm2d(4), (12, 4, 5, 3)),
        (lambda: nn.BatchNorm2d(4, momentum=None), (12, 4, 5, 3)),
        (lambda: nn.BatchNorm1d(4, track_running_stats=False), (12, 4)),
        (lambda: BatchNormAct2d(4, inplace=False), (12, 4, 5, 3)),
    ],
)
def test_shares_of_any_size_give_what_the_whole_batch_gives(make, size):
    norm = with_parameters(make())
    values = 3 * torch.randn(size, generator=torch.manual_seed(3)) + 100
    wanted = torch.randn(size, generator=torch.manual_seed(4))
    copies = [copy.deepcopy(norm) for _ in SHARES]
    whole = run(norm, values, wanted)

    def work(mine):
        own = copies[mine.rank]
        with SyncedNorms(nn.Sequential(own), mine.sum).synced():
            return run(own, values[SHARES[mine.rank]], wanted[SHARES[mine.rank]])

    shares = in_ranks(3, work)
    assert "forward" not in vars(copies[0])
    answers, gradients, weights, biases = zip(*shares, strict=True)
    scale = max(part.abs().max().item() for part in whole)
    for found, expected in (
        (torch.cat(answers), whole[0]), (torch.cat(gradients), whole[1]),
        (sum(weights), whole[2]), (sum(biases), whole[3]),
    ):  # fmt: skip
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * scale)
    for one in copies:
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, norm.state_dict()[name], rtol=1e-6, atol=1e-5)
            assert torch.equal(value, copies[0].state_dict()[name]), "the same bits in all processes"


def test_statistics_of_a_norm_that_is_frozen_stay():
    norm = with_parameters(nn.BatchNorm1d(4)).eval()
    values = torch.randn(6, 4, generator=torch.manual_seed(3))

    def unasked(_tensor):
        raise AssertionError("nobody is to be asked")

    with SyncedNorms(nn.Sequential(norm), unasked).synced():
        assert torch.equal(norm(values), nn.BatchNorm1d.forward(norm, values))
    assert norm.num_batches_tracked == 0
