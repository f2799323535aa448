"""Model and weights files of strangers: mutated, handmade, and well signed but wrong."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.commands import Ran
from hostile_parts.mutations import generator, mutated, mutated_json
from hostile_parts.place import Place

MUTATED, RESIGNED, WEIGHTS = 10_000, 3_000, 2_000
GIB = 2**30


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for each kind of file."""
    original = (place.run / "model.safetensors").read_bytes()
    files = place.fresh("models")
    yield tried("model files, mutated", place.count(MUTATED), Mutated(original, files))
    yield tried("model files, fields changed and signed again", place.count(RESIGNED), Resigned(original, files))
    made = handmade(original)
    yield tried("model files, handmade", len(made), lambda number: opened(files / "made.safetensors", made[number]))
    broken = list(broken_models(place))
    yield tried("models whose answers are not finite", len(broken), lambda number: answered(broken[number], place))
    others = list(weights_of_others())
    yield tried("weights files, mutated", place.count(WEIGHTS), lambda number: weights(files, others, number))


class Mutated:
    """A mutated file loads only if it answers as before, or is refused."""

    def __init__(self, original: bytes, folder: Path) -> None:
        self.original, self.folder = original, folder
        self.expected = answers(folder, original)

    def __call__(self, number: int) -> Found:
        """Try one."""
        data = mutated(self.original, generator("model", number))
        found = answers(self.folder, data)
        if found is not None and not torch.equal(found, self.expected):
            return Found("it loads, and answers otherwise", len(data))
        return Found("", len(data))


class Resigned:
    """A file whose header says something else, with a digest that is right: another model, but nothing worse."""

    def __init__(self, original: bytes, folder: Path) -> None:
        self.original, self.folder = original, folder

    def __call__(self, number: int) -> Found:
        """Try one."""
        chance = generator("signed", number)
        header, tensors = parts(self.original)
        fields = json.loads(header["__metadata__"]["firstlight"])
        changed = mutated_json(fields, chance)
        data = signed(changed, header, tensors) if isinstance(changed, dict) else joined(header, tensors)
        found = answers(self.folder, data)
        fault = "" if found is None or bool(found.isfinite().all()) else "an answer that is not finite"
        return Found(fault, len(data))


@cache
def pictures() -> np.ndarray:
    """Return 16 pictures of noise, uint8 `[16, 8, 8]`."""
    return np.random.default_rng(0).integers(0, 256, (16, 8, 8), np.uint8)


def answers(folder: Path, data: bytes) -> torch.Tensor | None:
    """Return the probabilities of a model file, for noise; None if it is refused, or has no finite answer."""
    import firstlight as fl
    from firstlight.errors import UserError

    file = folder / "model.safetensors"
    file.write_bytes(data)
    try:
        model = fl.load(file)
        height, width = model.input_size[1:]
        if height * width > 64 * 64:
            return None
        found = fl.predict(model, pictures())
        json.dumps(found.to_json(), allow_nan=False)
        return torch.from_numpy(model.predict_proba(pictures()))
    except UserError:
        return None


def opened(file: Path, data: bytes) -> Found:
    """Return what came of a file that has to be refused, in Python and on the command line."""
    from firstlight.errors import ModelFileError
    from firstlight.models.model_file import load_model

    file.write_bytes(data)
    try:
        load_model(file)
    except ModelFileError:
        ran = Ran("predict", file, file, "--json")
        return Found(ran.fault or ("" if ran.code == 2 else "the command took it"), len(data))
    return Found("it was loaded", len(data))


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a safetensors file, and the bytes after it."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict[str, Any], tensors: bytes) -> bytes:
    """Return a safetensors file."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def signed(fields: dict[str, Any], header: dict[str, Any], tensors: bytes) -> bytes:
    """Return a model file with other fields in its header, whose digest is right."""
    import safetensors.torch

    from firstlight.models.tensor_file import digest_of

    text = json.dumps(fields | {"sha256": "0" * 64})
    state = safetensors.torch.load(joined(header, tensors))
    told = json.dumps(fields | {"sha256": digest_of(text, state)})
    return joined(header | {"__metadata__": {"firstlight": told}}, tensors)


class Harmful:
    """An object whose unpickling writes a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return exec, ("open('/tmp/firstlight-was-attacked', 'w')",)


