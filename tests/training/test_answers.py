"""What a network answers while it is trained is added up by image, and survives an interruption."""

import torch

from firstlight.training import answers as answers_module
from firstlight.training.answers import Answers

CPU = torch.device("cpu")


def test_the_mean_is_that_of_each_image_in_the_order_of_the_rows():
    answers = Answers(torch.tensor([7, 2, 5]), 2, CPU)
    answers.add(torch.tensor([5, 7]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    answers.add(torch.tensor([7, 7]), torch.tensor([[0.0, 0.0], [3.0, 2.0]]))
    mean = answers.mean()
    assert mean[[0, 2]].tolist() == [[2.0, 2.0], [1.0, 2.0]]
    assert mean[1].isnan().all(), "an image that was never answered has no answer"


def test_it_continues_from_its_state_which_later_answers_do_not_change():
    answers = Answers(torch.arange(3), 2, CPU)
    answers.add(torch.arange(3), torch.ones(3, 2))
    state = answers.state_dict()
    answers.add(torch.arange(3), 3 * torch.ones(3, 2))
    resumed = Answers.from_state(state, CPU)
    assert resumed.mean().eq(1).all()
    resumed.add(torch.arange(3), 3 * torch.ones(3, 2))
    assert torch.equal(resumed.mean(), answers.mean())
    assert Answers.from_state(state, CPU).mean().eq(1).all()


def test_of_too_many_numbers_none_is_kept(monkeypatch):
    monkeypatch.setattr(answers_module, "MAX_BYTES", 47)
    answers = Answers(torch.arange(3), 2, CPU)
    answers.add(torch.arange(3), torch.ones(3, 2))
    assert answers.mean().shape == (0, 2)
