"""Read safetensors files that may be hostile or damaged, without running code or wasting memory.

No code in a file is ever run, and no more memory is taken than the file has bytes, give or take its header. Torch is
imported where it is used: reading a header does not wait for it.
"""

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from firstlight.errors import ModelFileError
from firstlight.files import dangling, expand_user, open_regular

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = (
    16 * 2**20
)  # bytes; the largest network of timm needs 0.3 MB, 1,000 classes with their confusions 3 MB
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8
MAX_BRACKETS = 200_000  # an empty list takes two bytes of JSON, but some sixty of memory

# safetensors' name of a number type: torch's name, and bytes per element.
DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
DTYPE_NAMES = {torch_name: name for name, (torch_name, _) in DTYPES.items()}

# The first bytes of other kinds of files, and what a message calls them.
MAGIC = {
    b"PK\x03\x04": "a zip archive, as PyTorch's .pth and .pt2 are",
    **{b"\x80" + bytes([protocol]): "a Python pickle" for protocol in range(2, 6)},
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"GGUF": "a GGUF file",
    b"version https://git-lfs": "a Git LFS pointer instead of the file (fetch that with git lfs pull)",
}
PICKLE_MAGIC = tuple(magic for magic in MAGIC if magic.startswith((b"PK", b"\x80")))  # what PyTorch may have written
ONNX = "an ONNX file"
# Kinds that are told by a pattern: ONNX is a protocol buffer that begins with its version and the name of its maker.
PATTERNS = {
    re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x2a\x32\x3a\x42]", re.DOTALL): ONNX,
    re.compile(rb"....TFL3", re.DOTALL): "a TensorFlow Lite file",
    re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE): "a web page; perhaps it was saved instead of the file",
}


class Entry(NamedTuple):
    """One tensor as a safetensors header describes it; `start` and `stop` are byte positions in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def kind_of_file(start: bytes) -> str | None:
    """Return in words what a file is by its first bytes, some seventy; None if that is not known."""
    by_magic = (words for magic, words in MAGIC.items() if start.startswith(magic))
    by_pattern = (words for pattern, words in PATTERNS.items() if pattern.match(start))
    return next(by_magic, None) or next(by_pattern, None)


class TensorFile:
    """An open `.safetensors` file with a checked header: its tensors fill the file exactly, without gaps or overlaps.

    Raises:
        ModelFileError: if it cannot be opened, or is not a whole safetensors file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = expand_user(path)
        self._file = open_weights(self.path)
        try:
            header, self._body = self._read_header()
            self.metadata = self._checked_metadata(header.pop("__metadata__", {}))
            self.entries = self._checked_entries(header)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> "dict[str, Tensor]":
        """Return every tensor by name, on the CPU; the bytes are read once, straight into the tensors' memory."""
        import torch

        tensors: dict[str, Tensor] = {}
        for name, entry in self.entries.items():
            tensor = torch.empty(entry.shape, dtype=getattr(torch, DTYPES[entry.dtype][0]), device="cpu")
            self._file.seek(entry.start)
            if self._file.readinto(raw_bytes(tensor)) != entry.stop - entry.start:
                raise self._error("it became shorter while it was being read; load it again")
            tensors[name] = tensor
        return tensors

    def _error(self, words: str) -> ModelFileError:
        return ModelFileError(f"{self.path}: {words}")

    def _read_header(self) -> tuple[dict[str, Any], int]:
        size = self.path.stat().st_size
        if size == 0:
            raise self._error("the file is empty; save or copy it again")
        start = self._file.read(9)
        length = int.from_bytes(start[:8], "little")
        if len(start) < 9 or start[8:] != b"{":
            kind = kind_of_file(start + self._file.read(64))
            advice = "; name the run folder or its model.safetensors" if kind == ONNX else ""
            words = f"this is {kind}, not a .safetensors file{advice}" if kind else "this is not a .safetensors file"
            raise self._error(words)
        if length > MAX_HEADER_BYTES:
            raise self._error(
                f"its header claims {length:,} bytes, more than the {MAX_HEADER_BYTES:,} that are allowed"
            )
        if 8 + length > size:
            raise self._error(f"it is cut short: {size:,} bytes, where the header alone claims {8 + length:,}")
        text = b"{" + self._file.read(length - 1)
        try:
            header = parse_json(text.decode())
        except ValueError as error:
            raise self._error(f"its header cannot be read as JSON ({error}); the file is damaged") from error
        return header, 8 + length

    def _checked_metadata(self, metadata: Any) -> dict[str, str]:
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise self._error("its header's __metadata__ is not a table of text; the file is damaged")
        return metadata

    def _checked_entries(self, header: dict[str, Any]) -> dict[str, Entry]:
        if len(header) > MAX_TENSORS:
            raise self._error(f"it claims {len(header):,} tensors, more than the {MAX_TENSORS:,} that are allowed")
        entries = {name: self._checked_entry(name, described) for name, described in header.items()}
        stop = self._body
        for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
            if entry.start != stop:
                raise self._error(f"its tensors do not follow one another at {name}; the file is damaged")
            stop = entry.stop
        if stop != (size := self.path.stat().st_size):
            fault = "cut short" if size < stop else "followed by something else"
            raise self._error(f"it is {fault}: {size:,} bytes, where the header claims {stop:,}; copy it again")
        return entries

    def _checked_entry(self, name: str, described: Any) -> Entry:
        match described:
            case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, stop]}:
                pass
            case _:
                raise self._error(f"its header does not describe {name} as a tensor; the file is damaged")
        if dtype not in DTYPES:
            raise self._error(f"{name} has the number type {dtype}; these can be read: {', '.join(DTYPES)}")
        numbers = [*shape, start, stop]
        if len(shape) > MAX_DIMENSIONS or any(type(one) is not int or not 0 <= one < 2**48 for one in numbers):
            raise self._error(f"its header gives {name} an impossible shape or place; the file is damaged")
        if math.prod(shape) * DTYPES[dtype][1] != stop - start:
            raise self._error(f"{name} does not fill its place in the file; the file is damaged")
        return Entry(dtype, tuple(shape), self._body + start, self._body + stop)


