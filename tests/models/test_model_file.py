import copy
import hashlib
import json
import pickle
import random
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from firstlight.errors import ModelFileError, WriteError
from firstlight.inference.optimized import optimized
from firstlight.models import tensor_file, weights
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model, read_model_card, save_model
from firstlight.models.strangeness import Scale, Strangeness
from firstlight.models.trust import Trust

BEFORE = Path(__file__).parents[1] / "before"
CLASSES = ("plain", "Ünïcödé", "e\u0301", "猫", "🐈\u200d⬛", "not \udce9 Unicode", 'quotes " \\ \n', "")


def make(architecture: dict[str, Any], size: tuple[int, int, int], classes: tuple[str, ...] = CLASSES) -> Classifier:
    torch.manual_seed(5)
    classifier = Classifier(architecture=architecture, classes=classes, input_size=size, resize="pad")
    images = torch.randint(0, 256, (16, *size), dtype=torch.uint8)
    classifier.fit_normalization(images)
    classifier(images)  # in training mode: the batch norms' statistics are no longer the initial ones
    classifier.temperature.fill_(1.37)
    return classifier.eval()


def small() -> Classifier:
    return make({"name": "mlp", "hidden": [6, 5], "dropout": 0.2}, (1, 4, 4))


def answers(classifier: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(
        0, 256, (8, *classifier.input_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    with torch.inference_mode():
        return classifier(images), classifier.probabilities(images)


def agree(first: Classifier, second: Classifier) -> bool:
    return all(torch.equal(a, b) for a, b in zip(answers(first), answers(second), strict=True))


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ({"name": "mlp", "hidden": [64, 32], "dropout": 0.1}, (1, 28, 28)),
        ({"name": "mlp", "hidden": []}, (3, 8, 8)),
        ({"name": "cnn", "width": 16}, (3, 32, 32)),
        ({"name": "torchvision:mobilenet_v3_small", "head": "linear", "channels": 1}, (1, 64, 64)),
        ({"name": "timm:test_vit", "head": "linear"}, (3, 64, 64)),  # told of another size than its own
        ({"name": "timm:resnetblur18", "head": "linear"}, (3, 32, 32)),  # computes tables that no file holds
    ],
)
def test_a_loaded_model_gives_the_same_bits(tmp_path: Path, architecture: dict[str, Any], size: Any) -> None:
    saved = make(architecture, size)
    save_model(tmp_path / "m.safetensors", saved, scores={"accuracy": 0.5}, extra={"recipe": {"epochs": 3}})
    rng = torch.random.get_rng_state()
    loaded = load_model(str(tmp_path / "m.safetensors"))
    assert torch.equal(rng, torch.random.get_rng_state())
    assert agree(saved, loaded)
    assert not loaded.training
    for name in ("architecture", "classes", "input_size", "resize"):
        assert getattr(loaded, name) == getattr(saved, name)
    for one, other in zip(saved.parameters(), loaded.parameters(), strict=True):
        assert one.requires_grad == other.requires_grad
        assert one.stride() == other.stride()


def test_a_loaded_model_can_be_trained_on_and_saved_to_the_same_bytes(tmp_path: Path) -> None:
    save_model(tmp_path / "a", small(), scores={"b": 1, "a": [2.5, None]})
    loaded = load_model(tmp_path / "a")
    save_model(tmp_path / "b", loaded, scores={"b": 1, "a": [2.5, None]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded.train()(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)).sum().backward()
    torch.optim.SGD(loaded.parameters(), lr=1.0).step()
    assert not agree(loaded, load_model(tmp_path / "a"))


def test_any_safetensors_reader_finds_the_same_tensors(tmp_path: Path) -> None:
    classifier = make({"name": "cnn", "width": 8}, (3, 16, 16))
    save_model(tmp_path / "m", classifier)
    oracle = safetensors.torch.load_file(tmp_path / "m")
    assert oracle.keys() == classifier.state_dict().keys()
    assert all(torch.equal(oracle[name], tensor) for name, tensor in classifier.state_dict().items())


def test_another_program_can_verify_the_digest_from_its_description(tmp_path: Path) -> None:
    save_model(tmp_path / "m", small(), extra={"note": "ü"})
    data = (tmp_path / "m").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    text = header.pop("__metadata__")["firstlight"]
    claimed = json.loads(text)["sha256"]
    content = text.replace(claimed, "0" * 64).encode("ascii")
    for name, entry in sorted(header.items()):
        start, stop = entry["data_offsets"]
        shape = ",".join(str(side) for side in entry["shape"])
        content += f"\n{name} {entry['dtype']} {shape}\n".encode() + body[start:stop]
    assert hashlib.sha256(content).hexdigest() == claimed


def test_the_card_holds_all_that_was_saved(tmp_path: Path) -> None:
    classifier = small()
    scores = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}, "confusion": [[1, 2], [3, 4]]}
    save_model(tmp_path / "m", classifier, scores=scores, extra={"recipe": {"epochs": 3}})
    card = read_model_card(tmp_path / "m")
    assert card.architecture == {"name": "mlp", "hidden": [6, 5], "dropout": 0.2}
    assert card.classes == CLASSES
    assert (card.input_size, card.resize) == ((1, 4, 4), "pad")
    assert (card.mean, card.std) == (tuple(classifier.mean.tolist()), tuple(classifier.std.tolist()))
    assert card.temperature == classifier.temperature.item()
    assert (card.scores, card.extra) == (scores, {"recipe": {"epochs": 3}})
    assert card.versions.keys() == {"firstlight", "torch", "python"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_load_into_the_ordinary_network(tmp_path: Path, dtype: torch.dtype) -> None:
    classifier = small().to(dtype)
    save_model(tmp_path / "m", classifier)
    assert agree(load_model(tmp_path / "m"), classifier.float())


def test_a_share_of_the_crop_is_kept_to_the_letter(tmp_path: Path) -> None:
    classifier = small()
    classifier.resize = "crop:0.875"
    save_model(tmp_path / "m", classifier)
    assert read_model_card(tmp_path / "m").resize == load_model(tmp_path / "m").resize == "crop:0.875"


def test_a_failed_save_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save_model(path, small())
    before = path.read_bytes()
    broken = small()
    broken.network.fc1.bias.data[0] = float("nan")
    with pytest.raises(ModelFileError, match=r"network.fc1.bias holds NaN"):
        save_model(path, broken)
    with pytest.raises(ModelFileError, match="too many to save"):
        save_model(path, small(), extra={"note": "x" * tensor_file.MAX_HEADER_BYTES})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(path, small(), scores={"accuracy": float("nan")})
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
    assert path.read_bytes() == before
    with pytest.raises(WriteError, match="cannot be written"):
        save_model(tmp_path / "nowhere" / "m", small())


def trusting() -> Classifier:
    classifier = small()
    quantiles = torch.linspace(0, 1, len(CLASSES), dtype=torch.float64)
    classifier.trust = Trust(set_quantile=0.75, class_quantiles=quantiles, accept=0.5, measured_on={"n": 40})
    return classifier


def test_a_trust_block_comes_back_to_the_bit_and_is_no_part_of_the_state(tmp_path: Path) -> None:
    saved = trusting()
    save_model(tmp_path / "m", saved)
    loaded = load_model(tmp_path / "m")
    assert agree(saved, loaded)
    assert saved.trust is not None
    for classifier in (loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded), optimized(loaded)):
        trust = classifier.trust
        assert trust is not None
        assert trust.header() == saved.trust.header()
        assert trust.class_quantiles is not None
        assert torch.equal(trust.class_quantiles, torch.linspace(0, 1, len(CLASSES), dtype=torch.float64))
        assert classifier.state_dict().keys() == small().state_dict().keys()
    save_model(tmp_path / "again", loaded)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()