def handmade(original: bytes) -> list[bytes]:
    """Return files that no mutation would hit upon; none is a model."""
    header, tensors = parts(original)
    fields = json.loads(header["__metadata__"]["firstlight"])
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    many = {f"t{number}": one | {"data_offsets": [4 * number, 4 * number + 4]} for number in range(100_000)}
    deep = "[" * 100_000 + "]" * 100_000
    made = [
        b"", b"{", b"\0" * 100, pickle.dumps(Harmful()), _zip("data.pkl", pickle.dumps(Harmful())),
        _zip("archive_format", b"pt2"), _zip("model/code/__torch__.py", b"import os"), _torch(Harmful()),
        struct.pack("<Q", 2**63) + b"{", struct.pack("<Q", len(original) * 9) + b"{}" + tensors,
        joined(many, b"\0" * 400_000), joined({"t": one | {"shape": [2**40], "data_offsets": [0, 2**42]}}, b"\0" * 4),
        joined({"t": one | {"shape": [2**33, 2**33, 2**33]}}, b"\0" * 4),
        joined({"t": one | {"shape": [1] * 4096}}, b"\0" * 4),
        joined({"t": one | {"shape": [-1]}}, b"\0" * 4), joined({"t": one | {"dtype": "F8_E4M3"}}, b"\0" * 4),
        joined({"a": one, "b": one}, b"\0" * 4), joined({"t": one | {"shape": [True]}}, b"\0" * 4),
        _raw('{"t":' + deep + "}"), _raw('{"__metadata__":{"firstlight":' + json.dumps(deep) + "}}"),
        _raw('{"a":1,"a":2}'), _raw("{" + " " * 10**6), _raw('{"t":NaN}'),
        _raw('{"__metadata__":{"firstlight":"1e999"}}'), b"\x08\x07\x12\x07pytorch" + b"\0" * 64,
        b"\x89HDF" + b"\0" * 64, b"GGUF" + b"\0" * 64, b"<!DOCTYPE html><html>",
        b"version https://git-lfs.github.com/spec/v1\n", original[:-1], original + b"\0", original[:100], original[:58],
    ]  # fmt: skip
    layers = {"name": "mlp", "hidden": [2**20] * 64}
    wrong: list[dict[str, Any]] = [
        {"architecture": layers}, {"architecture": {"name": "mlp", "hidden": [10**9]}}, {"classes": ["x"] * 10},
        {"architecture": {"name": "timm:vit_giant_patch14_224"}}, {"architecture": {"name": "timm:../../x"}},
        {"architecture": {"name": "torchvision:__import__"}}, {"input_size": [1, 10**9, 10**9]}, {"format": 99},
        {"input_size": [3, 8, 8]}, {"classes": ["a", "b"]}, {"resize": "crop:9"},
        {"max_pixels": 10**30}, {"trust": {"coverage": 2}}, {"trust": deep}, {"white": {"integers": -1}},
    ]  # fmt: skip
    return made + [signed(fields | change, header, tensors) for change in wrong]


def _raw(header: str) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode()


def _zip(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _torch(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def broken_models(place: Place) -> Iterator[Path]:
    """Yield well-signed models whose logits, features, probabilities or strangeness are not finite for some picture."""
    import copy

    import firstlight as fl
    from firstlight.models.model_file import save_model

    def change(name: str, value: float, do: Callable[[Any], Any]) -> Path:
        model = copy.deepcopy(fl.load(place.run))
        with torch.no_grad():
            do(model.get_parameter(name) if name.startswith("network") else model.get_buffer(name)).fill_(value)
        file = place.folder / "broken" / f"{len(list(place.folder.glob('broken/*')))}.safetensors"
        file.parent.mkdir(exist_ok=True)
        save_model(file, model)
        return file

    for value in (3e38, -3e38):
        for layer in ("network.fc1", "network.head"):
            yield change(f"{layer}.weight", value, lambda tensor: tensor)
            yield change(f"{layer}.weight", value, lambda tensor: tensor[0])
            yield change(f"{layer}.bias", value, lambda tensor: tensor)
    for name, value in {"temperature": 1e-44, "std": 1e-44, "mean": 3e38}.items():
        yield change(name, value, lambda tensor: tensor)


def answered(model: Path, place: Place) -> Found:
    """Return what is wrong with what the verbs say about a model without finite answers."""
    folder, picture = place.fresh("answers"), next(place.pictures.rglob("*.png"))
    for words in (
        ["predict", model, place.pictures, "--json"],
        ["predict", model, picture, "--csv", folder / "answers.csv"],
        ["evaluate", model, place.pictures, "--split", "all", "--json"],
        ["explain", model, picture, "--out", folder / "heatmaps", "--json"],
    ):
        ran = Ran(*words)
        if ran.fault or "nan" in ran.out.lower() or "inf" in ran.out.lower():
            return Found(ran.fault or f"{words[0]} shows NaN or infinity: {ran.out[:200]!r}", 10**6)
    table = (folder / "answers.csv").read_text()
    return Found("the table holds NaN" if ",nan" in table or ",inf" in table else "", 10**6)


def weights_of_others() -> Iterator[bytes]:
    """Yield weights as other tools write them."""
    import safetensors.torch

    state = {"fc.weight": torch.randn(8, 8), "fc.bias": torch.zeros(8)}
    for value in (state, {"state_dict": state}, {"model": {"module.fc.weight": state["fc.weight"]}, "epoch": 3}):
        yield _torch(value)
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    yield file.getvalue()
    yield safetensors.torch.save(state)


def weights(folder: Path, others: list[bytes], number: int) -> Found:
    """Return what came of a mutated weights file."""
    from firstlight.models.weights import load_state_dict_file

    data = mutated(others[number % len(others)], generator("weights", number))
    (folder / "weights.pth").write_bytes(data)
    found = load_state_dict_file(folder / "weights.pth")
    finite = all(bool(tensor.isfinite().all()) for tensor in found.values() if tensor.is_floating_point())
    return Found("" if finite else "weights that are not finite", len(data))
