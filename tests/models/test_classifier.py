"""The Classifier: uint8 in, float32 logits out; normalization and probabilities against torchvision and NumPy."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import normalize

from firstlight.models import classifier as module
from firstlight.models.classifier import Classifier

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def build(name="mlp", input_size=(3, 8, 8), **choices):
    torch.manual_seed(0)
    return Classifier(architecture={"name": name}, classes=("a", "b", "c"), input_size=input_size, **choices).eval()


@pytest.fixture
def images(digits):
    """Real digits in three different channels, uint8 [N, 3, 8, 8] channels-last."""
    images = digits[0][:200]
    stack = np.stack([images, 255 - images, images // 2 + 40], axis=-1)
    return torch.from_numpy(stack).permute(0, 3, 1, 2)


def test_normalizing_is_torchvisions(images):
    ours = build(mean=MEAN, std=STD).normalize(images)
    torch.testing.assert_close(ours, normalize(images.float() / 255, MEAN, STD), atol=2e-6, rtol=0)
    assert ours.stride() == images.stride(), "the layout of the memory is kept"


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_uint8_becomes_float32_logits_even_under_autocast(name, images):
    classifier = build(name)
    logits = classifier(images)
    assert logits.dtype == torch.float32
    assert logits.shape == (200, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert classifier(images).dtype == torch.float32


def test_probabilities_are_the_softmax_at_the_temperature(images):
    classifier = build()
    logits = classifier(images).detach().double().numpy()
    for temperature in (1.0, 0.3, 4.0):
        classifier.temperature.fill_(temperature)
        found = classifier.probabilities(images)
        powers = np.exp(logits / temperature)
        np.testing.assert_allclose(found.detach(), powers / powers.sum(1, keepdims=True), atol=1e-6)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.sum(1), torch.ones(200))


def test_what_is_normalized_by_default_lies_around_zero():
    levels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    assert build(input_size=(1, 1, 1)).normalize(levels).flatten().tolist() == pytest.approx([-1, 1])


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_fitting_takes_numpys_mean_and_deviation(name, images):
    classifier = build(name)
    classifier.fit_normalization(images)
    pixels = images.numpy() / 255
    np.testing.assert_allclose(classifier.mean, pixels.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(classifier.std, pixels.std((0, 2, 3)), rtol=1e-6)
    normalized = classifier.normalize(images)
    torch.testing.assert_close(normalized.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_images_without_any_contrast_do_no_harm():
    classifier = build("cnn")
    classifier.fit_normalization(torch.full((4, 3, 8, 8), 255, dtype=torch.uint8))
    assert classifier(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).isfinite().all()


def test_adapting_whitens_the_patches_of_the_real_digits(digits):
    images = torch.from_numpy(digits[0])[:, None]
    classifier = build("cnn", input_size=(1, 8, 8))
    classifier.fit_normalization(images)
    whitening = classifier.network.whitening
    assert isinstance(whitening, nn.Conv2d)
    inside = nn.functional.conv2d(classifier.normalize(images), whitening.weight)  # no patches that hang over the edge
    half = inside.transpose(0, 1).flatten(1)[: whitening.out_channels // 2]
    torch.testing.assert_close(half.cov(), torch.eye(len(half)), atol=0.02, rtol=0)


def test_large_sets_are_whitened_by_some_of_their_images(digits, monkeypatch):
    images = torch.from_numpy(digits[0])[:, None]
    classifier = build("cnn", input_size=(1, 8, 8))
    seen = []
    monkeypatch.setattr(module, "whiten", lambda layer, given: seen.append(given))
    monkeypatch.setattr(module, "MAX_WHITENING_PIXELS", 8 * 8 * 600)
    classifier.fit_normalization(images)
    classifier.fit_normalization(images[:700])
    many, few = seen
    assert len(many) == 899, "every second one: 1,797 is nearly three times 600"
    assert len(few) == 700


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_summary_counts_every_parameter(name):
    classifier = build(name).train()
    *layers, last = classifier.summary().splitlines()
    total = sum(weights.numel() for weights in classifier.parameters())
    learned = sum(weights.numel() for weights in classifier.parameters() if weights.requires_grad)
    assert last == f"{total:,} parameters, {learned:,} of them learned"
    counts = [int(line.split()[-1].replace(",", "")) for line in layers[1:]]
    assert sum(counts) == total
    assert len({len(line) for line in layers}) == 1, "columns are aligned"
    assert classifier.training, "looking at a model does not change it"
    assert not any(layer._forward_hooks for layer in classifier.modules())


class Odd(torch.nn.Module):
    """A layer with parameters of its own and an activation inside, and attention, which calls no `out_proj`."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(8)
        self.norm.act = torch.nn.ReLU()
        self.attention = torch.nn.MultiheadAttention(8, 2)
        self.nothing = torch.nn.Identity()
        self.token = torch.nn.Parameter(torch.zeros(8))

    def forward(self, features):
        features = self.nothing(self.norm.act(self.norm(features))) + self.token
        return self.attention(features, features, features)[0]


def test_the_summary_counts_the_parameters_of_layers_with_parts():
    classifier = build(input_size=(1, 2, 4))
    classifier.network = torch.nn.Sequential(torch.nn.Flatten(), Odd())
    *layers, last = classifier.summary().splitlines()
    names = [line.split()[0] for line in layers[1:]]
    assert set(names) == {"0", "1", "1.norm", "1.attention", "1.attention.out_proj"}
    assert sum(int(line.split()[-1].replace(",", "")) for line in layers[1:]) == 16 + 8 + 4 * 8 * 8 + 4 * 8
    assert last.startswith("312 parameters")


def test_the_summary_shows_each_layers_shape():
    text = build(input_size=(1, 28, 28)).summary()
    assert re.search(r"fc1 +Linear +512 +401,920", text)
    assert re.search(r"head +Linear +3 +387", text)


def test_everything_needed_to_use_it_is_saved_with_it():
    classifier = build(mean=MEAN, std=STD, resize="pad")
    assert {"mean", "std", "temperature"} <= set(classifier.state_dict())
    assert (classifier.classes, classifier.input_size, classifier.resize) == (("a", "b", "c"), (3, 8, 8), "pad")
    assert classifier.architecture == {"name": "mlp"}


@pytest.mark.parametrize("tta", [None, "mirror+move"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_head_on_the_features_gives_the_logits_of_the_image_as_it_is(name, tta, images):
    torch.manual_seed(0)
    architecture = {"name": name} | ({"tta": tta} if tta else {})
    classifier = Classifier(architecture=architecture, classes=("a", "b", "c"), input_size=(3, 8, 8)).eval()
    with torch.inference_mode():
        features = classifier.features(images)
        both, logits = classifier.features_and_logits(images)
        plain = classifier.network(classifier.normalize(images))
        assert features.dtype == torch.float32
        assert features.shape == (200, classifier.network.num_features)
        assert torch.equal(features, both)
        assert torch.equal(classifier.network.head(features), plain)
        assert torch.equal(logits, classifier(images))
        assert torch.equal(logits, plain) == (tta is None)
