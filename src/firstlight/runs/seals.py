"""The digest that a record or outputs of a run carry, so that a change to them is noticed; older ones carry none."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import RunError

KEY = "sha256"


def sealed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a JSON object with their digest as the last one."""
    return {**_others(fields), KEY: _digest_of(fields)}


def resealed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return changed fields with a new digest, if they carried one."""
    return sealed(fields) if KEY in fields else fields


def require_seal(file: Path, fields: dict[str, Any], advice: str) -> None:
    """Compare the fields of a JSON object with their digest.

    Raises:
        RunError: if they were changed, with the advice.
    """
    if KEY in fields:
        _require_same(file, fields[KEY], _digest_of(fields), advice)


def seal_of(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, str]:
    """Return metadata for a `.safetensors` file: the digest of the tensors with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(json.dumps([name, tensor.dtype.str, tensor.shape]).encode("ascii"))
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return {KEY: digest.hexdigest()}


def require_tensor_seal(
    file: Path, metadata: Mapping[str, str], tensors: Mapping[str, NDArray[np.generic]], advice: str
) -> None:
    """Compare tensors with the digest in the metadata of their file.

    Raises:
        RunError: if they were changed, with the advice.
    """
    if KEY in metadata:
        _require_same(file, metadata[KEY], seal_of(tensors)[KEY], advice)


def _others(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != KEY}


def _digest_of(fields: dict[str, Any]) -> str:
    text = json.dumps(_others(fields), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _require_same(file: Path, told: object, found: str, advice: str) -> None:
    if told != found:
        raise RunError(
            f"{file}: it does not match its digest: it was edited after firstlight wrote it, or it is damaged; {advice}"
        )
