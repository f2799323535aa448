"""The training loop against arithmetic done by hand in float64, and against clocks and layers that keep records."""

import itertools
import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from firstlight.data.augment import Augment
from firstlight.data.loader import Loader
from firstlight.errors import TrainingError
from firstlight.models.classifier import Classifier
from firstlight.models.network import Network
from firstlight.models.networks import initialize
from firstlight.training import state as state_room
from firstlight.training.defaults import complete
from firstlight.training.loop import LOSS_CHECK_STEPS, balanced_weights, train_epochs
from firstlight.training.optim import MUON_LR_RATIO, SCHEDULES
from firstlight.training.recipe import Recipe
from firstlight.training.state import Epoch, TrainState

CPU = torch.device("cpu")
LAYERS = ("fc1.weight", "fc1.bias", "head.weight", "head.bias")
PLAIN = {"model": "mlp", "hidden": (8,), "dropout": 0.0, "dtype": "float32", "epochs": 2, "batch_size": 16}
SGD = {"optimizer": "sgd", "lr": 0.3, "momentum": 0.8, "weight_decay": 0.01, "schedule": "constant", "warmup": 0.0}


def recipe_for(**choices):
    return complete(Recipe.of(**PLAIN | choices), color=False, images=64)


def classifier_for(recipe):
    architecture = {"name": "mlp", "hidden": list(recipe.model.hidden), "dropout": recipe.model.dropout}
    built = Classifier(architecture=architecture, classes=tuple("0123456789"), input_size=(1, 8, 8))
    initialize(built.network, "default", torch.Generator().manual_seed(7))
    return built


def epochs(classifier, loaders, recipe, **choices):
    """Train, and yield the state after every epoch."""
    state = TrainState.begin(classifier, recipe)
    for event in train_epochs(state, *loaders, recipe, **choices):
        if isinstance(event, Epoch):
            yield state


def train(classifier, loaders, recipe, **choices):
    """Train to the end, and return the rows of all epochs."""
    rows = []
    for state in epochs(classifier, loaders, recipe, **choices):
        rows = state.rows
    return rows


@pytest.fixture(scope="module")
def loaders(digits):
    """Make loaders of the first `count` digits, for training, and of the last `valid`."""
    images, labels = digits

    def make(recipe, count=64, valid=100, rows=None):
        rows = np.arange(count) if rows is None else rows
        shuffled = Loader(
            images[..., None], labels, rows, batch_size=recipe.optimization.batch_size, device=CPU, seed=3
        )
        in_order = Loader(images[..., None], labels, np.arange(1797 - valid, 1797), batch_size=64, device=CPU)
        return shuffled, in_order

    return make


@pytest.fixture
def diary(monkeypatch):
    """A list with the rates and the weights of every optimizer step, in the order in which they were taken."""
    steps = []
    build = state_room.build_optimizers

    def noted(optimizer, network):
        whole = optimizer.step

        def step():
            whole()
            state = {name: values.double().clone() for name, values in network.state_dict().items()}
            steps.append(([group["lr"] for group in optimizer.param_groups], state))

        optimizer.step = step
        return optimizer

    def build_with_notes(network, *others):
        return [noted(optimizer, network) for optimizer in build(network, *others)]

    monkeypatch.setattr(state_room, "build_optimizers", build_with_notes)
    return steps


class Stand(Network):
    """A linear network that calls `act(its logits)` when it runs."""

    def __init__(self, act):
        super().__init__()
        self.act = act
        self.head = nn.Linear(64, 10)

    def features(self, images):
        return images.flatten(1)

    def forward(self, images):
        return self.act(self, super().forward(images))


def weights_of(classifier):
    return [dict(classifier.network.state_dict())[name].double().numpy().copy() for name in LAYERS]


def smoothed(labels, smoothing, class_weights):
    """Targets `[B, 10]` and what their loss is divided by: Szegedy et al. 2016, each class times its weight."""
    targets = ((1 - smoothing) * np.eye(10)[labels] + smoothing / 10) * class_weights
    return targets, class_weights[labels].sum()


