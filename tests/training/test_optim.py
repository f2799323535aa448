"""Optimizers against exact arithmetic, schedules at their corners, and decay only where it belongs."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from firstlight.models.library_network import LibraryNetwork
from firstlight.models.networks import build_network
from firstlight.training.layer_decay import layer_schedules
from firstlight.training.optim import (
    MUON_LR_RATIO,
    NEWTON_SCHULZ,
    SCHEDULES,
    SGD,
    AdamW,
    Muon,
    build_optimizers,
    orthogonalize,
    set_lr,
    split_parameters,
)
from firstlight.training.recipe import OptimizationRecipe

OPTIMIZERS = ["adamw", "sgd", "muon"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def recipe_for(optimizer, **choices):
    defaults = {"lr": 0.01, "weight_decay": 0.1}
    return OptimizationRecipe(optimizer=optimizer, **defaults | choices)


def group_of(*weights, lr, weight_decay=0.0):
    return {"params": list(weights), "weight_decay": weight_decay, "peak_lr": lr, "start": 0.0}


@pytest.mark.parametrize("shape", [(64, 64), (32, 100), (100, 32), (1, 8), (8, 1)])
def test_orthogonalize_is_its_polynomial_on_the_singular_values_of_the_svd(shape):
    matrix = torch.randn(shape, generator=rng(), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    wanted = values / matrix.norm()
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        wanted = a * wanted + b * wanted**3 + c * wanted**5
    torch.testing.assert_close(orthogonalize(matrix), left @ torch.diag(wanted) @ right, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(256, 64), (64, 576), (128, 100)])
def test_orthogonalize_brings_singular_values_close_to_one(shape):
    values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=rng())))
    assert values.min() > 0.6
    assert values.max() < 1.2  # the published coefficients give up exactness for speed


def test_orthogonalize_does_not_care_for_scale_and_survives_zero():
    matrix = torch.randn(16, 32, generator=rng())
    torch.testing.assert_close(orthogonalize(1000 * matrix), orthogonalize(matrix), atol=1e-4, rtol=0)
    assert torch.equal(orthogonalize(torch.zeros(4, 4)), torch.zeros(4, 4))


def test_a_first_muon_step_is_the_orthogonalized_gradient():
    weights = nn.Parameter(torch.randn(12, 3, 3, 3, generator=rng()).to(memory_format=torch.channels_last))
    before, gradient = weights.detach().clone(), torch.randn(12, 3, 3, 3, generator=rng(1))
    weights.grad = gradient.clone()
    Muon([group_of(weights, lr=0.1, weight_decay=0.5)], momentum=0.9).step()
    direction = orthogonalize(gradient.reshape(12, 27)).view(12, 3, 3, 3)
    torch.testing.assert_close(weights.detach(), before * (1 - 0.1 / MUON_LR_RATIO * 0.5) - 0.1 * direction)


def test_a_second_muon_step_goes_along_nesterovs_momentum():
    weights = nn.Parameter(torch.zeros(6, 6))
    muon = Muon([group_of(weights, lr=1.0)], momentum=0.8)
    first, second = torch.randn(2, 6, 6, generator=rng())
    for gradient in (first, second):
        before = weights.detach().clone()
        weights.grad = gradient.clone()
        muon.step()
    velocity = 0.8 * (0.2 * first) + 0.2 * second
    torch.testing.assert_close(before - weights.detach(), orthogonalize(0.2 * second + 0.8 * velocity))


def test_muon_scales_tall_matrices_up_and_leaves_what_has_no_gradient():
    tall, idle = nn.Parameter(torch.zeros(64, 16)), nn.Parameter(torch.ones(2, 2))
    tall.grad = torch.randn(64, 16, generator=rng())
    Muon([group_of(tall, idle, lr=1.0)], momentum=0.0).step()
    torch.testing.assert_close(tall.detach(), -2 * orthogonalize(tall.grad))
    assert torch.equal(idle, torch.ones(2, 2))


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_learned_weight_has_one_place_and_norms_and_biases_do_not_decay(optimizer, model):
    recipe = recipe_for(optimizer)
    network = build_network({"name": "cnn"}, (1, 28, 28), 10)
    groups = [group for each in build_optimizers(network, recipe) for group in each.param_groups]
    decay_of = {id(weights): group["weight_decay"] for group in groups for weights in group["params"]}
    learned = [weights for weights in network.parameters() if weights.requires_grad]
    assert sum(len(group["params"]) for group in groups) == len(decay_of) == len(learned)
    for layer in network.modules():
        for name, weights in layer.named_parameters(recurse=False):
            if weights.requires_grad:
                plain = name == "bias" or isinstance(layer, nn.BatchNorm2d)
                assert decay_of[id(weights)] == (0.0 if plain else 0.1), (layer, name)


def test_frozen_weights_are_in_no_group():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    network[0].requires_grad_(False)
    decaying, plain = split_parameters(network)
    assert [id(weights) for weights in decaying + plain] == [id(network[1].weight), id(network[1].bias)]


@pytest.mark.parametrize(
    ("ours", "theirs", "choices"),
    [(AdamW, torch.optim.AdamW, {}), (SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True})],
)
def test_twenty_steps_are_those_of_pytorchs_own_optimizer(ours, theirs, choices):
    mine, yours = (nn.Linear(5, 3) for _ in range(2))
    yours.load_state_dict(mine.state_dict())

    def groups(layer):
        return [group_of(layer.weight, lr=0.05, weight_decay=0.1), group_of(layer.bias, lr=0.05)]

    optimizers = ours(groups(mine), **choices), theirs(groups(yours), lr=0.05, **choices)
    for step in range(20):
        inputs = torch.randn(8, 5, generator=rng(step))
        for layer, optimizer in zip((mine, yours), optimizers, strict=True):
            layer.zero_grad()
            layer(inputs).square().mean().backward()
            set_lr_of(optimizer, 0.05 / (step + 1))
            optimizer.step()
    torch.testing.assert_close(mine.state_dict(), yours.state_dict(), rtol=1e-6, atol=1e-7)


def set_lr_of(optimizer, lr):
    for group in optimizer.param_groups:
        group["lr"] = lr


def test_training_does_not_wait_for_pytorchs_compiler():
    code = (
        "import sys, torch, firstlight.training.optim as optim;"
        "weights = torch.nn.Parameter(torch.ones(2, 2)); weights.grad = torch.ones(2, 2);"
        "groups = [{'params': [weights], 'weight_decay': 0.0, 'peak_lr': 0.1, 'start': 0.0}];"
        "[kind(groups, momentum=0.9).step() for kind in (optim.AdamW, optim.SGD, optim.Muon)];"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_muon_leaves_the_head_to_adamw():
    recipe = recipe_for("muon")
    network = build_network({"name": "mlp"}, (1, 8, 8), 10)
    muon, adamw = build_optimizers(network, recipe)
    assert isinstance(muon, Muon)
    assert [id(weights) for weights in muon.param_groups[0]["params"]] == [
        id(layer.weight) for layer in (network.fc1, network.fc2, network.fc3)
    ]
    assert [id(weights) for weights in adamw.param_groups[0]["params"]] == [id(network.head.weight)]


@pytest.mark.parametrize(("optimizer", "shrunk"), [("adamw", 0.95), ("muon", 0.95), ("sgd", 1 - 0.05 * 1.9)])
def test_without_a_gradient_decay_alone_shrinks_the_matrices(optimizer, shrunk):
    """A step shrinks by lr · decay; with SGD the decay goes through Nesterov's momentum, 1 + 0.9 times at first."""
    network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    before = [weights.detach().clone() for weights in network.parameters()]
    for weights in network.parameters():
        weights.grad = torch.zeros_like(weights)
    for each in build_optimizers(network, recipe_for(optimizer, lr=0.1, weight_decay=0.5)):
        each.step()
    for old, new in zip(before, network.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old * (shrunk if old.ndim > 1 else 1.0))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_quadratic_converges(optimizer):
    inputs = torch.randn(256, 16, generator=rng())
    target = inputs @ torch.randn(16, 4, generator=rng(1)) / 4
    network = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
    with torch.no_grad():
        for number, weights in enumerate(network.parameters()):
            weights.copy_(torch.randn(weights.shape, generator=rng(number)) / 4)
    optimizers = build_optimizers(network, recipe_for(optimizer, lr=0.02, weight_decay=0.0))
    losses = []
    for step in range(300):
        set_lr(optimizers, SCHEDULES["one-cycle"](step / 300, 0.2))
        loss = (network(inputs) - target).square().mean()
        network.zero_grad()
        loss.backward()
        for each in optimizers:
            each.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]


