"""The state of training: stopped after any step, copied, and continued from the copy, a run ends with the same bits."""

import itertools
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from firstlight.data.loader import Loader
from firstlight.models.classifier import Classifier
from firstlight.training.defaults import complete
from firstlight.training.loop import train_epochs
from firstlight.training.recipe import Recipe
from firstlight.training.state import Epoch, Learned, Step, TrainState

CPU = torch.device("cpu")
EPOCHS, STEPS = 3, 5
VARIANTS = {
    "adamw": {"model": "mlp", "optimizer": "adamw"},
    "sgd": {"model": "mlp", "optimizer": "sgd", "lr": 0.1},
    "muon": {"model": "mlp", "optimizer": "muon"},
    "muon on filters": {"model": "cnn", "width": 4, "optimizer": "muon"},
    "ema": {"model": "mlp", "optimizer": "muon", "ema": 0.9},
    "ema of batch norms": {"model": "cnn", "width": 4, "optimizer": "adamw", "ema": 0.9},
    "mixup and cutmix": {"model": "mlp", "mixup": 0.4, "cutmix": 1.0, "shift": 1},
    "dropout": {"model": "mlp", "dropout": 0.5},
    "balanced sampling": {"model": "mlp", "balance": "sampling"},
    "class weights": {"model": "mlp", "balance": "weights", "clip": 0.1, "label_smoothing": 0.1},
    "patience": {"model": "mlp", "patience": 1, "lr": 1e-6},
    "time limit": {"model": "mlp", "time_limit": 0.5, "epochs": 100},
}


def ticking(tick=1 / 64):
    """A clock that moves on by the same time whenever it is read; sums of its ticks are exact."""
    reads = itertools.count(1)
    return lambda: next(reads) * tick


class Training:
    """Everything that a training is made of, made anew each time from the same choices."""

    def __init__(self, digits, choices):
        images, labels = digits[0][..., None], digits[1]
        settings = {"hidden": (16,), "epochs": EPOCHS, "batch_size": 16, "dtype": "float32"}
        self.recipe = complete(Recipe.of(**settings | choices), color=False, images=80)
        name = self.recipe.model.name
        own = {"hidden": [16], "dropout": self.recipe.model.dropout} if name == "mlp" else {"width": 4}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            classifier = Classifier(
                architecture={"name": name, **own}, classes=tuple("0123456789"), input_size=(1, 8, 8)
            )
        self.state = TrainState.begin(classifier, self.recipe)
        sampling = self.recipe.optimization.balance == "sampling"
        rows = np.arange(STEPS * 16)
        self.train = Loader(images, labels, rows, batch_size=16, device=CPU, seed=1, balanced=sampling, drop_last=True)
        self.valid = Loader(images, labels, np.arange(1500, 1700), device=CPU)

    def events(self):
        return train_epochs(self.state, self.train, self.valid, self.recipe, ticking())


def flat(value, name=""):
    """Every tensor and number of a nested state by its path."""
    if isinstance(value, dict):
        return {path: one for key, part in value.items() for path, one in flat(part, f"{name}/{key}").items()}
    if isinstance(value, list):
        return {path: one for key, part in enumerate(value) for path, one in flat(part, f"{name}/{key}").items()}
    return {name: value}


