"""Weights from files: plain state dicts and checkpoints of other tools, checked and copied into a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.errors import ModelFileError
from firstlight.files import expand_user
from firstlight.models import format1
from firstlight.models.tensor_file import MAGIC, TensorFile, open_weights, refuse_differences, refuse_non_finite

if TYPE_CHECKING:
    from torch import Tensor, nn

# The keys under which checkpoints keep weights, in order of preference: averaged ones of timm and torchvision, which
# those evaluate, then those of timm, Lightning and torchvision.
CHECKPOINT_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")


def load_state_dict_file(path: Path | str) -> "dict[str, Tensor]":
    """Read weights that any tool has saved, as `{name: tensor}` on the CPU.

    A `.safetensors` file, or what `torch.save` wrote: a plain state dict, or a checkpoint of torchvision, timm or
    Lightning, whose averaged weights are taken where there are any. Prefixes of wrappers (`module.`, `_orig_mod.`) are
    removed, and the names of our own model files of format 1 become today's. The content decides, not the suffix.

    Raises:
        ModelFileError: if it cannot be read, holds Python objects besides tensors, or holds no weights.
    """
    path = expand_user(path)
    with open_weights(path) as file:
        start = file.read(9)
    if start[8:] != b"{" and any(start.startswith(magic) for magic in MAGIC):
        state = _find_state_dict(path, _torch_load(path))
    else:
        with TensorFile(path) as opened:
            state = opened.read()
            if (text := opened.metadata.get("firstlight")) is not None:
                state = format1.upgrade_state(path, text, state)
    refuse_non_finite(path, state)
    return _unwrapped(state)


def load_weights(module: "nn.Module", state: "Mapping[str, Tensor]", *, source: Path | str = "the weights") -> None:
    """Copy `state` into `module`, which must have the same names and shapes; number types are converted.

    The names may have one common prefix, such as Lightning's `model.`. A batch norm's count of batches may be missing,
    as in old files.

    Raises:
        ModelFileError: if they differ; `module` is then unchanged.
    """
    expected = module.state_dict()
    for prefix in {name.partition(".")[0] + "." for name in state}:
        inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        if inside.keys() == expected.keys():
            state = inside
    counts = {name: count for name, count in expected.items() if name.endswith("num_batches_tracked")}
    state = {**counts, **state}
    refuse_differences(source, state, expected)
    expected.update(state)  # it carries the versions of the layers' layouts, without which some refuse to load
    module.load_state_dict(expected)


def _torch_load(path: Path) -> Any:
    import pickle
    import zipfile

    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
                raise ModelFileError(f"{path}: this zip archive is compressed, which no PyTorch checkpoint is")
    try:
        with path.open("rb") as file:  # an open file: torch would go by the suffix of a path
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} holds Python objects, which could run code, and not tensors alone; "
            "where it was made, save model.state_dict() instead"
        ) from error
    except Exception as error:  # torch's reader of old and damaged files raises whatever comes
        raise ModelFileError(f"{path} cannot be read by PyTorch; it is damaged, or no state dict") from error


def _find_state_dict(path: Path, checkpoint: Any) -> "dict[str, Tensor]":
    import torch

    found = checkpoint
    if isinstance(checkpoint, dict):
        found = next((checkpoint[key] for key in CHECKPOINT_KEYS if isinstance(checkpoint.get(key), dict)), checkpoint)
    if not isinstance(found, dict) or not found:
        raise ModelFileError(f"{path} holds no weights; save model.state_dict() where it was made")
    size = path.stat().st_size
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ModelFileError(f"{path} is no state dict: {name} is no tensor; save model.state_dict() instead")
        # A few bytes can claim to be a huge tensor that repeats them; what is honest takes no more than the file.
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.nbytes > size:
            raise ModelFileError(f"{path}: {name} is no ordinary tensor; save model.state_dict() instead")
    return {name: tensor for name, tensor in found.items() if name != "n_averaged"}  # AveragedModel's own counter


def _unwrapped(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Remove `module.` (data parallel, averaging) where every name has it, and `_orig_mod.` (compiled) anywhere."""
    state = {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items()}
    while state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state
