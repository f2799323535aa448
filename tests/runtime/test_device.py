"""A device that is not there is refused in one line; number types are chosen by what the machine gains from."""

import pytest
import torch

from firstlight.errors import RecipeError
from firstlight.runtime import device as device_room
from firstlight.runtime.device import autocast, pick_device, pick_dtype

CPU = torch.device("cpu")


def test_auto_is_a_device_that_works():
    assert torch.zeros(1, device=pick_device("auto")).item() == 0
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["", "gpu", "tpu", "cuda:first", "cpu:-1", "CPU", "cuda:1:2"])
def test_an_unknown_device_is_refused_with_the_choices(name):
    with pytest.raises(RecipeError, match="no such device; choose auto, cpu, cuda") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cuda:4096", "cpu:1", "mps:1"])
def test_a_device_that_this_machine_lacks_is_refused(name):
    with pytest.raises(RecipeError, match=f"device = '{name}': PyTorch finds no such device"):
        pick_device(name)


def test_devices_are_chosen_in_order_of_speed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device() == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device() == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device() == CPU


@pytest.mark.parametrize(
    ("capabilities", "gains"),
    [
        ({"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),
        ({"avx512_f": True}, False),
        ({}, False),
    ],
)
def test_bfloat16_is_taken_unasked_only_on_processors_that_gain(capabilities, gains, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert pick_dtype(CPU) == (torch.bfloat16 if gains else torch.float32)
    assert pick_dtype(CPU, "float32") == torch.float32
    assert pick_dtype(CPU, "bfloat16") == torch.bfloat16


def test_autocast_is_on_only_for_another_type_than_float32():
    matrix = torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with autocast(CPU, dtype):
            assert (matrix @ matrix).dtype == dtype


def test_compiling_without_a_compiler_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(device_room.shutil, "which", lambda _name: None)
    with pytest.raises(RecipeError, match="install g"):
        device_room.require_compiler()
