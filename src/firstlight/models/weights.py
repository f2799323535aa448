"""Weights from files: plain state dicts and checkpoints of other tools, checked and copied into a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.errors import ModelFileError
from firstlight.escaping import escape_name
from firstlight.files import expand_user
from firstlight.models import format1
from firstlight.models.tensor_file import (
    PICKLE_MAGIC,
    TensorFile,
    kind_of_file,
    open_weights,
    refuse_differences,
    refuse_non_finite,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

# The keys under which checkpoints keep weights, in order of preference: averaged ones, which are what their tools
# evaluate, and then what timm, Lightning, torchvision, PyTorch's tutorials and widely copied scripts call them.
CHECKPOINT_KEYS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model", "net", "network",
    "model_state", "net_state_dict", "weights", "params", "module", "backbone", "encoder", "teacher", "student",
)  # fmt: skip  # a table reads best with few lines
MAX_NESTING = 3  # tables inside tables, such as {"model": {"state_dict": ...}}

TORCHSCRIPT_MEMBER = "/code/"  # of the zip archive that torch.jit.save writes
EXPORT_MEMBERS = ("archive_format", "models/")  # of the one that torch.export.save writes


def load_state_dict_file(path: Path | str) -> "dict[str, Tensor]":
    """Read weights that any tool has saved, as `{name: tensor}` on the CPU.

    A `.safetensors` file, or what `torch.save` wrote: a plain state dict, or a checkpoint as torchvision, timm,
    Lightning, or tutorials write them, whose averaged weights are taken if there are any. Prefixes of wrappers
    (`module.`, `_orig_mod.`) are removed, and the names in firstlight's model files of format 1 are updated. The
    content decides, not the suffix.

    Raises:
        ModelFileError: if it cannot be read, holds Python objects besides tensors, or holds no weights.
    """
    path = expand_user(path)
    with open_weights(path) as file:
        start = file.read(73)
    is_safetensors = start[8:9] == b"{"
    if not is_safetensors and start.startswith(PICKLE_MAGIC):
        state = _find_state_dict(path, _torch_load(path))
    elif not is_safetensors and (kind := kind_of_file(start)) is not None:
        raise ModelFileError(
            f"{path} is {kind}; weights are read from .safetensors files and from what torch.save wrote: save the "
            "network's state_dict() where it was made"
        )
    else:
        with TensorFile(path) as opened:
            state = opened.read()
            if (text := opened.metadata.get("firstlight")) is not None:
                weights = {name: tensor for name, tensor in state.items() if not name.startswith("trust.")}
                state = format1.upgrade_state(path, text, weights)
    refuse_non_finite(path, state)
    return _unwrapped(state)


def load_weights(module: "nn.Module", state: "Mapping[str, Tensor]", *, source: Path | str = "the weights") -> None:
    """Copy `state` into `module`, which must have the same names and shapes; number types are converted.

    The names may have a common prefix of any depth, such as Lightning's `model.`. A batch norm's count of batches may
    be missing, as in old files.

    Raises:
        ModelFileError: if they differ; `module` is then unchanged.
    """
    expected = module.state_dict()
    counts = {name: count for name, count in expected.items() if name.endswith("num_batches_tracked")}
    first = next(iter(expected))
    for prefix in sorted((name.removesuffix(first) for name in state if name.endswith(f".{first}")), key=len):
        inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        if expected.keys() - counts.keys() <= inside.keys() <= expected.keys():
            state = inside
            break
    state = {**counts, **state}
    refuse_differences(source, state, expected)
    expected.update(state)  # it carries the versions of the layers' layouts, without which some refuse to load
    module.load_state_dict(expected)


def _torch_load(path: Path) -> Any:
    import pickle
    import warnings
    import zipfile

    import torch

    try:
        # an open file: torch would go by the suffix of a path
        with warnings.catch_warnings(action="ignore"), open_weights(path) as file:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    _refuse_programs(path, archive.namelist())
                    if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
                        raise ModelFileError(f"{path}: this zip archive is compressed, which no PyTorch checkpoint is")
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} holds Python objects, which could run code, and not just tensors; "
            "where it was made, save model.state_dict() instead"
        ) from error
    except ModelFileError:
        raise
    except Exception as error:  # the readers of old and damaged files raise whatever comes
        raise ModelFileError(f"{path} cannot be read by PyTorch; it is damaged, or not a state dict") from error


def _refuse_programs(path: Path, members: list[str]) -> None:
    """Refuse archives that hold a network as a program, by what they are."""
    if any(TORCHSCRIPT_MEMBER in name for name in members):
        raise ModelFileError(
            f"{path} is TorchScript, a program and not just weights; save its weights with "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)"
        )
    if any(name.partition("/")[2].startswith(EXPORT_MEMBERS) for name in members):
        raise ModelFileError(
            f"{path} is a program that torch.export wrote, and not just weights; save its weights with "
            "torch.save(torch.export.load(FILE).state_dict, NEW_FILE)"
        )


def _find_state_dict(path: Path, checkpoint: Any) -> "dict[str, Tensor]":
    import torch

    found = checkpoint
    for _ in range(MAX_NESTING):
        if (inner := _inner_table(path, found)) is None:
            break
        found = inner
    if not isinstance(found, dict) or not found:
        raise ModelFileError(f"{path} holds no weights; save model.state_dict() where it was made")
    size = path.stat().st_size
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ModelFileError(f"{path} is not a state dict: {name} is not a tensor; save model.state_dict() instead")
        # A few bytes can claim to be a huge tensor that repeats them; what is honest takes no more than the file.
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.nbytes > size:
            raise ModelFileError(f"{path}: {name} is not an ordinary tensor; save model.state_dict() instead")
    return {name: tensor for name, tensor in found.items() if name != "n_averaged"}  # AveragedModel's own counter


def _inner_table(path: Path, checkpoint: Any) -> Any:
    """Return the table of weights inside a checkpoint, by its key or, if it has another, as the only one there is."""
    import torch

    if not isinstance(checkpoint, dict):
        return None
    for key in CHECKPOINT_KEYS:
        if isinstance(inner := checkpoint.get(key), dict) and inner:
            return inner
    if any(isinstance(value, torch.Tensor) for value in checkpoint.values()):
        return None
    tables = {
        key: value
        for key, value in checkpoint.items()
        if isinstance(value, dict) and value and all(isinstance(one, torch.Tensor) for one in value.values())
    }
    if len(tables) > 1:
        names = ", ".join(escape_name(str(key)) for key in tables)
        raise ModelFileError(
            f"{path} holds the weights of several networks ({names}); save the state_dict() of one of them"
        )
    return next(iter(tables.values()), None)


def _unwrapped(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Remove `module.` (data parallel, averaging) where every name has it, and `_orig_mod.` (compiled) anywhere."""
    state = {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items()}
    while state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state