def strange(features: int, pixels: int = 0) -> Strangeness:
    directions = torch.ones(int(pixels > 0), pixels)
    scales = {name: Scale(0.0, 1.0) for name in ("head", "features", "pixels")[: 2 + int(pixels > 0)]}
    return Strangeness(
        references=torch.ones(3, features), neighbor=2, origin=torch.zeros(features), center=torch.zeros(pixels),
        directions=directions, scales=scales, threshold=1.5, kept=(0.95, 0.9, 1.0, 20),
    )  # fmt: skip


def test_the_score_of_strangers_comes_back_and_must_fit_the_network(tmp_path: Path) -> None:
    saved = trusting()
    assert saved.trust is not None
    width, (channels, height, side) = saved.network.num_features, saved.input_size
    for pixels in (0, channels * height * side):
        saved.trust = replace(saved.trust, strangeness=strange(width, pixels))
        save_model(tmp_path / "m", saved)
        loaded = load_model(tmp_path / "m")
        assert loaded.trust is not None
        assert loaded.trust.header() == saved.trust.header()
        given = torch.rand(2, width), torch.rand(2, len(CLASSES)), torch.zeros(2, *saved.input_size, dtype=torch.uint8)
        assert loaded.trust.strangeness is not None
        assert saved.trust.strangeness is not None
        assert torch.equal(loaded.trust.strangeness.score(*given), saved.trust.strangeness.score(*given))
    for other in (strange(width + 1), strange(width, 7)):
        saved.trust = replace(saved.trust, strangeness=other)
        save_model(tmp_path / "m", saved)
        with pytest.raises(ModelFileError, match="its trust block is damaged"):
            load_model(tmp_path / "m")


