"""Our own networks: shapes of every size, layers by name, whitening that decorrelates, and first weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from firstlight.errors import RecipeError
from firstlight.models.network import Network
from firstlight.models.networks import INITS, build_network, initialize, whiten

MLP = {"name": "mlp", "hidden": [512, 256, 128], "dropout": 0.2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("input_size", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 48), (3, 2, 2), (1, 5, 17)])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_images_of_every_size_become_logits_and_every_learned_weight_a_gradient(name, input_size):
    network = build_network({"name": name}, input_size, 7)
    logits = network(torch.randn(4, *input_size, generator=rng()))
    assert logits.shape == (4, 7)
    functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    for weight_name, weights in network.named_parameters():
        assert (weights.grad is not None) == weights.requires_grad, weight_name


def test_the_mlp_is_the_one_of_the_guide():
    network = build_network(MLP, (1, 28, 28), 10)
    assert list(dict(network.named_children())) == [
        "flatten", "fc1", "relu1", "dropout1", "fc2", "relu2", "dropout2", "fc3", "relu3", "dropout3", "head",
    ]  # fmt: skip
    assert network.fc1.weight.shape == (512, 784)
    assert network.head.weight.shape == (10, 128)
    assert network.dropout3.p == 0.2
    assert sum(weights.numel() for weights in network.parameters()) == 567_434  # 784·512+512 + 512·256+256 + ...


def test_the_mlp_is_its_matrices_and_nothing_else():
    network = build_network(MLP, (1, 4, 4), 3).eval()
    images = torch.randn(5, 1, 4, 4, generator=rng())
    expected = images.flatten(1)
    for layer in (network.fc1, network.fc2, network.fc3):
        expected = (expected @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(network(images), expected @ network.head.weight.T + network.head.bias)


@pytest.mark.parametrize("name", ["", "vgg", "MLP", None])
def test_an_unknown_network_is_refused_with_the_choices(name):
    with pytest.raises(
        RecipeError, match="there is no such network; .*choose mlp, cnn, .*timm:NAME or torchvision:NAME"
    ):
        build_network({"name": name}, (1, 8, 8), 2)


def test_the_cnns_whitening_is_not_learned():
    network = build_network({"name": "cnn"}, (3, 32, 32), 10)
    assert not network.whitening.weight.requires_grad


@pytest.mark.parametrize("size", [2, 3])
def test_whitened_patches_of_real_images_are_uncorrelated_and_of_unit_variance(size, digits):
    images = torch.from_numpy(digits[0])[:, None].double() / 255
    patches = size * size
    layer = nn.Conv2d(1, 2 * patches, size, bias=True, dtype=torch.float64)
    whiten(layer, images, epsilon=1e-12)
    outputs = layer(images).transpose(0, 1).flatten(1)
    torch.testing.assert_close(outputs[:patches].cov(), torch.eye(patches, dtype=torch.float64), atol=1e-4, rtol=0)
    assert torch.equal(layer.weight[patches:], -layer.weight[:patches])
    torch.testing.assert_close(outputs[patches:], -outputs[:patches], atol=1e-12, rtol=1e-9)


def test_whitening_does_not_blow_flat_directions_up(digits):
    images = torch.from_numpy(digits[0])[:, None].repeat(1, 3, 1, 1).float() / 255  # three equal channels
    layer = nn.Conv2d(3, 24, 2, bias=True)
    whiten(layer, images, epsilon=5e-4)
    outputs = layer(images).transpose(0, 1).flatten(1)
    assert layer.weight.isfinite().all()
    assert outputs.var(dim=1).max() < 1.01
    whiten(layer, torch.zeros(2, 3, 4, 4))
    assert layer.weight.isfinite().all()


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("init", INITS)
def test_first_weights_follow_the_generator_and_leave_the_global_one_alone(init, name):
    networks = [build_network({"name": name}, (1, 8, 8), 3) for _ in range(3)]
    before = torch.get_rng_state()
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        initialize(network, init, rng(seed))
    assert torch.equal(torch.get_rng_state(), before)
    first, same, other = (torch.cat([weights.flatten() for weights in network.parameters()]) for network in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("layer", [nn.Linear(400, 300), nn.Conv2d(16, 300, 5)], ids=["linear", "conv"])
def test_inits_are_the_distributions_that_they_say(layer):
    bound = 400**-0.5
    network = nn.Sequential(layer)
    initialize(network, "default", rng())
    for values in (layer.weight.detach(), layer.bias.detach()):
        assert values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    initialize(network, "zero", rng())
    assert not layer.bias.any()
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    initialize(network, "normal", rng())
    assert not layer.bias.any()
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert layer.weight.mean().abs() < 1e-3


def test_the_default_init_is_pytorchs_own_in_distribution():
    torch.manual_seed(0)
    theirs = nn.Linear(400, 300)
    ours = nn.Linear(400, 300)
    initialize(nn.Sequential(ours), "default", rng())
    for name in ("weight", "bias"):
        one, other = getattr(ours, name).abs(), getattr(theirs, name).abs()
        assert one.max().item() == pytest.approx(other.max().item(), rel=0.02)
        assert one.mean().item() == pytest.approx(other.mean().item(), rel=0.1)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_every_network_is_its_features_and_a_linear_head(name):
    network = build_network({"name": name}, (1, 8, 8), 3).eval()
    images = torch.randn(5, 1, 8, 8, generator=rng())
    features = network.features(images)
    assert isinstance(network, Network)
    assert features.shape == (5, network.num_features)
    assert torch.equal(network(images), functional.linear(features, network.head.weight, network.head.bias))
    assert list(dict(network.named_children()))[-1] == "head", "it is initialized last"


def test_frozen_layers_stay_in_evaluation_mode():
    network = build_network({"name": "cnn"}, (1, 8, 8), 3)
    network.block1.requires_grad_(False)
    network.train()
    assert not network.block1.norm1.training
    assert network.block2.norm1.training
    assert not network.eval().block2.norm1.training


def test_a_network_that_is_frozen_as_a_whole_can_change_its_mode():
    network = build_network({"name": "mlp"}, (1, 8, 8), 3).requires_grad_(False)
    assert not network.train().training
    assert not any(layer.training for layer in network.eval().modules() if list(layer.parameters()))
