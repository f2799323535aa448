import collections
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from firstlight.errors import ModelFileError
from firstlight.models.weights import TensorFile, load_state_dict_file, load_weights


def network() -> nn.Sequential:
    return nn.Sequential(
        collections.OrderedDict(
            conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), flatten=nn.Flatten(), fc=nn.Linear(4, 2)
        )
    )


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_safetensors_file_reads_as_the_library_reads_it(tmp_path: Path) -> None:
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8]
    tensors = {f"t{number}": (torch.randn(number, 3) * 9).to(kind) for number, kind in enumerate(kinds)}
    tensors |= {"flag": torch.tensor([True, False]), "scalar": torch.tensor(2.5)}
    safetensors.torch.save_file(tensors, tmp_path / "w.safetensors", metadata={"a": "b"})
    with TensorFile(tmp_path / "w.safetensors") as file:
        read = file.read()
        assert file.metadata == {"a": "b"}
    oracle = safetensors.torch.load_file(tmp_path / "w.safetensors")
    assert same(read, oracle)
    assert all(read[name].dtype == oracle[name].dtype for name in oracle)


def test_real_weights_fit_the_network_they_are_named_after(shared_data: Path) -> None:
    from torchvision.models import get_model

    model = get_model("squeezenet1_1", weights=None)
    file = shared_data / "weights" / "squeezenet1_1-imagenet.safetensors"
    load_weights(model, load_state_dict_file(file), source=file)
    assert same(model.state_dict(), safetensors.torch.load_file(file))


CHECKPOINTS = {
    "plain": lambda state: state,
    "torchvision": lambda state: {"model": state, "optimizer": {"state": {}}, "epoch": 3},
    "torchvision averaged": lambda state: {
        "model": {name: tensor * 0 for name, tensor in state.items()},
        "model_ema": {"n_averaged": torch.tensor(9)} | {f"module.{name}": tensor for name, tensor in state.items()},
    },
    "timm": lambda state: {"state_dict": state, "epoch": 1, "arch": "resnet18", "metric": 0.5, "version": 2},
    "timm averaged": lambda state: {"state_dict": {"x": torch.zeros(1)}, "state_dict_ema": state},
    "lightning": lambda state: {
        "state_dict": {f"model.{name}": tensor for name, tensor in state.items()} | {"metric.total": torch.zeros(1)},
        "hyper_parameters": {"lr": 0.1},
    },
    "data parallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "compiled in parallel": lambda state: {
        f"module._orig_mod.module._orig_mod.{name}": tensor for name, tensor in state.items()
    },
    "parallel, partly compiled": lambda state: {
        f"module.{'_orig_mod.' if name.startswith('conv') else ''}{name}": tensor for name, tensor in state.items()
    },
    "without counts": lambda state: {name: tensor for name, tensor in state.items() if "num_batches" not in name},
    "half": lambda state: {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()
    },
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])  # the content decides
@pytest.mark.parametrize("layout", CHECKPOINTS)
def test_the_checkpoints_of_other_tools_are_understood(tmp_path: Path, layout: str, suffix: str) -> None:
    state = {
        name: tensor.half().float() if tensor.is_floating_point() else tensor
        for name, tensor in network().state_dict().items()
    }
    path = tmp_path / f"checkpoint{suffix}"
    torch.save(CHECKPOINTS[layout](state), path)
    module = network()
    load_weights(module, load_state_dict_file(path), source=path)
    assert same(module.state_dict(), state)


def test_the_old_format_of_torch_is_understood(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert same(load_state_dict_file(tmp_path / "old.pt"), state)


def test_a_module_of_the_name_module_keeps_it(tmp_path: Path) -> None:
    torch.save({"module.weight": torch.ones(1), "fc.weight": torch.ones(1)}, tmp_path / "w.pth")
    assert set(load_state_dict_file(tmp_path / "w.pth")) == {"module.weight", "fc.weight"}


class Trap:
    """Its pickle would create a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, (str(self.path), "w")  # type: ignore[return-value]


def test_no_pickle_runs_code(tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    torch.save({"state_dict": {"weight": trap}}, tmp_path / "trap.pth")
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(trap))
    torch.save(network(), tmp_path / "module.pth")
    for name in ("trap.pth", "trap.pkl", "module.pth"):
        with pytest.raises(ModelFileError, match=r"state_dict\(\)|damaged"):
            load_state_dict_file(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_state_dict_is_one_clear_line(tmp_path: Path) -> None:
    repeated = torch.zeros(1).expand(2**40)
    cases = {
        "list": [1, 2],
        "empty": {},
        "words": {"weight": "heavy"},
        "numbered": {0: torch.zeros(1)},
        "infinite": {"weight": torch.tensor([1.0, float("inf")])},
        "bomb": {"weight": repeated},
        "sparse": {"weight": torch.eye(2).to_sparse()},
        "meta": {"weight": torch.zeros(2, device="meta")},
    }
    for name, value in cases.items():
        torch.save(value, tmp_path / name)
        with pytest.raises(ModelFileError, match=r"state_dict|holds NaN") as raised:
            load_state_dict_file(tmp_path / name)
        assert "\n" not in str(raised.value), name


def test_damaged_and_compressed_archives_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "good.pth")
    whole = (tmp_path / "good.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1_000_000))
    for name, words in {"cut.pth": "cannot be read by PyTorch", "bomb.pth": "compressed"}.items():
        with pytest.raises(ModelFileError, match=words):
            load_state_dict_file(tmp_path / name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"data.pkl", b"data.p\xff\xfe"),
        lambda data: data.replace(b"PK\x01\x02", b"PK\xff\x02"),
    ],
)
def test_an_archive_whose_table_of_names_is_damaged_is_refused(tmp_path: Path, damage) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "good.pth")
    (tmp_path / "bad.pth").write_bytes(damage((tmp_path / "good.pth").read_bytes()))
    with pytest.raises(ModelFileError, match="damaged"):
        load_state_dict_file(tmp_path / "bad.pth")


def test_weights_of_another_network_are_refused_by_name_and_nothing_is_changed() -> None:
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = dict(before)
    other = {
        r"fc.weight is 9 x 4, the network's is 2 x 4$": state | {"fc.weight": torch.zeros(9, 4)},
        r"fc.bias is missing$": {name: tensor for name, tensor in state.items() if name != "fc.bias"},
        r"the network has no head.bias$": state | {"head.bias": torch.zeros(2)},
        r"fc.bias holds torch.int8, the network's torch.float32": state | {"fc.bias": torch.zeros(2, dtype=torch.int8)},
        r"; and 9 more$": {f"x{number}": torch.zeros(1) for number in range(4)} | {"norm.bias": torch.zeros(1)},
    }
    for words, wrong in other.items():
        with pytest.raises(ModelFileError, match=words) as raised:
            load_weights(module, wrong, source="them.pth")
        assert str(raised.value).startswith("them.pth does not match")
        assert same(module.state_dict(), before)