def test_weights_are_taken_from_a_file_with_a_trust_block(tmp_path: Path) -> None:
    save_model(tmp_path / "m", trusting())
    assert weights.load_state_dict_file(tmp_path / "m").keys() == small().state_dict().keys()


def test_a_file_without_a_trust_block_loads_and_cannot_tell(tmp_path: Path) -> None:
    for trust in (None, ...):
        assert read_model_card(forged(tmp_path / "m", trust=trust)).trust is None
        assert agree(load_model(tmp_path / "m"), small())
        assert load_model(tmp_path / "m").trust is None
    before = load_model(BEFORE / "without_trust.safetensors")
    assert before.trust is None
    assert before.temperature == 1.25


# --- files that are not what they say ---------------------------------------------------------------------------------


def forged(
    path: Path,
    change_tensors: Callable[[dict[str, torch.Tensor]], Any] = lambda tensors: None,
    sign: bool = True,
    **fields: Any,
) -> Path:
    """Write a model file as someone would who knows the format, changed, and signed with a right digest or not."""
    save_model(path, small())
    tensors = safetensors.torch.load_file(path)
    with tensor_file.TensorFile(path) as file:
        card = json.loads(file.metadata["firstlight"])
    change_tensors(tensors)
    card = {name: value for name, value in (card | fields).items() if value is not ...}
    if sign and isinstance(card.get("sha256"), str):
        zeroed = json.dumps(card | {"sha256": "0" * 64})
        card["sha256"] = tensor_file.digest_of(zeroed, tensors)
    safetensors.torch.save_file(tensors, path, metadata={"firstlight": json.dumps(card)})
    return path