def refuse_differences(source: Path | str, found: "Mapping[str, Tensor]", expected: "Mapping[str, Tensor]") -> None:
    """Raise a `ModelFileError` with the first differences, unless names, shapes and kinds of number agree."""
    differences = list(_differences(found, expected))
    if differences:
        more = f"; and {len(differences) - 3:,} more" if len(differences) > 3 else ""
        raise ModelFileError(f"{source} does not match this network: {'; '.join(differences[:3])}{more}")


def refuse_non_finite(source: Path | str, tensors: "Mapping[str, Tensor]") -> None:
    """Raise a `ModelFileError` with the name of the first tensor that holds NaN or infinity, if there is one."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelFileError(f"{source}: {name} holds NaN or infinity, so it gives no predictions")


def open_weights(path: Path) -> BufferedReader:
    """Open a file for reading; a failure becomes a `ModelFileError`."""
    try:
        return open_regular(path)
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a folder; name the file in it, as in {path / 'model.safetensors'}") from None
    except FileNotFoundError:
        if gone := dangling(path):
            raise ModelFileError(f"{path}: {gone}; give the file itself, or fix the link") from None
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, siblings, n=1)
        if path.name == "model.safetensors" and path.parent.is_dir() and not close:
            raise ModelFileError(f"{path.parent}: this folder holds no model.safetensors; name a run folder") from None
        advice = f"did you mean {path.parent / close[0]}?" if close else "check the path"
        raise ModelFileError(f"{path}: there is no such file; {advice}") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be opened: {error.strerror}") from error


def raw_bytes(tensor: "Tensor") -> Any:
    """Return a contiguous CPU tensor's memory as uint8 `[n]`, shared, in the machine's byte order."""
    import torch

    return tensor.reshape(-1).view(torch.uint8).numpy()


def digest_of(text: str, tensors: "Mapping[str, Tensor]") -> str:
    """Return the SHA-256 of a text and of tensors, contiguous and on the CPU; `model_file` says of which bytes."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        tensor = tensors[name]
        kind = DTYPE_NAMES[str(tensor.dtype).removeprefix("torch.")]
        line = f"\n{name} {kind} {','.join(map(str, tensor.shape))}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def parse_json(text: str) -> Any:
    """Parse JSON that may be hostile; raises only `ValueError`, also for repeated names, NaN and endless nesting."""
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise ValueError(f"it has more than {MAX_BRACKETS:,} tables and lists")
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _differences(found: "Mapping[str, Tensor]", expected: "Mapping[str, Tensor]") -> Iterable[str]:
    for name, wanted in expected.items():
        tensor = found.get(name)
        if tensor is None:
            yield f"{name} is missing"
        elif tensor.shape != wanted.shape:
            yield f"{name} is {_shape_words(tensor)}, the network's is {_shape_words(wanted)}"
        elif tensor.is_floating_point() != wanted.is_floating_point():
            yield f"{name} holds {tensor.dtype}, the network's {wanted.dtype}"
    yield from (f"the network has no {name}" for name in found if name not in expected)


def _shape_words(tensor: "Tensor") -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
