"""Grad-CAM and LayerCAM against their formulas, with gradients by finite differences in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.inference.heatmaps.explainer import Explainer
from firstlight.models.classifier import Classifier

SIZE = (1, 28, 28)
STEP = 1e-5


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    made = Classifier(architecture={"name": "cnn", "width": 4}, classes=("a", "b", "c"), input_size=SIZE).double()
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return made.eval()


def images_of(count, size=SIZE):
    return torch.randint(0, 256, (count, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def gradients_by_differences(rest, activations, number):
    """The derivative of logit `number` with respect to each activation `[C, h, w]`, one after the other."""
    found = torch.zeros_like(activations)
    for place in np.ndindex(*activations.shape):
        ends = []
        for sign in (1, -1):
            moved = activations.clone()
            moved[place] += sign * STEP
            ends.append(rest(moved[None])[0, number].item())
        found[place] = (ends[0] - ends[1]) / (2 * STEP)
    return found


def formula(method, activations, gradients):
    channels, height, width = activations.shape
    found = np.zeros((height, width))
    for channel, row, column in np.ndindex(channels, height, width):
        weight = gradients[channel].mean() if method == "gradcam" else max(gradients[channel, row, column], 0)
        found[row, column] += weight * activations[channel, row, column]
    return np.maximum(found, 0)


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
def test_a_heatmap_is_the_formula_with_gradients_by_finite_differences(method, classifier):
    images, classes = images_of(3), torch.tensor([0, 2, 1])
    found = Explainer(classifier, method, layer="block3")(images, classes)
    network = classifier.network
    with torch.no_grad():
        activations = nn.Sequential(*list(network.children())[:5])(classifier.normalize(images).double())
    assert activations.shape[1:] == (24, 3, 3), "what block3 returns"
    rest = nn.Sequential(network.pool, network.flatten, network.head)
    for heat, one, number in zip(found, activations, classes.tolist(), strict=True):
        cells = formula(method, one.numpy(), gradients_by_differences(rest, one, number).numpy())
        wanted = nn.functional.interpolate(torch.tensor(cells)[None, None], SIZE[1:], mode="bilinear")[0, 0]
        wanted = wanted / wanted.max() if wanted.max() > 0 else wanted
        assert np.allclose(heat, wanted, atol=1e-5)


def test_where_a_linear_head_averages_places_the_heatmap_adds_up_to_the_logit():
    """Grad-CAM is then the class activation map: before negative values are dropped, its sum is the logit."""
    from firstlight.inference.heatmaps.activation import activations_and_gradients

    torch.manual_seed(0)
    made = Classifier(
        architecture={"name": "timm:test_resnet", "head": "linear"}, classes=("a", "b"), input_size=(3, 64, 64)
    ).eval()
    explainer = Explainer(made, "gradcam")
    images, classes = images_of(2, (3, 64, 64)), torch.tensor([0, 1])
    logits = made(images).detach().gather(1, classes[:, None])[:, 0] - made.network.head.bias.detach()[classes]
    activations, gradients = activations_and_gradients(explainer.model.network, made.normalize(images), classes)
    sums = (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=(1, 2, 3))
    assert torch.allclose(sums, logits, rtol=1e-4, atol=1e-5)
