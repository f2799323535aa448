"""The gradient of a batch in parts, against the gradient of the whole batch in float64."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from firstlight.errors import TrainingError
from firstlight.training.gradient import CrossEntropy, Given, backward

WEIGHTS = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 2, 0, 0, 1, 1])


class Greedy(nn.Module):
    """A small network in float64 whose memory takes so many images at most; it notes how many it was given."""

    def __init__(self, most, norm=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [nn.Flatten(), nn.Linear(16, 5), norm or nn.Identity(), nn.Tanh(), nn.Linear(5, 3)]
            self.network = nn.Sequential(*layers).double()
        self.most, self.seen = most, []

    def forward(self, images, keys):
        assert len(keys) == len(images)
        self.seen.append(len(images))
        logits = self.network(images.double() / 100)
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits


def gradient(built, targets, loss):
    images = torch.arange(8 * 16, dtype=torch.uint8).reshape(8, 1, 4, 4)
    given = Given(images, torch.arange(8), targets)
    mean, logits, parts = backward(built, built, given, loss, attempting=nullcontext, parts=1)
    return [weights.grad.clone() for weights in built.parameters()], mean, logits, parts


@pytest.mark.parametrize("most", [2, 3, 5])
@pytest.mark.parametrize("targets", [LABELS, torch.rand(8, 3, generator=torch.manual_seed(1)).double().softmax(dim=1)])
@pytest.mark.parametrize("loss", [CrossEntropy(None, 0.0), CrossEntropy(WEIGHTS, 0.1)])
def test_where_memory_runs_out_the_parts_of_a_batch_add_up_to_its_gradient(most, targets, loss):
    whole, mean, logits, parts = gradient(Greedy(8), targets, loss)
    assert parts == 1
    greedy = Greedy(most)
    found, mean_in_parts, logits_in_parts, parts = gradient(greedy, targets, loss)
    assert parts == (2 if most > 3 else 4) and max(greedy.seen[-parts:]) <= most
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(mean_in_parts, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(logits_in_parts, logits, rtol=1e-12, atol=1e-14)


def test_an_attempt_that_fails_leaves_no_trace_in_the_statistics_of_a_batch():
    norm = nn.BatchNorm1d(5)
    greedy = Greedy(4, norm)
    *_, parts = gradient(greedy, LABELS, CrossEntropy(None, 0.0))
    assert (greedy.seen, parts) == ([8, 4, 4], 2)
    assert norm.num_batches_tracked == 2, "of the two parts, and not of the attempt"


def test_memory_that_takes_not_even_two_pictures_is_the_users_error():
    with pytest.raises(
        TrainingError, match=r"not have enough memory even for 2 pictures at a time; use a smaller `img_size`"
    ):
        gradient(Greedy(1), LABELS, CrossEntropy(None, 0.0))