def steps_by_hand(weights, batches, *, clip=np.inf):
    """SGD with Nesterov momentum on a perceptron in NumPy: the loss and the gradient's length of each step.

    `weights` change in place. A batch is (images uint8, targets [B, 10], what the sum is divided by).
    """
    velocity = [np.zeros_like(values) for values in weights]
    losses, lengths = [], []
    for images, targets, total in batches:
        first, first_bias, second, second_bias = weights
        pixels = (images.reshape(len(images), -1) / 255 - 0.5) / 0.5
        hidden = pixels @ first.T + first_bias
        active = np.maximum(hidden, 0)
        logits = active @ second.T + second_bias
        fractions = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        losses.append(-(targets * np.log(fractions)).sum() / total)
        above = (fractions * targets.sum(axis=1, keepdims=True) - targets) / total
        below = (above @ second) * (hidden > 0)
        gradients = [below.T @ pixels, below.sum(axis=0), above.T @ active, above.sum(axis=0)]
        lengths.append(np.sqrt(sum((gradient**2).sum() for gradient in gradients)))
        for values, speed, gradient in zip(weights, velocity, gradients, strict=True):
            pull = gradient * min(1, clip / lengths[-1]) + SGD["weight_decay"] * values * (values.ndim > 1)
            speed[:] = SGD["momentum"] * speed + pull
            np.subtract(values, SGD["lr"] * (pull + SGD["momentum"] * speed), out=values)
    return losses, lengths


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"label_smoothing": 0.2},
        {"balance": "weights"},
        {"clip": 0.3},
        {"label_smoothing": 0.2, "balance": "weights"},
    ],
    ids=str,
)
def test_eight_steps_give_the_weights_and_the_losses_found_by_hand(choices, digits, loaders):
    recipe = recipe_for(**SGD | {"label_smoothing": 0.0} | choices)
    labels = digits[1]
    # zeros and ones are four times as frequent as the others
    rows = np.concatenate([np.flatnonzero(labels == label)[: 16 if label < 2 else 4] for label in range(10)])
    train_loader, valid_loader = loaders(recipe, rows=rows)
    class_weights = np.ones(10)
    if recipe.optimization.balance == "weights":
        class_weights = compute_class_weight("balanced", classes=np.arange(10), y=labels[rows])
    batches = [
        (batch.images.numpy(), *smoothed(batch.labels.numpy(), recipe.optimization.label_smoothing, class_weights))
        for epoch in (1, 2)
        for batch in train_loader.epoch(epoch)
    ]
    classifier = classifier_for(recipe)
    wanted = weights_of(classifier)
    losses, lengths = steps_by_hand(wanted, batches, clip=recipe.optimization.clip or np.inf)
    assert len(losses) == 8
    assert not recipe.optimization.clip or min(lengths) > recipe.optimization.clip
    history = train(classifier, (train_loader, valid_loader), recipe)
    for found, values in zip(weights_of(classifier), wanted, strict=True):
        np.testing.assert_allclose(found, values, atol=1e-5, rtol=0)
    assert [row.train_loss for row in history] == pytest.approx([np.mean(losses[:4]), np.mean(losses[4:])], rel=1e-5)


def test_a_short_gradient_is_not_made_longer_by_clipping(loaders):
    models = []
    for clip in (None, 1e6):
        recipe = recipe_for(**SGD, clip=clip)
        models.append(classifier_for(recipe))
        train(models[-1], loaders(recipe), recipe)
    assert all(map(np.array_equal, *map(weights_of, models)))


def test_class_weights_are_those_of_scikit_learn(digits):
    labels = digits[1][:333]
    wanted = compute_class_weight("balanced", classes=np.arange(10), y=labels)
    found = balanced_weights(torch.from_numpy(labels), 10)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


def test_a_class_without_an_image_has_a_finite_weight():
    found = balanced_weights(torch.tensor([0, 0, 0, 2]), 4)
    assert found.isfinite().all()
    assert found[[0, 2]].tolist() == pytest.approx([4 / (4 * 3), 4 / (4 * 1)])


