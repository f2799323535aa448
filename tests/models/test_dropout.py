"""Dropout by sample: its fractions, its independence, and that nothing but the sample decides about a mask."""

import pytest
import torch
from timm.layers import DropPath
from torch import nn
from torchvision.ops import StochasticDepth

from firstlight.data.randomness import SampleRandom
from firstlight.models.dropout import KeyedDropout, rate_of
from firstlight.models.networks import build_network


def keys(rows, epoch=1, seed=0):
    return SampleRandom(torch.as_tensor(rows), seed, epoch).words("dropout")


def dropped(layer, values, *, rows=None, seed=0, epoch=1):
    rows = torch.arange(len(values)) if rows is None else rows
    with KeyedDropout(nn.Sequential(layer), seed).of(keys(rows, epoch, seed)):
        return layer(values)


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_silences_its_share_and_keeps_the_mean(rate, dtype):
    outputs = dropped(nn.Dropout(rate), torch.ones(3000, 333, dtype=dtype))
    silenced = (outputs == 0).double()
    # note: windows overlap, so that there are fewer random numbers than units
    assert silenced.mean().item() == pytest.approx(rate, abs=4 * (rate * (1 - rate) / 500_000) ** 0.5)
    assert outputs.double().mean().item() == pytest.approx(1.0, abs=0.03)
    assert len(outputs[outputs != 0].unique()) == 1
    for apart in (1, 7, 8, 333):  # units are silenced independently of their neighbors, in the same sample or the next
        both = (silenced.flatten()[apart:] * silenced.flatten()[:-apart]).mean().item()
        assert both == pytest.approx(silenced.mean().item() ** 2, abs=0.005)
    of_samples = silenced.mean(dim=1)
    assert of_samples.std().item() == pytest.approx((rate * (1 - rate) / 333) ** 0.5, rel=0.1)


def test_gradients_pass_where_units_passed_and_nothing_happens_when_evaluating():
    layer, inputs = nn.Dropout(0.5), torch.ones(50, 7, requires_grad=True)
    outputs = dropped(layer, inputs)
    outputs.sum().backward()
    assert torch.equal(inputs.grad, outputs)
    assert dropped(layer.eval(), inputs) is inputs


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d, DropPath, lambda p: StochasticDepth(p, "row")])
def test_a_mask_follows_from_seed_epoch_and_sample_whatever_the_batch(kind):
    layer, rows = kind(0.5), torch.arange(40)
    whole = dropped(layer, torch.ones(40, 6, 3, 3), rows=rows)
    part = dropped(layer, torch.ones(11, 6, 3, 3), rows=rows.flip(0)[9:20])
    assert torch.equal(part, whole.flip(0)[9:20])
    for other in ({"epoch": 2}, {"seed": 1}):
        assert not torch.equal(dropped(layer, torch.ones(40, 6, 3, 3), rows=rows, **other), whole)
    assert not torch.equal(dropped(layer, torch.ones(40, 6, 3, 3), rows=rows + 100), whole)


def test_layers_of_a_network_have_masks_of_their_own():
    network = build_network({"name": "mlp", "hidden": [50, 50], "dropout": 0.5}, (1, 8, 8), 3)
    values = torch.ones(100, 50)
    with KeyedDropout(network, 0).of(keys(torch.arange(100))):
        first, second = network.dropout1(values) > 0, network.dropout2(values) > 0
    assert (first == second).double().mean().item() == pytest.approx(0.5, abs=0.03)


def test_channels_and_samples_are_silenced_as_a_whole():
    channels = dropped(nn.Dropout2d(0.3), torch.ones(500, 20, 4, 4))
    assert torch.equal(channels, channels[..., :1, :1].expand_as(channels))
    assert (channels == 0).double().mean().item() == pytest.approx(0.3, abs=0.02)
    for layer, scale in ((DropPath(0.25), 0.75), (StochasticDepth(0.25, "row"), 0.75), (DropPath(0.25, False), 1)):
        samples = dropped(layer, torch.ones(4000, 3, 2))
        assert torch.equal(samples, samples[:, :1, :1].expand_as(samples))
        assert (samples == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)
        assert samples.max().item() == pytest.approx(1 / scale)


def test_windows_of_an_image_belong_to_it():
    whole = dropped(nn.Dropout(0.5), torch.ones(30 * 4, 5), rows=torch.arange(30))
    assert torch.equal(dropped(nn.Dropout(0.5), torch.ones(8, 5), rows=torch.arange(2)), whole[:8])


def test_what_is_not_a_row_for_each_sample_is_left_to_the_layer():
    layer = nn.Dropout(0.5)
    torch.manual_seed(0)
    wanted = layer(torch.ones(7, 5))
    torch.manual_seed(0)
    assert torch.equal(dropped(layer, torch.ones(7, 5), rows=torch.arange(3)), wanted)
    assert rate_of(StochasticDepth(0.5, "batch")) == 0.0


def test_outside_of_the_block_nothing_is_left_of_it():
    layer, values = nn.Dropout(0.5), torch.ones(40, 6)
    network = nn.Sequential(layer)
    keyed = KeyedDropout(network, 0)
    torch.manual_seed(0)
    wanted = layer(values)
    with pytest.raises(RuntimeError), keyed.of(keys(torch.arange(40))):
        assert not torch.equal(layer(values), wanted)
        raise RuntimeError
    torch.manual_seed(0)
    assert torch.equal(layer(values), wanted)
    assert "forward" not in vars(layer)