def assert_same(found, wanted):
    found, wanted = flat(found), flat(wanted)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        same = torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value
        assert same, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_that_is_stopped_after_any_step_and_continued_ends_with_the_same_bits(variant, digits):
    whole = Training(digits, VARIANTS[variant])
    events = list(whole.events())
    assert len(events) >= 4
    for stop in sorted({1, 2, len(events) // 2, STEPS + 1, len(events) - 1}):
        stopped = Training(digits, VARIANTS[variant])
        begun = list(itertools.islice(stopped.events(), stop))
        copy = stopped.state.state_dict()
        continued = Training(digits, VARIANTS[variant])
        with torch.no_grad():
            for weights in continued.state.classifier.parameters():
                weights.add_(1)  # whatever was there before is replaced
        continued.state.load_state_dict(copy)
        rest = list(continued.events())
        assert begun + rest == events, f"stopped after {stop}"
        assert_same(continued.state.state_dict(), whole.state.state_dict())


def test_a_copy_does_not_change_with_the_training_it_was_taken_from(digits):
    training = Training(digits, VARIANTS["ema"])
    events = training.events()
    list(itertools.islice(events, STEPS + 2))
    copy = training.state.state_dict()
    before = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in flat(copy).items()}
    list(events)
    after = flat(copy)
    assert all(torch.equal(after[n], v) if isinstance(v, torch.Tensor) else after[n] == v for n, v in before.items())


@pytest.mark.parametrize(
    ("left_out", "variant"),
    [("optimizers", "adamw"), ("average", "ema"), ("losses", "adamw"), ("step", "adamw"), ("seconds", "time limit")],
)
def test_the_comparison_would_notice_a_state_with_a_part_left_out(left_out, variant, digits):
    """A control: without any part of the state the end is another one."""
    whole = Training(digits, VARIANTS[variant])
    list(whole.events())
    stopped = Training(digits, VARIANTS[variant])
    list(itertools.islice(stopped.events(), STEPS + 3))
    copy = stopped.state.state_dict()
    fresh = Training(digits, VARIANTS[variant]).state.state_dict()
    continued = Training(digits, VARIANTS[variant])
    continued.state.load_state_dict(copy | {left_out: fresh[left_out]})
    list(continued.events())
    with pytest.raises(AssertionError):
        assert_same(continued.state.state_dict(), whole.state.state_dict())


def test_the_state_holds_nothing_but_tensors_numbers_and_plain_containers(digits):
    training = Training(digits, VARIANTS["ema"])
    list(itertools.islice(training.events(), STEPS + 2))
    for name, value in flat(training.state.state_dict()).items():
        assert isinstance(value, torch.Tensor | int | float | None), name


def test_moments_go_by_the_names_of_parameters(digits):
    training = Training(digits, VARIANTS["adamw"])
    list(itertools.islice(training.events(), 2))
    (moments,) = training.state.state_dict()["optimizers"]
    assert set(moments) == {name for name, _ in training.state.classifier.network.named_parameters()}


def test_every_step_and_every_epoch_is_yielded_in_order(digits):
    training = Training(digits, VARIANTS["adamw"])
    events = list(training.events())
    wanted = [[Step(epoch, step) for step in range(1, STEPS + 1)] + [Epoch] for epoch in range(1, EPOCHS + 1)]
    assert [Epoch if isinstance(event, Epoch) else event for event in events] == list(itertools.chain(*wanted))
    assert [asdict(event) for event in events if isinstance(event, Epoch)] == training.state.state_dict()["rows"]


def test_the_best_weights_are_those_of_the_best_epoch(digits):
    training = Training(digits, VARIANTS["adamw"] | {"lr": 0.05})
    after = {}
    for event in training.events():
        if isinstance(event, Epoch):
            after[event.epoch] = {name: one.clone() for name, one in training.state.classifier.state_dict().items()}
    best = training.state.best_classifier().state_dict()
    assert all(torch.equal(best[name], value) for name, value in after[training.state.best.epoch].items())


def test_an_earlier_best_keeps_its_weights_while_the_same_classifier_goes_on(digits):
    training = Training(digits, VARIANTS["adamw"])
    list(training.events())
    model, best = training.state.classifier, replace(training.state.best, valid_accuracy=2.0)
    weights = [value.clone() for value in model.state_dict().values()]
    state = TrainState.begin(model, training.recipe, Learned(model, best, [best]))
    for value in model.parameters():
        value.data.add_(1)
    state.end_epoch(replace(best, valid_accuracy=0.5))
    assert all(map(torch.equal, state.best_classifier().state_dict().values(), weights))
