"""What tests of every room share: real images, a cache of their own, the same random numbers, and no network."""

import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

REPOSITORY = Path(__file__).parents[1]

# How long an example takes says what else the machine does, and is no test of ours.
settings.register_profile("firstlight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("firstlight")

# A process in the background may ignore signals, and hand that on; what tests send has to be heard.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGHUP", 0), signal.SIG_DFL)):
    if number and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests come first, so that no process waits for one at the end, and their coverage is not measured."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def _commands_of_slow_tests_are_not_measured(request, monkeypatch) -> None:
    """Measuring coverage makes everything half as slow again; the quick tests hold the same claims."""
    if request.node.get_closest_marker("slow"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real sets (mnist/, fashion-mnist/, cifar10-jpeg.tar.gz, clothing10.tar, weights/)."""
    folder = Path(os.environ.get("FIRSTLIGHT_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the real sets are not here: expected in ../shared/data or FIRSTLIGHT_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 real handwritten digits: images uint8 [N, 8, 8], labels int64 [N]."""
    from sklearn.datasets import load_digits

    real = load_digits()
    return np.rint(real.images * (255 / 16)).astype(np.uint8), real.target.astype(np.int64)


@pytest.fixture(scope="session")
def digit_folder(digits, tmp_path_factory) -> Path:
    """A folder `<class>/<number>.png` with 12 real 8x8 digits of each of 10 classes; not to be changed."""
    root = tmp_path_factory.mktemp("real") / "digit-folder"
    images, labels = digits
    for label in range(10):
        folder = root / str(label)
        folder.mkdir(parents=True)
        for row in np.flatnonzero(labels == label)[:12]:
            Image.fromarray(images[row]).save(folder / f"{row:04d}.png")
    return root


@pytest.fixture(scope="session")
def digit_run(tmp_path_factory, digit_folder):
    """A finished run on `digit_folder`, of a quarter of a second's training; its folder is not to be changed."""
    from firstlight.data.sources import load_data
    from firstlight.training.recipe import Recipe
    from firstlight.training.train import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        recipe = Recipe.of(model="mlp", hidden=(64,), epochs=40, batch_size=32)
        return train(load_data(digit_folder), recipe, tmp_path_factory.mktemp("runs") / "digits-1")


@pytest.fixture(scope="session")
def exported(digit_run, tmp_path_factory):
    """The model of that run as ONNX; the file is not to be changed."""
    import firstlight as fl

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return fl.export(digit_run, out=tmp_path_factory.mktemp("exported") / "model.onnx")


class Backbone(NamedTuple):
    """A network of a library by its name, with two files of weights."""

    name: str
    file: Path
    blunt: Path  # weights with which all features are alike until it has learned


@pytest.fixture(scope="session")
def backbone(tmp_path_factory) -> Backbone:
    """A real architecture, tiny, with random weights whose features suffice for digits; its files stay as they are."""
    import timm
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = timm.create_model("test_resnet").state_dict()
    folder = tmp_path_factory.mktemp("weights")
    save_file(state, folder / "tiny.safetensors")
    for norm in ("bn2", "downsample.2"):
        state[f"layer4.0.{norm}.weight"] = torch.zeros(96)
    state["layer4.0.bn2.bias"] = torch.full((96,), 0.1)
    save_file(state, folder / "blunt.safetensors")
    return Backbone("timm:test_resnet", folder / "tiny.safetensors", folder / "blunt.safetensors")


@pytest.fixture(scope="session")
def some_digits(digits):
    """300 digits, as 8 x 8 gray arrays, with their labels."""
    images, labels = digits
    return images[:300], labels[:300]


@pytest.fixture(scope="session")
def array_run(tmp_path_factory, some_digits):
    """A short run on arrays, which leaves some mistakes; its folder, without figures, is not to be changed."""
    from firstlight.data.sources import load_data
    from firstlight.training.recipe import Recipe
    from firstlight.training.train import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        recipe = Recipe.of(model="mlp", hidden=(16,), epochs=3, batch_size=32)
        return train(load_data(some_digits), recipe, tmp_path_factory.mktemp("runs") / "arrays")


@pytest.fixture
def no_home(monkeypatch):
    """The user has no HOME and no account, as in a container that runs under any number."""

    import pwd

    def unknown(_number: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch) -> None:
    """No test reads or fills the user's cache."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(cache))
    monkeypatch.delenv("FIRSTLIGHT_DATA", raising=False)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    """What a test draws from torch's own generator does not depend on the tests before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def rendered() -> None:
    """In a test that asks for this, the figures of a run are really rendered."""


@pytest.fixture(autouse=True)
def _figures_are_not_rendered(request, monkeypatch) -> None:
    """The figures of a run are made, but their files are empty: to render them takes longer than to train."""
    if "torch" not in sys.modules or "rendered" in request.fixturenames:
        return

    def save(drawing, name: str, axes: object) -> Path:
        file = drawing.folder / f"{name}{drawing.suffix}.png"
        file.touch()
        return file

    monkeypatch.setattr("firstlight.delivery.figures._Drawing.save", save)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch) -> None:
    """A test that would leave this machine fails at once."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family != getattr(socket, "AF_UNIX", None) and host not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests have no network ({address})")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)
    monkeypatch.setattr(socket, "getaddrinfo", _local_names_only(socket.getaddrinfo))


def _local_names_only(lookup):
    def local(host, *args, **kwargs):
        if host not in (None, "", "localhost") and not _is_address(host):
            raise socket.gaierror(f"tests have no network ({host})")
        return lookup(host, *args, **kwargs)

    return local


def _is_address(host) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


@pytest.fixture
def hears_interrupts():
    """Let Ctrl-C raise KeyboardInterrupt: whoever runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
