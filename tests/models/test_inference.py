"""A classifier made ready to answer says what the plain one says, and follows it when its weights change."""

import pytest
import torch

from firstlight.models import inference
from firstlight.models.classifier import Classifier
from firstlight.models.inference import ready


def classifier(name="torchvision:mobilenet_v2", side=64):
    torch.manual_seed(0)
    made = Classifier(architecture={"name": name}, classes=tuple("abcde"), input_size=(3, side, side))
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # as training leaves them: no norm does nothing
            torch.nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    return made


def pictures(count=8, side=64):
    rng = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=rng)


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v2", "timm:resnet18", "torchvision:squeezenet1_1"])
def test_it_gives_the_logits_of_the_plain_classifier(name):
    plain = classifier(name)
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    with torch.inference_mode():
        answers = ready(plain)(pictures())
        truth = plain.eval()(pictures())
    torch.testing.assert_close(answers, truth, rtol=1e-3, atol=1e-4 * truth.abs().max().item())
    assert answers.dtype == torch.float32
    torch.testing.assert_close(plain.state_dict(), state, rtol=0, atol=0)


def test_every_norm_behind_a_convolution_is_gone():
    layers = [type(layer) for layer in ready(classifier()).modules()]
    assert torch.nn.Conv2d in layers
    assert torch.nn.BatchNorm2d not in layers


def test_a_batch_is_taken_by_handfuls_and_each_image_gets_its_own_answer(monkeypatch):
    plain, seen = classifier(), []
    monkeypatch.setattr(inference, "HANDFUL_PIXELS", 3 * 64 * 64)
    quick = ready(plain)
    quick.network.network.register_forward_hook(lambda _layer, inputs, _output: seen.append(len(inputs[0])))
    with torch.inference_mode():
        answers = quick(pictures(8))
        truth = torch.cat([plain(picture[None]) for picture in pictures(8)])
    assert seen == [3, 3, 2]
    torch.testing.assert_close(answers, truth, rtol=1e-3, atol=1e-4 * truth.abs().max().item())


def test_it_is_made_once_and_anew_when_a_weight_changes():
    plain = classifier()
    first = ready(plain)
    assert ready(plain) is first
    with torch.no_grad():
        next(plain.network.parameters()).mul_(2)
    second = ready(plain)
    assert second is not first
    with torch.inference_mode():
        assert not torch.equal(first(pictures()), second(pictures()))
    plain.temperature.fill_(3.0)
    assert ready(plain).temperature == 3.0


def test_our_own_networks_answer_as_they_are():
    plain = Classifier(architecture={"name": "cnn"}, classes=("a", "b"), input_size=(1, 28, 28)).train()
    assert ready(plain) is plain
    assert not plain.training


def test_a_network_that_cannot_be_traced_answers_all_the_same():

    class Choosy(torch.nn.Module):
        def forward(self, images):
            return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))

    plain = classifier()
    plain.network = Choosy()
    with torch.inference_mode():
        torch.testing.assert_close(ready(plain)(pictures()), plain(pictures()))