@pytest.mark.parametrize("decay", [0.999, 0.3], ids=["still rising", "at its height"])
def test_the_average_is_the_recursion_over_the_weights_of_every_step(decay, loaders, diary):
    recipe = recipe_for(epochs=2, ema=decay, optimizer="adamw", lr=0.01)
    classifier = classifier_for(recipe)
    classifier.network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    wanted = {name: values.double().clone() for name, values in classifier.network.state_dict().items()}
    taken = 0
    for state in epochs(classifier, loaders(recipe), recipe):
        averaged = state.scored
        for _, weights in diary[taken:]:
            taken += 1
            fraction = min(decay, (1 + taken) / (10 + taken))
            for name, values in weights.items():
                wanted[name] = fraction * wanted[name] + (1 - fraction) * values
        found = averaged.network.state_dict()
        assert found.pop("1.num_batches_tracked") == taken  # a count is no weight: it is copied
        for name, values in found.items():
            torch.testing.assert_close(values.double(), wanted[name], atol=1e-6, rtol=1e-5)
        assert averaged is not classifier
        assert not torch.allclose(averaged.network[2].weight, classifier.network[2].weight, atol=1e-4)
    assert taken == 8


def test_without_an_average_the_classifier_itself_is_scored(loaders):
    recipe = recipe_for()
    classifier = classifier_for(recipe)
    assert all(state.scored is classifier for state in epochs(classifier, loaders(recipe), recipe))


def test_a_slow_average_learns_the_digits_in_a_short_run(loaders):
    recipe = recipe_for(ema=0.999, hidden=(64,), epochs=6, batch_size=64)
    history = train(classifier_for(recipe), loaders(recipe, count=1200, valid=400), recipe)
    assert history[-1].valid_accuracy > 0.85
    assert history[-1].valid_loss < 0.6


def test_augmentation_gets_the_key_of_every_image_and_its_answer_is_what_is_learned(loaders):
    calls = []
    spread = np.random.default_rng(0).dirichlet(np.ones(10), size=64)

    class Recorder(Augment):
        def __call__(self, images, labels, rows, *, seed, epoch, num_classes):
            calls.append((seed, epoch, num_classes, rows.tolist(), labels.tolist()))
            return 255 - images, torch.from_numpy(spread[rows.numpy()]).float()

    recipe = replace(recipe_for(**SGD, epochs=3, seed=11, label_smoothing=0.0), augmentation=Recorder())
    train_loader, valid_loader = loaders(recipe)
    classifier = classifier_for(recipe)
    wanted = weights_of(classifier)
    train(classifier, (train_loader, valid_loader), recipe)

    batches = [(epoch, batch) for epoch in (1, 2, 3) for batch in train_loader.epoch(epoch)]
    assert calls == [(11, epoch, 10, batch.rows.tolist(), batch.labels.tolist()) for epoch, batch in batches]
    steps_by_hand(wanted, [(255 - batch.images.numpy(), spread[batch.rows.numpy()], 16) for _, batch in batches])
    for found, values in zip(weights_of(classifier), wanted, strict=True):
        np.testing.assert_allclose(found, values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_number_type_reaches_the_layers_in_training_and_scoring_and_logits_are_float32(dtype, loaders):
    recipe = recipe_for(dtype=str(dtype).removeprefix("torch."), epochs=1)
    classifier, seen, logits = classifier_for(recipe), set(), set()

    def note(layer, _inputs, output):
        seen.add((layer.training, torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), output.dtype))

    classifier.network.fc1.register_forward_hook(note)
    classifier.register_forward_hook(lambda *call: logits.add(call[-1].dtype))
    train(classifier, loaders(recipe), recipe)
    assert {(training, output) for training, *_, output in seen} == {(True, dtype), (False, dtype)}
    assert {enabled for _, enabled, *_ in seen} == {dtype == torch.bfloat16}
    assert dtype == torch.float32 or {number for _, _, number, _ in seen} == {dtype}
    assert logits == {torch.float32}
    assert {weights.dtype for weights in classifier.parameters()} == {torch.float32}


