"""Model files of format 1, written by the version of before (tests/before/README.md), load and answer the same."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from firstlight.errors import ModelFileError
from firstlight.models import tensor_file
from firstlight.models.classifier import Classifier
from firstlight.models.libraries import find_network
from firstlight.models.model_file import load_model, read_model_card, save_model
from firstlight.models.tensor_file import TensorFile
from firstlight.models.weights import load_state_dict_file, load_weights

BEFORE = Path(__file__).parents[1] / "before"
EXPECTED = json.loads((BEFORE / "expected_logits.json").read_text("utf-8"))
FILES = {
    # name: how it resizes, and its architecture as of format 2
    "mlp-run/model.safetensors": ("crop", {"name": "mlp", "hidden": [16], "dropout": 0.2}),
    "cnn.safetensors": ("pad", {"name": "cnn", "width": 4, "tta": "mirror+move"}),
    "backbone-run/model.safetensors": ("crop:0.9", {"name": "timm:test_efficientnet", "head": "linear"}),
    "own_head.safetensors": ("squash", {"name": "timm:test_efficientnet", "head": "linear"}),
    "gray_enlarged.safetensors": ("crop:0.875", {"name": "timm:test_efficientnet", "head": "linear", "side": 32}),
}


def images_for(size, count=4):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, *size), dtype=np.uint8))


def header(path: Path) -> dict:
    with TensorFile(path) as file:
        return json.loads(file.metadata["firstlight"])


def write_format1(path: Path, network: torch.nn.Module, architecture: dict, size: tuple[int, int, int]) -> Path:
    """Write a file of format 1, with the head that the library gave the network."""
    fields = header(BEFORE / "own_head.safetensors")
    with TensorFile(BEFORE / "own_head.safetensors") as file:
        buffers = {name: tensor for name, tensor in file.read().items() if not name.startswith("network.")}
    for name in ("mean", "std"):
        buffers[name] = buffers[name][: size[0]].clone()
        fields[name] = buffers[name].tolist()
    tensors = buffers | {f"network.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
    fields |= {"architecture": architecture, "input_size": list(size), "sha256": "0" * 64}
    fields["sha256"] = tensor_file.digest_of(json.dumps(fields), tensors)
    safetensors.torch.save_file(tensors, path, metadata={"firstlight": json.dumps(fields)})
    return path


def of_library(name, size, count=3):
    library, model = find_network(name)
    torch.manual_seed(3)
    return library.build(model, size, count).eval()


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_before_gives_the_logits_of_before(name):
    assert header(BEFORE / name)["format"] == 1
    loaded = load_model(BEFORE / name)
    with torch.inference_mode():
        answers = loaded(images_for(loaded.input_size))
    torch.testing.assert_close(answers, torch.tensor(EXPECTED[name]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_its_card_reads_as_one_of_today(name):
    resize, architecture = FILES[name]
    card = read_model_card(BEFORE / name)
    assert (card.resize, card.architecture, card.trust) == (resize, architecture, None)
    assert card.sha256 == header(BEFORE / name)["sha256"], "the digest of the file as it stands"
    assert load_model(BEFORE / name).architecture == architecture


@pytest.mark.parametrize("name", FILES)
def test_saved_again_it_is_of_format_2_and_the_same_model(name, tmp_path):
    loaded = load_model(BEFORE / name)
    save_model(tmp_path / "m", loaded)
    fields = header(tmp_path / "m")
    assert (fields["format"], "fit" in fields, fields["resize"]) == (2, False, loaded.resize)
    again, images = load_model(tmp_path / "m"), images_for(loaded.input_size)
    with torch.inference_mode():
        assert torch.equal(again(images), loaded(images))


@pytest.mark.parametrize("name", FILES)
def test_its_weights_start_a_network_of_today(name):
    _, architecture = FILES[name]
    card = read_model_card(BEFORE / name)
    fresh = Classifier(
        architecture=architecture, classes=card.classes, input_size=card.input_size, resize=card.resize
    ).eval()
    load_weights(fresh, load_state_dict_file(BEFORE / name))
    with torch.inference_mode():
        answers = fresh(images_for(card.input_size))
    torch.testing.assert_close(answers, torch.tensor(EXPECTED[name]), rtol=0, atol=1e-5)


def test_a_damaged_file_of_before_is_refused(tmp_path):
    whole = bytearray((BEFORE / "cnn.safetensors").read_bytes())
    whole[-3] ^= 1
    (tmp_path / "m").write_bytes(whole)
    with pytest.raises(ModelFileError, match="does not match its own SHA-256"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("timm:test_resnet", (1, 32, 32)),
        ("torchvision:mobilenet_v3_small", (1, 32, 32)),
        ("torchvision:mnasnet0_5", (3, 32, 32)),
        ("timm:test_vit", (3, 64, 64)),
        pytest.param("torchvision:maxvit_t", (3, 224, 224), marks=pytest.mark.slow),  # its head has no bias
        ("timm:resnetv2_18", (3, 32, 32)),  # its head is a convolution after pooling
    ],
)
def test_heads_of_the_libraries_become_linear_ones_with_the_same_answers(name, size, tmp_path):
    network = of_library(name, size)
    path = write_format1(tmp_path / "m", network, {"name": name}, size)
    loaded = load_model(path)
    assert isinstance(loaded.network.head, torch.nn.Linear)
    with torch.inference_mode():
        truth = network(loaded.normalize(images_for(size)))
        torch.testing.assert_close(loaded(images_for(size)), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [32, 64])  # of one pixel, and of several, before the pooling
def test_a_head_before_pooling_is_refused_in_one_line(side, tmp_path):
    name, size = "torchvision:squeezenet1_1", (3, side, side)
    path = write_format1(tmp_path / "m", of_library(name, size), {"name": name}, size)
    for read in (load_model, load_state_dict_file):
        with pytest.raises(ModelFileError, match=r"does not end with its head \(classifier.1\)") as raised:
            read(path)
        assert "\n" not in str(raised.value)
        assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [("timm:levit_128", "has 2 heads"), ("timm:no_such", "no image classifier"), ("torchvision:vit_h_14", "missing")],
)
def test_other_networks_are_refused_in_one_line(name, words, tmp_path):
    network = of_library("timm:test_resnet", (3, 224, 224))
    path = write_format1(tmp_path / "m", network, {"name": name}, (3, 224, 224))
    with pytest.raises(ModelFileError, match=words) as raised:
        load_model(path)
    assert "\n" not in str(raised.value)


def test_a_header_that_only_claims_format_1_is_one_clear_line(tmp_path):
    shutil.copy(BEFORE / "own_head.safetensors", tmp_path / "m")
    with TensorFile(tmp_path / "m") as file:
        tensors = file.read()
    for fields in ({"format": 1, "architecture": {"name": "timm:test_vit"}}, {"format": 1, "architecture": []}, [1]):
        safetensors.torch.save_file(tensors, tmp_path / "m", metadata={"firstlight": json.dumps(fields)})
        with pytest.raises(ModelFileError) as raised:
            load_model(tmp_path / "m")
        assert "\n" not in str(raised.value)
