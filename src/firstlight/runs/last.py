"""The state of an unfinished run, `last/`: everything that a killed run needs to go on as if nothing had happened.

Each part of a run, such as one that trains a network, has a file of its own. A new one is verified before it takes the
place of the one before, so that there is always a whole one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.errors import ModelFileError, RunError
from firstlight.files import atomic_path
from firstlight.models.tensor_file import TensorFile, digest_of, parse_json
from firstlight.runs.folder import LAST_FOLDER

if TYPE_CHECKING:
    from torch import Tensor

KEY = "firstlight-state"  # of the header
TENSOR = "tensor"  # a table with this one key stands for the tensor of that name
UNSIGNED = "0" * 64


def state_file(folder: Path, part: str) -> Path:
    """Return where the state of a part of a run is, or would be."""
    return folder / LAST_FOLDER / f"{part}.safetensors"


def has_state(folder: Path) -> bool:
    """Return whether a run folder holds the state of any part."""
    return any((folder / LAST_FOLDER).glob("*.safetensors"))


def write_state(folder: Path, part: str, state: Mapping[str, Any]) -> None:
    """Write the state of a part of a run; the one before stays until this one has been read back and is whole.

    Args:
        folder: the run folder.
        part: its name, which is that of the file.
        state: tensors on the CPU, numbers, text, None, and dictionaries and lists of these; keys are text.

    Raises:
        OSError: if it cannot be written; the one before stays.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    unsigned = json.dumps({"state": _flattened(state, tensors, ""), "sha256": UNSIGNED})
    signed = unsigned.replace(UNSIGNED, digest_of(unsigned, tensors))
    file = state_file(folder, part)
    file.parent.mkdir(exist_ok=True)
    with atomic_path(file) as temporary:
        save_file(tensors, temporary, metadata={KEY: signed})
        read_file(temporary)


def read_state(folder: Path, part: str) -> dict[str, Any] | None:
    """Read what `write_state` wrote; None if there is nothing.

    Raises:
        RunError: if it is damaged.
    """
    file = state_file(folder, part)
    return read_file(file) if file.is_file() else None


def read_numbers(file: Path) -> dict[str, Any]:
    """Read a file of a state without its tensors, and so without verifying it; a table stands for each of them.

    Raises:
        RunError: if it is damaged.
    """
    try:
        with TensorFile(file) as opened:
            numbers: dict[str, Any] = parse_json(opened.metadata[KEY])["state"]
    except (ModelFileError, KeyError, TypeError, ValueError):
        raise _damaged(file) from None
    return numbers


def read_file(file: Path) -> dict[str, Any]:
    """Read a file of a state and verify its digest.

    Raises:
        RunError: if it is damaged.
    """
    try:
        with TensorFile(file) as opened:
            signed, tensors = opened.metadata[KEY], opened.read()
        fields = parse_json(signed)
        if digest_of(signed.replace(fields["sha256"], UNSIGNED), tensors) != fields["sha256"]:
            raise _damaged(file)
        state: dict[str, Any] = _restored(fields["state"], tensors)
    except (ModelFileError, KeyError, TypeError, ValueError):
        raise _damaged(file) from None
    return state


def _damaged(file: Path) -> RunError:
    return RunError(f"{file}: it is damaged, so the run cannot continue from it; train anew in another folder")


def _flattened(value: Any, tensors: "dict[str, Tensor]", name: str) -> Any:
    """Return a value with a table in place of each tensor, which goes into `tensors` under the name of its place."""
    import torch

    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {TENSOR: name}
    if isinstance(value, Mapping):
        assert all(isinstance(key, str) for key in value) and value.keys() != {TENSOR}, value.keys()
        return {key: _flattened(one, tensors, f"{name}/{key}") for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_flattened(one, tensors, f"{name}/{place}") for place, one in enumerate(value)]
    assert value is None or isinstance(value, bool | int | float | str), type(value)
    return value


def _restored(value: Any, tensors: "Mapping[str, Tensor]") -> Any:
    if isinstance(value, dict):
        if value.keys() == {TENSOR}:
            return tensors[value[TENSOR]]
        return {key: _restored(one, tensors) for key, one in value.items()}
    return [_restored(one, tensors) for one in value] if isinstance(value, list) else value