@pytest.mark.parametrize("wanted", [False, True])
def test_compile_hands_the_classifier_to_torch_and_runs_what_comes_back(wanted, loaders, monkeypatch):
    compiled, runs = [], []

    def compile_stand_in(module):
        compiled.append(module)

        def run(images):
            runs.append(len(images))
            return module(images)

        return run

    monkeypatch.setattr(torch, "compile", compile_stand_in)
    recipe = recipe_for(compile=wanted)
    classifier = classifier_for(recipe)
    train(classifier, loaders(recipe), recipe)
    assert compiled == [classifier] * wanted
    assert runs == [16] * 8 * wanted


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="torch.compile needs g++ and Python.h, and one of them is not here",
)
def test_a_step_that_is_really_compiled_gives_the_weights_of_a_plain_one(loaders):
    models = []
    for wanted in (False, True):
        recipe = recipe_for(**SGD, compile=wanted, epochs=1)
        models.append(classifier_for(recipe))
        train(models[-1], loaders(recipe, count=16), recipe)
    for plain, compiled in zip(*map(weights_of, models), strict=True):
        np.testing.assert_allclose(compiled, plain, atol=1e-5, rtol=0)


def draws(loaders, *, count, seed=0, epochs=3):
    """What a network would draw in training, by (epoch, step)."""
    recipe = recipe_for(seed=seed, epochs=epochs)
    classifier, drawn = classifier_for(recipe), []
    classifier.network = Stand(lambda stand, logits: (stand.training and drawn.append(torch.rand(1).item()), logits)[1])
    train(classifier, loaders(recipe, count=count), recipe)
    return dict(zip(itertools.product(range(1, epochs + 1), range(1, count // 16 + 1)), drawn, strict=True))


def test_random_numbers_inside_the_network_follow_from_seed_epoch_and_step_alone(loaders):
    torch.manual_seed(1)
    three = draws(loaders, count=48)
    torch.manual_seed(2)
    five = draws(loaders, count=80)
    assert len(set(five.values())) == 15
    assert three == {key: five[key] for key in three}
    assert not set(three.values()) & set(draws(loaders, count=48, seed=1).values())


def test_dropout_repeats_to_the_bit_and_leaves_the_global_generator_alone(loaders):
    models = []
    for seed, disturbance in ((0, 1), (0, 2), (1, 2)):
        recipe = recipe_for(dropout=0.5, seed=seed)
        models.append(classifier_for(recipe))
        torch.manual_seed(disturbance)
        before = torch.get_rng_state()
        for _ in epochs(models[-1], loaders(recipe), recipe):
            assert torch.equal(torch.get_rng_state(), before)
    first, again, other = map(weights_of, models)
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("optimizer", "peaks"), [("adamw", [[1, 1]]), ("muon", [[MUON_LR_RATIO], [1, 1]])])
def test_every_step_has_the_rate_of_its_place_in_the_run(schedule, optimizer, peaks, loaders, diary):
    recipe = recipe_for(optimizer=optimizer, schedule=schedule, lr=0.02, warmup=0.3, epochs=3)
    history = train(classifier_for(recipe), loaders(recipe), recipe)
    factors = [SCHEDULES[schedule](step / 12, 0.3) for step in range(12)]
    wanted = [[0.02 * factor * peak for peak in group] for factor in factors for group in peaks]
    assert [rates for rates, _ in diary] == [pytest.approx(rates) for rates in wanted]
    assert [row.lr for row in history] == pytest.approx([0.02 * factors[last] for last in (3, 7, 11)])


@pytest.mark.parametrize(("limit", "steps"), [(10.0, 10), (1e6, 400), (None, 400)])
def test_a_time_limit_plays_the_schedule_out_by_the_clock_unless_the_steps_end_first(limit, steps, loaders, diary):
    recipe = recipe_for(time_limit=limit, epochs=100, lr=0.01, warmup=0.2, optimizer="adamw")
    classifier, now = classifier_for(recipe), [1000.0]

    def a_second_passes(layer, *_):
        now[0] += layer.training

    classifier.network.fc1.register_forward_hook(a_second_passes)
    history = train(classifier, loaders(recipe, valid=10), recipe, clock=lambda: now[0])
    wanted = [0.01 * SCHEDULES["one-cycle"](step / steps, 0.2) for step in range(steps)]
    assert [rates[0] for rates, _ in diary] == pytest.approx(wanted)
    assert [row.epoch for row in history] == list(range(1, -(-steps // 4) + 1))
    assert [row.seconds for row in history] == [min(4 * row.epoch, steps) for row in history]


def broken_at(batch):
    """A classifier whose loss is NaN at one batch, counted over the epochs, with weights that stay whole."""
    calls = itertools.count(1)
    classifier = classifier_for(recipe_for())

    def act(stand, logits):
        if stand.training and next(calls) == batch:
            logits.register_hook(torch.zeros_like)
            return logits * float("nan")
        return logits

    classifier.network = Stand(act)
    return classifier, calls


@pytest.mark.parametrize(
    ("broken", "place", "ran"),
    [
        (1, "epoch 1, batch 1", LOSS_CHECK_STEPS),
        (20, "epoch 1, batch 20", LOSS_CHECK_STEPS),
        (LOSS_CHECK_STEPS, f"epoch 1, batch {LOSS_CHECK_STEPS}", LOSS_CHECK_STEPS),
        (55, "epoch 1, batch 55", 60),
        (63, "epoch 2, batch 3", 60 + LOSS_CHECK_STEPS),
    ],
)
def test_one_loss_that_is_no_number_stops_the_run_at_the_next_check_and_is_named(broken, place, ran, loaders):
    recipe = recipe_for(batch_size=2, epochs=3)
    classifier, calls = broken_at(broken)
    with pytest.raises(TrainingError, match=rf"^{place}: the loss is nan.*`lr`"):
        train(classifier, loaders(recipe, count=120), recipe)
    assert next(calls) == ran + 1


@pytest.mark.parametrize(("logit", "loss"), [(float("nan"), "nan"), (float("-inf"), "inf")])
def test_a_validation_loss_that_is_no_number_stops_the_run_though_training_looks_well(logit, loss, loaders):
    recipe = recipe_for(epochs=3)
    classifier, scorings = classifier_for(recipe), itertools.count(1)
    spoil = torch.zeros(10)
    spoil[3] = logit

    def act(stand, logits):
        return logits if stand.training or next(scorings) == 1 else logits + spoil

    classifier.network = Stand(act)
    rows = epochs(classifier, loaders(recipe, valid=50), recipe)
    assert next(rows).rows[-1].epoch == 1
    with pytest.raises(TrainingError, match=f"epoch 2.*validation loss is {loss}"):
        next(rows)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_row_holds_what_scikit_learn_says_of_the_scored_classifier(ema, digits, loaders):
    recipe = recipe_for(ema=ema, dropout=0.5, epochs=3, label_smoothing=0.3, balance="weights", lr=0.01, clip=1.0)
    images, labels = torch.from_numpy(digits[0][-200:, None]), digits[1][-200:]
    train_loader, valid_loader = loaders(recipe, count=400, valid=200)
    states = epochs(classifier_for(recipe), (train_loader, valid_loader), recipe)
    for number, state in enumerate(states, start=1):
        row, scored = state.rows[-1], state.scored
        assert row.epoch == number
        with torch.inference_mode():
            fractions = scored.eval()(images).double().softmax(dim=1).numpy()
        assert row.valid_accuracy == accuracy_score(labels, fractions.argmax(axis=1))
        assert row.valid_loss == pytest.approx(log_loss(labels, fractions, labels=range(10)), rel=1e-5)


def test_what_a_caller_does_to_the_modes_between_epochs_does_not_change_the_training(loaders):
    models, recipe = [], recipe_for(dropout=0.5, epochs=3)
    for touch in (False, True):
        models.append(classifier_for(recipe))
        for state in epochs(models[-1], loaders(recipe), recipe):
            state.scored.train(not touch)
    assert all(map(np.array_equal, *map(weights_of, models)))