def with_header(path: Path, header: bytes | dict[str, Any], body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def put(name: str, tensor: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.update({name: tensor})


TRUST = {"coverage": 0.9, "set_quantile": 0.5, "accept": None, "strangeness": None, "measured_on": {}}
FORGERIES: dict[str, tuple[dict[str, Any], str]] = {
    "newer format": ({"format": 3}, "newer firstlight"),
    "no format": ({"format": ...}, "format is missing"),
    "format in words": ({"format": "one"}, "format is missing"),
    "no network": ({"architecture": ...}, "architecture"),
    "nameless network": ({"architecture": {"hidden": [6, 5]}}, "architecture"),
    "unknown network": ({"architecture": {"name": "transmogrifier"}}, "no such network"),
    "network from the internet": (
        {"architecture": {"name": "timm:hf-hub:a/b", "head": "linear"}},
        "no image classifier",
    ),
    "another network": ({"architecture": {"name": "cnn", "width": 8}}, r"network.whitening.weight is missing"),
    "huge layer": ({"architecture": {"name": "mlp", "hidden": [10**9]}}, r"network.fc1.weight is 6 x 16"),
    "absurd layer": ({"architecture": {"name": "mlp", "hidden": [10**30]}}, "cannot be built"),
    "negative layer": ({"architecture": {"name": "mlp", "hidden": [-6, 5]}}, "cannot be built"),
    "layer in words": ({"architecture": {"name": "mlp", "hidden": "65"}}, "cannot be built"),
    "layers without end": ({"architecture": {"name": "mlp", "hidden": [1] * 1_000_000}}, "architecture"),
    "nested choice": ({"architecture": {"name": "mlp", "hidden": [[6], 5]}}, "architecture"),
    "unknown choice": ({"architecture": {"name": "mlp", "hidden": [6, 5], "os": "x"}}, "cannot be built"),
    "impossible dropout": ({"architecture": {"name": "mlp", "hidden": [6, 5], "dropout": 7}}, "cannot be built"),
    "fewer classes": ({"classes": list(CLASSES[:-1])}, r"network.head.weight is 8 x 5, the network's is 7 x 5"),
    "no classes": ({"classes": []}, "classes"),
    "twice the same class": ({"classes": ["a"] * 8}, "classes"),
    "numbered classes": ({"classes": list(range(8))}, "classes"),
    "another size": ({"input_size": [1, 5, 4]}, r"network.fc1.weight is 6 x 16, the network's is 6 x 20"),
    "five channels": ({"input_size": [5, 4, 4]}, "input_size"),
    "huge pictures": ({"input_size": [1, 10**9, 4]}, "input_size"),
    "unknown fit": ({"resize": "shrink"}, "resize is missing or impossible"),
    "nothing kept": ({"resize": "crop:0"}, "resize is missing or impossible"),
    "more than all kept": ({"resize": "crop:1.5"}, "resize is missing or impossible"),
    "share in words": ({"resize": "crop:x"}, "resize is missing or impossible"),
    "share of what is not cut": ({"resize": "pad:0.5"}, "resize is missing or impossible"),
    "share and a line end": ({"resize": "crop:0.5\n"}, "resize is missing or impossible"),
    "share without end": ({"resize": f"crop:0.{'0' * 400}1"}, "resize is missing or impossible"),
    "fit in a list": ({"resize": ["crop"]}, "resize is missing or impossible"),
    "short mean": ({"mean": []}, "mean"),
    "hot temperature": ({"temperature": "hot"}, "temperature"),
    "no scores": ({"scores": ...}, "scores"),
    "scores in a list": ({"scores": [1]}, "scores"),
    "trust in a list": ({"trust": []}, "trust"),
    "empty trust": ({"trust": {}}, "coverage is missing"),
    "certain coverage": ({"trust": TRUST | {"coverage": 1}}, "coverage is missing"),
    "coverage in words": ({"trust": TRUST | {"coverage": "0.9"}}, "coverage is missing"),
    "quantile above one": ({"trust": TRUST | {"set_quantile": 1.01}}, "set_quantile is missing"),
    "quantile without end": ({"trust": TRUST | {"set_quantile": 10**400}}, "set_quantile is missing"),
    "true quantile": ({"trust": TRUST | {"set_quantile": True}}, "set_quantile is missing"),
    "negative acceptance": ({"trust": TRUST | {"accept": -0.1}}, "accept is missing"),
    "measured on a list": ({"trust": TRUST | {"measured_on": []}}, "measured_on is missing"),
    "strangeness in a list": ({"trust": TRUST | {"strangeness": []}}, "strangeness"),
    "trust of other classes": (
        {"trust": TRUST, "change_tensors": put("trust.class_quantiles", torch.ones(3).double())},
        "class_quantiles is missing",
    ),
    "half a trust": (
        {"trust": TRUST, "change_tensors": put("trust.class_quantiles", torch.ones(8).half())},
        "class_quantiles is missing",
    ),
    "negative class quantile": (
        {"trust": TRUST, "change_tensors": put("trust.class_quantiles", -torch.ones(8).double())},
        "class_quantiles is missing",
    ),
    "class quantile that is no number": (
        {"trust": TRUST, "change_tensors": put("trust.class_quantiles", torch.full((8,), torch.nan).double())},
        "trust.class_quantiles holds NaN",
    ),
    "unknown tensor of trust": ({"trust": TRUST, "change_tensors": put("trust.x", torch.ones(1))}, "trust block"),
    "tensor without a trust block": ({"change_tensors": put("trust.x", torch.ones(1))}, "the network has no trust.x"),
    "no digest": ({"sha256": ...}, "sha256"),
    "no tensor": ({"change_tensors": lambda tensors: tensors.pop("network.fc1.bias")}, "network.fc1.bias is missing"),
    "one tensor more": ({"change_tensors": put("x", torch.zeros(3))}, "the network has no x"),
    "wrong shape": ({"change_tensors": put("network.fc1.bias", torch.zeros(7))}, "network.fc1.bias is 7"),
    "whole numbers": ({"change_tensors": put("mean", torch.zeros(1).int())}, "mean holds torch.int32"),
    "infinite": ({"change_tensors": put("std", torch.tensor([float("inf")]))}, "std holds NaN or infinity"),
    "no spread": ({"change_tensors": put("std", torch.zeros(1))}, "not above zero"),
    "absolute zero": ({"change_tensors": put("temperature", torch.tensor(0.0))}, "not above zero"),
    "wrong digest": ({"sign": False, "sha256": "1" * 64}, "SHA-256"),
    "class renamed": ({"sign": False, "classes": ["ankle boot", *CLASSES[1:]]}, "SHA-256"),
    "scores made better": ({"sign": False, "scores": {"accuracy": 1.0}}, "SHA-256"),
    "weight changed": ({"sign": False, "change_tensors": put("mean", torch.ones(1))}, "SHA-256"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_model_is_one_clear_line(tmp_path: Path, forgery: str) -> None:
    changes, words = FORGERIES[forgery]
    path = forged(tmp_path / "m.safetensors", **changes)
    with pytest.raises(ModelFileError, match=words) as raised:
        load_model(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_an_unchanged_forgery_loads(tmp_path: Path) -> None:
    assert agree(load_model(forged(tmp_path / "m")), small())


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HEADERS: dict[str, tuple[Any, str]] = {
    "not a table": (b"[]", "not a .safetensors"),
    "broken": (b'{"a":', "JSON"),
    "not Unicode": (b'{"\xff": 1}', "JSON"),
    "endless nesting": (b'{"a":' * 100_000, "nested too deeply"),
    "endless digits": (b'{"a":' + b"9" * 10_000 + b"}", "JSON"),
    "repeated name": (b'{"a": 1, "a": 2}', "twice"),
    "NaN": (b'{"a": NaN}', "no JSON"),
    "metadata in a list": ({"__metadata__": []}, "__metadata__"),
    "metadata of numbers": ({"__metadata__": {"firstlight": 1}}, "__metadata__"),
    "lists without end": (b'{"a":[' + b"[]," * 1_000_000 + b"[]]}", "more than 200,000"),
    "nested metadata": ({"__metadata__": {"firstlight": "[" * 100_000}, "a": ONE}, "nested too deeply"),
    "metadata not JSON": ({"__metadata__": {"firstlight": "hello"}, "a": ONE}, "damaged"),
    "metadata a list": ({"__metadata__": {"firstlight": "[]"}, "a": ONE}, "format"),
    "no metadata": ({"a": ONE}, "not a firstlight model"),
    "tensor a number": ({"a": 3}, "does not describe a"),
    "no shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, "does not describe a"),
    "unknown number type": ({"a": ONE | {"dtype": "F4"}}, "number type F4"),
    "negative side": ({"a": ONE | {"shape": [-1, -1]}}, "impossible shape"),
    "true side": ({"a": ONE | {"shape": [True]}}, "impossible shape"),
    "fractional side": ({"a": ONE | {"shape": [1.0]}}, "impossible shape"),
    "huge side": ({"a": ONE | {"shape": [2**62]}}, "impossible shape"),
    "huge product": ({"a": ONE | {"shape": [2**40] * 8}}, "does not fill"),
    "many sides": ({"a": ONE | {"shape": [1] * 9}}, "impossible shape"),
    "overflowing product": ({"a": ONE | {"shape": [2**32, 2**32]}}, "does not fill"),
    "backwards": ({"a": ONE | {"data_offsets": [4, 0]}}, "does not fill"),
    "overlapping": ({"a": ONE, "b": ONE}, "do not follow one another"),
    "hole": ({"a": ONE | {"data_offsets": [4, 8]}}, "do not follow one another"),
    "cut short": ({"a": ONE | {"shape": [2], "data_offsets": [0, 8]}}, "cut short"),
    "followed by more": ({}, "followed by something else"),
    "too many tensors": (
        {f"{number}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for number in range(20_001)},
        "20,001 tensors",
    ),
}


@pytest.mark.parametrize("fault", HEADERS)
def test_a_faulty_header_is_one_clear_line(tmp_path: Path, fault: str) -> None:
    header, words = HEADERS[fault]
    path = with_header(tmp_path / "m.safetensors", header, bytes(4))
    for read in (load_model, read_model_card):
        with pytest.raises(ModelFileError, match=words) as raised:
            read(path)
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 500


def other_files(folder: Path) -> dict[str, str]:
    """Write files that are no safetensors at all, and give what should be said about each."""
    torch.save(small().state_dict(), folder / "zip.safetensors")
    torch.save(small().state_dict(), folder / "old.safetensors", _use_new_zipfile_serialization=False)
    (folder / "pickle.safetensors").write_bytes(pickle.dumps({"weights": [1.0]}))
    (folder / "hdf.safetensors").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    (folder / "empty.safetensors").touch()
    (folder / "short.safetensors").write_bytes(b"\x10\x00\x00")
    (folder / "text.safetensors").write_text("hello, world, this is not a model")
    (folder / "folder.safetensors").mkdir()
    (folder / "long.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{" + bytes(100))
    (folder / "cut.safetensors").write_bytes(struct.pack("<Q", 1000) + b"{" + bytes(100))
    safetensors.torch.save_file({"weight": torch.zeros(2)}, folder / "plain.safetensors")
    save_model(folder / "model.safetensors", small())
    return {
        "zip": "a zip archive",
        "old": "pickle",
        "pickle": "a Python pickle",
        "hdf": "HDF5",
        "empty": "empty",
        "short": "this is not a .safetensors file",
        "text": "this is not a .safetensors file",
        "folder": "is a folder",
        "long": "more than the",
        "cut": "cut short",
        "plain": "not a firstlight model",
        "modle": "did you mean .*model.safetensors",
        "nothing/at/all": "check the path",
        "null\0": "cannot be opened",
    }


def test_other_files_are_one_clear_line(tmp_path: Path) -> None:
    for name, words in other_files(tmp_path).items():
        for read in (load_model, read_model_card):
            with pytest.raises(ModelFileError) as raised:
                read(tmp_path / f"{name}.safetensors")
            assert re.search(words, str(raised.value)), (name, str(raised.value))
            assert "\n" not in str(raised.value)


def test_a_header_whose_length_looks_like_a_pickle_is_still_read(tmp_path: Path) -> None:
    text = json.dumps({"a": ONE}).encode()
    path = with_header(tmp_path / "m", text.ljust(0x0280), bytes(4))
    assert path.read_bytes()[:2] == pickle.dumps(0, 2)[:2]
    assert weights.load_state_dict_file(path)["a"].tolist() == [0.0]


def mutated(whole: bytes, header_stop: int, rng: random.Random) -> bytes:
    """Damage one to three places; as often in the header and in its length as in the tensors."""
    data = bytearray(whole)
    stop = rng.choice([8, header_stop, len(data)])
    for _ in range(rng.choice([1, 1, 1, 3])):
        at = rng.randrange(stop) % len(data)
        match rng.randrange(6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.randrange(256)
            case 2:
                data[at:] = bytes(rng.choice([0, len(data) - at]))
            case 3:
                del data[at : at + rng.randrange(1, 9)]
            case 4:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 5:
                source = rng.randrange(len(whole))
                data[at : at + 8] = whole[source : source + 8]
        data = data or bytearray(1)
    return bytes(data)


def test_a_mutated_file_is_refused_or_the_same(tmp_path: Path) -> None:
    save_model(tmp_path / "m", small(), scores={"accuracy": 0.5})
    whole, expected = (tmp_path / "m").read_bytes(), answers(small())
    (header_length,) = struct.unpack("<Q", whole[:8])
    rng, refused = random.Random(0), 0
    for _ in range(1000):
        path = tmp_path / "mutated"
        path.write_bytes(mutated(whole, 8 + header_length, rng))
        try:
            loaded = load_model(path)
        except ModelFileError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert all(torch.equal(a, b) for a, b in zip(answers(loaded), expected, strict=True))
            assert (loaded.classes, loaded.resize) == (CLASSES, "pad")
    assert refused > 900


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_no_hostile_header_takes_memory_beyond_the_file(tmp_path: Path) -> None:
    """Run under a limit of 1 GB above what torch takes itself; what the headers claim is far above that."""
    forged(tmp_path / "0", architecture={"name": "mlp", "hidden": [10**9, 10**9]})
    forged(tmp_path / "1", architecture={"name": "cnn", "width": 10**6})
    forged(tmp_path / "2", architecture={"name": "mlp", "hidden": [1] * 1_000_000})
    forged(tmp_path / "3", architecture={"name": "torchvision:vit_h_14", "head": "linear"}, input_size=[1, 224, 224])
    with_header(tmp_path / "4", b'{"a":[' + b"[]," * 5_000_000 + b"[]]}")
    (tmp_path / "5").write_bytes(struct.pack("<Q", 2**40) + b"{")
    program = f"""
import resource, sys, torch
from firstlight.errors import ModelFileError
from firstlight.models.model_file import load_model
import torchvision
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, size + 2**30))
for number in range(6):
    try:
        load_model(f"{tmp_path}/{{number}}")
    except ModelFileError as error:
        print(error)
    else:
        sys.exit("loaded")
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    assert "memory" not in done.stdout
