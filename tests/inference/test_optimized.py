"""An optimized classifier gives the answers of the plain one, and leaves it as it was."""

import pytest
import torch

from firstlight.inference import optimized as module
from firstlight.inference.optimized import optimized
from firstlight.models.classifier import Classifier


def classifier(name="torchvision:mnasnet0_5", side=64):
    torch.manual_seed(0)
    made = Classifier(architecture={"name": name, "head": "linear"}, classes=tuple("abcde"), input_size=(3, side, side))
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # as training leaves them: no norm does nothing
            torch.nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    return made


def pictures(count=8, side=64):
    rng = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=rng)


@pytest.mark.parametrize(
    "name", ["torchvision:mnasnet0_5", "timm:resnet18", "torchvision:squeezenet1_1", "timm:tf_efficientnet_lite0"]
)
def test_it_gives_the_logits_of_the_plain_classifier(name):
    plain = classifier(name)
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    with torch.inference_mode():
        answers = optimized(plain)(pictures())
        truth = plain.eval()(pictures())
    torch.testing.assert_close(answers, truth, rtol=1e-3, atol=1e-4 * truth.abs().max().item())
    assert answers.dtype == torch.float32
    torch.testing.assert_close(plain.state_dict(), state, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["torchvision:mnasnet0_5", "timm:tf_efficientnet_lite0"])
def test_every_norm_behind_a_convolution_is_gone(name):
    layers = [*optimized(classifier(name)).modules()]
    assert any(isinstance(layer, torch.nn.Conv2d) for layer in layers)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in layers)


def test_a_norm_that_only_looks_as_if_it_followed_a_convolution_stays():
    from timm.layers.norm_act import BatchNormAct2d

    class TheOtherWayRound(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 3)
            self.norm = BatchNormAct2d(3)

        def forward(self, images):
            return self.conv(self.norm(images)).mean((2, 3))

    network = TheOtherWayRound().eval()
    torch.nn.init.uniform_(network.norm.running_mean, 1, 2)
    images = pictures().float()
    with torch.inference_mode():
        assert torch.equal(module.folded(network)(images), network(images))


def test_a_batch_is_taken_in_parts_and_each_image_gets_its_own_answer(monkeypatch):
    plain, seen = classifier().eval(), []
    monkeypatch.setattr(module, "MAX_PIXELS_AT_ONCE", 3 * 64 * 64)
    quick = optimized(plain)
    quick.network.body.register_forward_hook(lambda _layer, inputs, _output: seen.append(len(inputs[0])))
    with torch.inference_mode():
        answers = quick(pictures(8))
        truth = torch.cat([plain(picture[None]) for picture in pictures(8)])
    assert seen == [3, 3, 2]
    torch.testing.assert_close(answers, truth, rtol=1e-3, atol=1e-4 * truth.abs().max().item())


@pytest.mark.parametrize("architecture", [{"name": "cnn"}, {"name": "timm:test_resnet", "head": "linear"}])
def test_what_happens_to_the_original_changes_nothing(architecture):
    plain = Classifier(architecture=architecture, classes=("a", "b"), input_size=(3, 64, 64))
    modes = [module.training for module in plain.modules()]
    quick = optimized(plain)
    assert [module.training for module in plain.modules()] == modes
    with torch.inference_mode():
        before = quick.probabilities(pictures())
        for tensor in plain.state_dict().values():
            tensor.mul_(2)
        assert torch.equal(quick.probabilities(pictures()), before)
    assert not any(module.training for module in quick.modules())


def test_our_own_networks_answer_to_the_same_bits():
    plain = Classifier(architecture={"name": "cnn"}, classes=("a", "b"), input_size=(3, 64, 64)).eval()
    with torch.inference_mode():
        assert torch.equal(optimized(plain)(pictures()), plain(pictures()))


def test_features_and_logits_come_from_one_pass_and_belong_together():
    quick = optimized(classifier("timm:test_resnet"))
    with torch.inference_mode():
        features, logits = quick.features_and_logits(pictures())
        assert features.shape == (8, quick.network.num_features)
        assert torch.equal(features, quick.features(pictures()))
        assert torch.equal(logits, quick(pictures()))
        torch.testing.assert_close(quick.network.head(features), logits)


def test_a_network_that_cannot_be_traced_answers_all_the_same():

    class Choosy(torch.nn.Module):
        def forward(self, images):
            return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))

    plain = classifier().eval()
    plain.network.body = Choosy()
    plain.network.head = torch.nn.Linear(3, 5)
    with torch.inference_mode():
        torch.testing.assert_close(optimized(plain)(pictures()), plain(pictures()))