def test_the_rate_is_set_as_a_share_of_each_groups_highest():
    optimizers = build_optimizers(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), recipe_for("muon", lr=0.01))
    for factor in (0.5, 1.0, 0.0):
        set_lr(optimizers, factor)
        rates = [group["lr"] for each in optimizers for group in each.param_groups]
        assert rates == pytest.approx([factor * rate for rate in (0.01 * MUON_LR_RATIO, 0.01, 0.01)])


def test_the_rate_of_a_group_is_zero_until_its_turn():
    groups = [{**group_of(nn.Parameter(torch.ones(2)), lr=0.1), "start": start} for start in (0.0, 0.25, 0.5)]
    optimizer = AdamW(groups)
    for done, rates in ((0.0, [0.05, 0, 0]), (0.2499, [0.05, 0, 0]), (0.25, [0.05, 0.05, 0]), (1.0, [0.05] * 3)):
        set_lr([optimizer], 0.5, done)
        assert [group["lr"] for group in optimizer.param_groups] == rates


def scheduled_groups(optimizer, *, layer_decay=0.3, gradual=False):
    """The groups that a tiny pretrained network gets: entrance, five blocks (two of them norms), and the head."""
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 8)
    )
    network = LibraryNetwork(nn.Identity(), body, nn.Linear(8, 3), "fc")
    optimizers = build_optimizers(network, recipe_for(optimizer), layer_schedules(body, layer_decay, gradual=gradual))
    groups = [(type(each), group) for each in optimizers for group in each.param_groups]
    found = {id(weights): (kind, group) for kind, group in groups for weights in group["params"]}
    assert sum(len(group["params"]) for _, group in groups) == len(found) == len(list(network.parameters()))
    return network, {name: found[id(weights)] for name, weights in network.named_parameters()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_layers_of_a_backbone_learn_the_slower_the_earlier_they_are(optimizer):
    _, groups = scheduled_groups(optimizer, layer_decay=0.1)
    for name, (kind, group) in groups.items():
        part, _, inner = name.partition(".")
        place = {"0": 0, "1": 1, "2": 2, "3": 3, "5": 4}[inner[0]] if part == "body" else 5
        rate = 0.01 * 0.1 ** ((5 - place) / 5) * (MUON_LR_RATIO if kind is Muon else 1)
        assert group["peak_lr"] == pytest.approx(rate), name
        assert group["start"] == 0.0
        matrix = name.endswith("weight") and inner[0] not in "13"
        assert group["weight_decay"] == (0.1 if matrix or part == "head" and "weight" in name else 0.0), name
        assert (kind is Muon) is (optimizer == "muon" and matrix and part == "body"), name


def test_gradual_unfreezing_begins_with_the_head_and_ends_half_way_with_the_first_layer():
    _, groups = scheduled_groups("adamw", gradual=True)
    starts = {name: group["start"] for name, (_, group) in groups.items() if name.endswith("weight")}
    assert list(starts.values()) == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.0])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_network_without_a_backbone_gets_what_it_got_before_there_were_any(optimizer):
    recipe = recipe_for(optimizer)
    network = build_network({"name": "cnn"}, (1, 28, 28), 10)
    decaying, plain = split_parameters(network)
    wanted = [("AdamW", decaying, 0.1, 0.01), ("AdamW", plain, 0.0, 0.01)]
    if optimizer == "sgd":
        wanted = [("SGD", decaying, 0.1, 0.01), ("SGD", plain, 0.0, 0.01)]
    if optimizer == "muon":
        wanted = [("Muon", decaying[:-1], 0.1, 0.01 * MUON_LR_RATIO), ("AdamW", decaying[-1:], 0.1, 0.01), wanted[1]]
    found = [
        (type(each).__name__, [id(one) for one in group["params"]], group["weight_decay"], group["peak_lr"])
        for each in build_optimizers(network, recipe)
        for group in each.param_groups
    ]
    assert found == [(kind, [id(one) for one in weights], decay, lr) for kind, weights, decay, lr in wanted]


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedules_start_low_peak_after_warm_up_and_end_at_zero_unless_constant(name, warmup):
    schedule = SCHEDULES[name]
    assert schedule(warmup, warmup) == pytest.approx(1.0)
    assert schedule(1.0, warmup) == pytest.approx(1.0 if name == "constant" else 0.0, abs=1e-12)
    if warmup:
        assert 0 < schedule(0.0, warmup) < 0.05


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 1), st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_schedules_rise_then_fall_and_stay_between_zero_and_one(name, warmup, points):
    values = [(point, SCHEDULES[name](point, warmup)) for point in sorted(points)]
    assert all(0 <= value <= 1 + 1e-12 for _, value in values)
    rising = [value for point, value in values if point < warmup]
    falling = [value for point, value in values if point >= warmup]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


def test_cosine_is_half_way_down_half_way_through():
    assert SCHEDULES["cosine"](0.6, 0.2) == pytest.approx(0.5)
    assert SCHEDULES["cosine"](0.4, 0.2) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
