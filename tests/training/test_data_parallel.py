"""One, two and three processes, here as threads, train to the same losses, step by step."""

import copy

import numpy as np
import pytest
import torch
from tests.worlds import in_ranks

from firstlight.data.loader import Loader, Sharing
from firstlight.errors import RunError, TrainingError
from firstlight.models.classifier import Classifier
from firstlight.models.dropout import KeyedDropout
from firstlight.models.networks import initialize
from firstlight.runtime.distributed import World
from firstlight.training import gradient_sum
from firstlight.training.defaults import complete
from firstlight.training.loop import train_epochs
from firstlight.training.recipe import Recipe
from firstlight.training.state import Step, TrainState

BOUND = 1e-5  # of a loss: float32 sums in another order, over some steps; without the norms or the masks it is 1e-2
MLP = {"model": "mlp", "hidden": (32, 16), "dropout": 0.3}
CNN = {"model": "cnn", "width": 4, "dtype": "float32"}
CASES = {
    "mlp": MLP,
    "mlp, class weights, smoothing, clipped, averaged": MLP
    | {"balance": "weights", "label_smoothing": 0.1, "clip": 0.5, "ema": 0.9},
    "mlp, mixed, balanced": MLP | {"mixup": 0.5, "cutmix": 0.5, "balance": "sampling"},
    "cnn, moved": CNN | {"flip": True, "shift": 1},
    "cnn, mixed, muon": CNN | {"mixup": 0.5, "optimizer": "muon"},
}


def begin(digits, choices, world, *, stop_after=None, resumed=None, hook=None):
    """Return the losses of each step, and the state, of two epochs of three steps of 50 images."""
    images, labels = digits
    common = {"dtype": "float32", "epochs": 2, "batch_size": 50, "lr": 0.01}
    recipe = complete(Recipe.of(**common | choices), color=False, images=150)
    model = recipe.model
    architecture = {"name": "cnn", "width": 4}
    if choices["model"] == "mlp":
        architecture = {"name": "mlp", "hidden": list(model.hidden), "dropout": model.dropout}
    classifier = Classifier(architecture=architecture, classes=tuple("0123456789"), input_size=(1, 8, 8))
    initialize(classifier.network, "default", torch.Generator().manual_seed(7))
    if hook:
        classifier.network.register_forward_hook(hook)
    mixing = bool(recipe.augmentation.mixup or recipe.augmentation.cutmix)
    train_loader = Loader(
        images[..., None], labels, np.arange(150), batch_size=50, seed=3, drop_last=True,
        balanced=recipe.optimization.balance == "sampling", sharing=Sharing(world.rank, world.size, mixing),
    )  # fmt: skip
    valid_loader = Loader(images[..., None], labels, np.arange(1700, 1797))
    state, losses = TrainState.begin(classifier, recipe), []
    if resumed:
        state.load_state_dict(resumed)
    for event in train_epochs(state, train_loader, valid_loader, recipe):
        if isinstance(event, Step):
            losses.append(state.losses[-1].item())
            if len(losses) == stop_after:
                break
    return losses, state


@pytest.fixture(params=CASES)
def choices(request):
    return CASES[request.param]


def apart(found, wanted):
    return np.abs(np.array(found) - np.array(wanted)).max()


@pytest.mark.parametrize("size", [2, 3])
def test_each_step_has_the_loss_that_one_process_has(size, choices, digits):
    wanted, alone = begin(digits, choices, World())
    ranks = in_ranks(size, lambda mine: begin(digits, choices, mine))
    for losses, state in ranks:
        assert losses == ranks[0][0], "all processes agree to the bit"
        assert apart(losses, wanted) < BOUND
        for name, value in state.classifier.state_dict().items():
            assert torch.equal(value, ranks[0][1].classifier.state_dict()[name])
            torch.testing.assert_close(value, alone.classifier.state_dict()[name], rtol=0, atol=1e-3)
        assert torch.equal(state.answers.sums, ranks[0][1].answers.sums)
        assert torch.equal(state.answers.counts, alone.answers.counts)
        torch.testing.assert_close(state.answers.mean(), alone.answers.mean(), rtol=0, atol=1e-3, equal_nan=True)


def of_this_process(layer, total, values):
    return type(layer).forward(layer, values)


def of_the_place(self, keys):
    return KEYED(self, torch.arange(len(keys)) << 40)


KEYED = KeyedDropout.of


@pytest.mark.parametrize(
    ("place", "other", "case"),
    [
        ("firstlight.models.synced_norms.normalize", of_this_process, "cnn, moved"),
        ("firstlight.models.dropout.KeyedDropout.of", of_the_place, "mlp"),
    ],
    ids=["norms of each process", "masks by place"],
)
def test_the_bound_does_not_hold_without_what_it_rests_on(place, other, case, digits, monkeypatch):
    monkeypatch.setattr(place, other)
    wanted, _ = begin(digits, CASES[case], World())
    (losses, _), _ = in_ranks(2, lambda mine: begin(digits, CASES[case], mine))
    assert apart(losses, wanted) > 100 * BOUND


@pytest.mark.parametrize("stop_after", [1, 4])
def test_three_processes_that_go_on_from_a_state_end_with_the_same_bits(stop_after, digits, monkeypatch):
    monkeypatch.setattr(gradient_sum, "BUCKET_BYTES", 4000)  # several buckets
    choices = CASES["cnn, moved"]

    def in_two_halves(mine):
        _, state = begin(digits, choices, mine, stop_after=stop_after)
        return copy.deepcopy(state.state_dict())

    whole = in_ranks(3, lambda mine: begin(digits, choices, mine))
    kept = in_ranks(3, in_two_halves)[0]  # the state of rank 0 is that of all
    resumed = in_ranks(3, lambda mine: begin(digits, choices, mine, resumed=kept))
    for losses, state in resumed:
        assert losses == whole[0][0][stop_after:]
        for name, value in state.classifier.state_dict().items():
            assert torch.equal(value, whole[0][1].classifier.state_dict()[name])
        assert torch.equal(state.answers.sums, whole[0][1].answers.sums)


def test_a_loss_that_is_no_number_in_one_share_ends_the_training_of_all(digits):
    def spoiled(mine):
        with pytest.raises(TrainingError) as raised:
            begin(digits, MLP, mine, hook=lambda _layer, _images, logits: logits * (float("nan") if mine.rank else 1.0))
        return str(raised.value)

    messages = in_ranks(2, spoiled)
    assert messages[0] == messages[1]
    assert "epoch 1, batch 1: the loss is nan" in messages[0]


def test_memory_that_runs_out_is_the_users_error_and_nobody_computes_in_parts(digits):
    def greedy(*_call):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def short(mine):
        with pytest.raises(RunError, match=r"not have enough memory for 25 pictures .* `batch_size` below 50"):
            begin(digits, MLP, mine, hook=greedy)

    in_ranks(2, short)
