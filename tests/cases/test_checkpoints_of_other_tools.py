"""Checkpoints of other tools and of tutorials: the weights are found, and what holds none is called by its name."""

import collections
import io
import warnings
import zipfile

import pytest
import torch
from torch import nn

from firstlight.errors import ModelFileError
from firstlight.models.weights import load_state_dict_file, load_weights


def network():
    layers = collections.OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), fc=nn.Linear(4, 2))
    return nn.Sequential(layers)


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


OPTIMIZER = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
LAYOUTS = {
    "PyTorch's tutorial": lambda state: {"epoch": 1, "model_state_dict": state, "optimizer_state_dict": OPTIMIZER},
    "net, as in many scripts for CIFAR": lambda state: {"net": state, "acc": 91.2, "epoch": 7},
    "network": lambda state: {"network": state, "loss": torch.tensor(0.5)},
    "weights": lambda state: {"weights": state},
    "params": lambda state: {"params": state},
    "a table in a table": lambda state: {"model": {"state_dict": state}, "epoch": 1},
    "a teacher": lambda state: {"student": {"x": torch.zeros(1)}, "teacher": prefixed(state, "module.backbone.")},
    "a key that nobody knows": lambda state: {"my_classifier": state, "epoch": 1, "optimizer": OPTIMIZER},
    "averaged first": lambda state: {"model": {"x": torch.zeros(1)}, "ema_state_dict": state},
    "one prefix": lambda state: prefixed(state, "model."),
    "two prefixes": lambda state: {"state_dict": prefixed(state, "net.backbone.")},
    "four prefixes": lambda state: prefixed(state, "a.b.c.d."),
    "prefixed, beside other layers": lambda state: prefixed(state, "net.encoder.") | {"net.loss.weight": torch.ones(2)},
    "prefixed, without counts": lambda state: {
        f"net.{name}": tensor for name, tensor in state.items() if "num_batches" not in name
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_weights_are_found_whatever_they_are_called(layout, tmp_path):
    torch.manual_seed(1)
    state = network().state_dict()
    torch.save(LAYOUTS[layout](state), tmp_path / "theirs.pth")
    module = network()
    assert not torch.equal(module.fc.weight, state["fc.weight"])
    load_weights(module, load_state_dict_file(tmp_path / "theirs.pth"), source="theirs.pth")
    torch.testing.assert_close(module.state_dict(), state, rtol=0, atol=0)


def test_of_several_networks_none_is_guessed(tmp_path):
    state = network().state_dict()
    torch.save({"generator": state, "discriminator": state}, tmp_path / "gan.pth")
    with pytest.raises(ModelFileError, match=r"several networks \(generator, discriminator\); save the state_dict"):
        load_state_dict_file(tmp_path / "gan.pth")


def torchscript():
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated; files of it will be around for years
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


OTHERS = {
    "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(200), "an HDF5 file, as Keras writes"),
    "net.onnx": (b"\x08\x07\x12\x07pytorch" + bytes(100), "an ONNX file"),
    "no_maker.onnx": (b"\x08\x0a\x3a\x85\x12" + bytes(100), "an ONNX file"),
    "net.tflite": (b"\x1c\0\0\0TFL3" + bytes(100), "a TensorFlow Lite file"),
    "net.gguf": (b"GGUF" + bytes(100), "a GGUF file"),
    "lfs.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
    "login.pth": (b"<!DOCTYPE html><html>" + bytes(100), "a web page"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_checkpoint_is_called_by_its_name(name, tmp_path):
    content, words = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=f"{name} is {words}.*save the network's state_dict") as raised:
        load_state_dict_file(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_program_is_called_by_its_name_and_its_weights_can_be_had(tmp_path):
    with zipfile.ZipFile(tmp_path / "exported.pt2", "w") as archive:
        archive.writestr("net/archive_format", "pt2")
    with pytest.raises(ModelFileError, match=r"torch.export wrote.*torch.export.load\(FILE\).state_dict"):
        load_state_dict_file(tmp_path / "exported.pt2")
    (tmp_path / "script.pt").write_bytes(torchscript())
    with pytest.raises(ModelFileError, match=r"is TorchScript, .*torch.jit.load\(FILE\).state_dict\(\)") as raised:
        load_state_dict_file(tmp_path / "script.pt")
    assert "\n" not in str(raised.value)
