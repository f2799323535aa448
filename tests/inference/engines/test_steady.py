"""An image gets the same answer, to the last bit, whatever images it comes with."""

import pickle

import pytest
import torch

from firstlight.inference.engines.rows import SteadyLinear, in_steps, steps_for
from firstlight.inference.engines.steady import SteadyEngine
from firstlight.inference.engines.torch_engine import TorchEngine
from firstlight.models.classifier import Classifier

COUNTS = (1, 2, 3, 5, 8, 13, 64, 31)


def images_for(model, count):
    size = (count, *model.input_size)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_batches_of_any_size_give_the_bits_of_each_image_alone(digit_run):
    model = digit_run.model
    engine = SteadyEngine(TorchEngine(model), model)
    images = images_for(model, sum(COUNTS))
    alone = [torch.cat(column) for column in zip(*(engine(image[None]) for image in images), strict=True)]
    start = 0
    for count in COUNTS:
        found = engine(images[start : start + count])
        for name, column, expected in zip(found._fields, found, alone, strict=True):
            assert torch.equal(column, expected[start : start + count]), (count, name)
        start += count


@pytest.mark.parametrize("architecture", [{"name": "cnn", "width": 8}, {"name": "timm:test_resnet", "head": "linear"}])
def test_networks_of_every_kind_are_steady(architecture):
    torch.manual_seed(0)
    model = Classifier(architecture=architecture, classes=tuple("abc"), input_size=(3, 32, 32)).eval()
    engine = SteadyEngine(TorchEngine(model), model)
    images = images_for(model, 20)
    alone = torch.cat([engine(image[None]).logits for image in images])
    together = torch.cat([engine(images[:13]).logits, engine(images[13:]).logits])
    assert torch.equal(together, alone)
    torch.testing.assert_close(alone, model(images), rtol=1e-3, atol=1e-4)


class Fake:
    """An engine whose answer depends on the size of the batch, unless it is one of `alike`, or on the place in it."""

    name = "fake"

    def __init__(self, *alike, uneven=()):
        self.alike = alike
        self.uneven = uneven
        self.sizes = []

    def features_and_logits(self, images):
        count = len(images)
        self.sizes.append(count)
        features = images.flatten(1).float() + (0 if count in self.alike else count / 1024)
        if count in self.uneven:
            features[1:] += 1 / 64
        return features, features[:, :2]


@pytest.mark.parametrize(
    ("fake", "used", "off"),
    [
        (Fake(1), [2, 2, 2, 2], 2 / 1024),  # a lone image goes twice
        (Fake(2, 4), [4, 2, 2], 0),
        (Fake(1, uneven=[2]), [1] * 7, 0),
        (Fake(1, 4, uneven=[2]), [4, 1, 1, 1], 0),
        (Fake(1, 2), [2, 2, 2, 1], 0),
        (Fake(1, 2, 4), [4, 2, 1], 0),
        (Fake(1, 2, 4, uneven=[4]), [2, 2, 2, 1], 0),
    ],
)
def test_only_sizes_are_used_that_a_trial_has_found_alike(fake, used, off):
    model = Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 4, 4))
    engine = SteadyEngine(fake, model)
    engine.try_sizes(4)
    fake.sizes.clear()
    images = images_for(model, 7)
    features, _ = engine.features_and_logits(images)
    assert fake.sizes == used
    assert torch.equal(features, images.flatten(1).float() + off)


def test_a_large_image_never_goes_twice():
    model = Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 160, 160))
    fake = Fake(2, 4)
    SteadyEngine(fake, model).features_and_logits(images_for(model, 1))
    assert fake.sizes[-1] == 1


def test_a_size_is_tried_once_enough_images_have_come():
    model = Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 4, 4))
    fake = Fake(1, 2, 4, 8)
    engine = SteadyEngine(fake, model)
    engine.features_and_logits(images_for(model, 8))
    assert 8 not in fake.sizes
    for _ in range(4):
        engine.features_and_logits(images_for(model, 8))
    assert fake.sizes[-1] == 8


def test_it_can_be_pickled(digit_run):
    engine = SteadyEngine(TorchEngine(digit_run.model), digit_run.model)
    images = images_for(digit_run.model, 3)
    again = pickle.loads(pickle.dumps(engine))
    assert torch.equal(again(images).probabilities, engine(images).probabilities)


def test_steps_are_of_one_size_and_keep_the_order():
    seen = []

    def double(rows):
        seen.append(len(rows))
        return rows * 2

    values = torch.arange(19.0)
    assert torch.equal(in_steps(double, values), values * 2)
    assert seen == [8, 8, 8]
    assert steps_for(torch.rand(10, 300)) in (1, 8)


def test_a_steady_linear_layer_shares_its_weights_and_leaves_the_original():
    layer = torch.nn.Linear(300, 10)
    steady = SteadyLinear.of(layer)
    features = torch.rand(21, 300)
    assert steady.weight is layer.weight
    assert type(layer) is torch.nn.Linear
    with torch.inference_mode():
        torch.testing.assert_close(steady(features), layer(features))
        assert torch.equal(steady(features), torch.cat([steady(row[None]) for row in features]))
