"""Networks of several families become files that say what they say; LOG.md has the table of a larger sweep by hand."""

import numpy as np
import pytest
import torch

import firstlight as fl
from firstlight.models.classifier import Classifier

ENLARGED = 4  # times, so that networks for photographs have something left of 8 x 8 pixels


@pytest.fixture
def enlarged(colored):
    return np.kron(colored[:64], np.ones((1, ENLARGED, ENLARGED, 1), np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "to", "more"),
    [
        ("cnn", "onnx", {}),
        ("timm:test_vit", "onnx", {"head": "linear", "side": 160}),
        ("timm:test_convnext", "torch", {"head": "linear"}),
        ("torchvision:squeezenet1_1", "torch", {"head": "linear"}),
        ("timm:test_efficientnet", "torch", {"head": "linear"}),
    ],
)
def test_a_network_is_exported(name, to, more, enlarged, tmp_path):
    torch.manual_seed(0)
    side = enlarged.shape[1]
    model = Classifier(architecture={"name": name, **more}, classes=tuple("abcdef"), input_size=(3, side, side)).eval()
    torch.nn.init.normal_(model.network.head.weight)
    suffix = {"onnx": ".onnx", "torch": ".pt2"}[to]
    written = fl.export(model, to, check=enlarged, out=tmp_path / f"model{suffix}")
    assert (written.checked.n, written.checked.top1_agreement) == (64, 1)
    assert written.checked.max_difference < 1e-5
