"""The model file: one `.safetensors` that holds the weights and everything needed to use and to judge them.

It is an ordinary safetensors file of the Classifier's `state_dict`, and of the tensors of its `trust`, whose names
begin with `trust.`. The header's `__metadata__` has one key,
`firstlight`, whose text is a JSON table in ASCII:

    format         2
    architecture   the network by name, with its choices, see `networks.build_network`; with `tta` (mirror, move or
                   mirror+move) an answer is the mean of the logits of these views of an image, see `views.py`
    classes        their names, in the order of the logits
    input_size     [channels, height, width]
    resize         how an image is brought to that size: crop, pad or squash; or crop:0.875, which keeps that fraction
                   of either side of the crop (a decimal above 0, at most 1, of up to six digits after the point)
    max_pixels     image files with more pixels are not decoded; it may be missing, and is 50000000 then
    white          which values of more than 8 bits are white: a table of `integers` and `floats`, each a number, or
                   null for what the type of the pixels says; it may be missing, and both are null then
    mean, std      per channel, of pixels in 0..1 (copies of the tensors `mean` and `std`)
    temperature    what logits are divided by before the softmax (a copy of the tensor `temperature`)
    scores         the evaluation, or null
    trust          when the model does not know, see `trust.Trust`: a table of `coverage`, `set_quantile`, `accept`,
                   `strangeness` and `measured_on`, or null; it may be missing, and is null then
    extra          whatever the writer added, such as the recipe
    versions       of firstlight, torch and python, when it was written
    sha256         the digest, 64 hexadecimal digits

The digest is the SHA-256 of these bytes, one after another: the text of `firstlight` as it stands, with the 64 digits
of the digest replaced by zeros; then for each tensor, names in order of their code points, a line feed, the name, a
space, safetensors' name of the number type (`F32`), a space, the shape's numbers joined by commas, a line feed, and
the tensor's bytes as they lie in the file. It finds damage and careless edits; it does not prove who wrote the file.

Files of format 1 are read as well, see `format1.py`. Torch is imported where it is used: reading a header does not wait
for it.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.errors import ModelFileError, WriteError, require_type
from firstlight.files import atomic_path, expand_user
from firstlight.models import format1, tensor_file
from firstlight.models.trust import Trust
from firstlight.resize import RESIZE_PATTERN
from firstlight.white import FULL_WHITE, MAX_PIXELS, White

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from firstlight.models.classifier import Classifier

FORMAT = 2
MAX_SIDE = 8192  # pixels
TRUST_PREFIX = "trust."  # of the names of its tensors
_UNSIGNED = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a model file says about itself, as of format 2; the module's docstring explains each part."""

    architecture: dict[str, Any]
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    resize: str
    max_pixels: int
    white: White
    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float
    scores: dict[str, Any] | None
    trust: dict[str, Any] | None
    extra: dict[str, Any]
    versions: dict[str, str]
    sha256: str


def save_model(
    path: Path | str,
    classifier: "Classifier",
    *,
    scores: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the model file atomically: a former file stays until the new one is complete.

    The same model and versions give the same bytes.

    Args:
        path: of the file; an existing one is replaced.
        classifier: on any device; it is not changed.
        scores: its evaluation, in JSON's types only.
        extra: anything else worth keeping, in JSON's types only.

    Raises:
        ModelFileError: if a weight is not finite, or the header would become too large.
        WriteError: if the file cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from firstlight.models.classifier import Classifier

    require_type(path, Path | str, "path", "the path of the file")
    require_type(classifier, Classifier, "classifier", "a Classifier, such as run.model")
    path = expand_user(path)
    tensors, trust = _tensors_of(classifier), classifier.trust
    tensor_file.refuse_non_finite(path, tensors)
    fields = {
        "format": FORMAT,
        "architecture": classifier.architecture,
        "classes": classifier.classes,
        "input_size": classifier.input_size,
        "resize": classifier.resize,
        "max_pixels": classifier.max_pixels,
        "white": asdict(classifier.white),
        "mean": classifier.mean.tolist(),
        "std": classifier.std.tolist(),
        "temperature": classifier.temperature.item(),
        "scores": scores,
        "trust": None if trust is None else trust.header(),
        "extra": extra or {},
        "versions": {
            "firstlight": version("firstlight"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "sha256": _UNSIGNED,
    }
    unsigned = json.dumps(fields, allow_nan=False)  # ASCII: names that are no valid Unicode survive
    if len(unsigned) > tensor_file.MAX_HEADER_BYTES // 2:
        raise ModelFileError(f"{path}: {len(unsigned):,} bytes of classes, scores and extras are too many to save")
    text = json.dumps(fields | {"sha256": tensor_file.digest_of(unsigned, tensors)}, allow_nan=False)
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"firstlight": text})
    except WriteError:
        raise
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{path} cannot be written: {error}") from error
    classifier.file = path


def load_model(path: Path | str, device: "torch.device | str" = "cpu") -> "Classifier":
    """Read a model file into a Classifier in evaluation mode, on `device`.

    No code in the file is run, and its digest is verified. Nothing is allocated beyond the bytes that the file has: the
    network is first built without memory, and compared.

    Raises:
        ModelFileError: if it is missing, damaged, from a newer firstlight, or not one of our model files.
    """
    card, fields, tensors = _read_whole(path)
    tensor_file.refuse_non_finite(path, tensors)
    if fields["format"] == format1.FORMAT:
        tensors = format1.upgrade_tensors(path, fields, tensors)
    trust = None if card.trust is None else _read_trust(path, card, tensors)
    classifier = _build(path, card, tensors)
    if not (classifier.temperature > 0 and classifier.std.min() > 0):
        raise ModelFileError(f"{path}: its temperature or a standard deviation is not above zero")
    if trust is not None and trust.strangeness is not None:
        try:
            trust.strangeness.require_fit(classifier.network.num_features, classifier.input_size)
        except ValueError as error:
            raise _damaged_trust(path, error) from error
    classifier.file, classifier.trust = Path(path), trust
    return classifier.to(device).eval()


def verify_model(path: Path | str) -> ModelCard:
    """Return what a model file says about itself, after verifying its digest; the network is not built.

    Raises:
        ModelFileError: as `load_model` raises it.
    """
    return _read_whole(path)[0]


def read_model_card(path: Path | str) -> ModelCard:
    """Return what a model file says about itself. Only its header is read, and the digest is not verified.

    Raises:
        ModelFileError: if it is missing, cut short, from a newer firstlight, or not one of our model files.
    """
    require_type(path, Path | str, "path", "the path of a model.safetensors")
    with tensor_file.TensorFile(path) as file:
        return _read_header(file)[0]


def digest_of(classifier: "Classifier") -> str | None:
    """Return the digest in the file of a classifier; None if it has no file, or is no longer what the file says.

    Weights, classes, preprocessing, calibration and trust are compared: together they decide every answer.
    """
    if classifier.file is None:
        return None
    try:
        with tensor_file.TensorFile(classifier.file) as file:
            card, text = _read_header(file)[0], file.metadata["firstlight"]
    except ModelFileError:
        return None
    told = ("classes", "input_size", "resize", "max_pixels", "white")
    trust = None if classifier.trust is None else classifier.trust.header()
    as_read = json.loads(json.dumps([classifier.architecture, trust]))
    same = as_read == [card.architecture, card.trust]
    if not same or any(getattr(classifier, name) != getattr(card, name) for name in told):
        return None
    digest = tensor_file.digest_of(text.replace(card.sha256, _UNSIGNED), _tensors_of(classifier))
    return digest if digest == card.sha256 else None


def _tensors_of(classifier: "Classifier") -> "dict[str, Tensor]":
    """Return copies of the tensors of a classifier that its file holds, by their names there."""
    import torch

    tensors = {
        name.replace("_orig_mod.", ""): tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in classifier.state_dict().items()
    }
    if classifier.trust is not None:
        tensors |= {TRUST_PREFIX + name: tensor for name, tensor in classifier.trust.tensors().items()}
    return tensors


def _read_whole(path: Path | str) -> "tuple[ModelCard, dict[str, Any], dict[str, Tensor]]":
    """Return the header, as a checked card and as it stands in the file, and the tensors, whose digest is verified."""
    with tensor_file.TensorFile(path) as file:
        card, fields = _read_header(file)
        tensors = file.read()
        if tensor_file.digest_of(file.metadata["firstlight"].replace(card.sha256, _UNSIGNED), tensors) != card.sha256:
            raise ModelFileError(f"{path}: its content does not match its own SHA-256; it is damaged, copy it again")
    return card, fields, tensors


def _read_trust(path: Path | str, card: ModelCard, tensors: "dict[str, Tensor]") -> Trust:
    """Return what a file says about when the model is unsure; its tensors are taken out of `tensors`."""
    names = [name for name in tensors if name.startswith(TRUST_PREFIX)]
    found = {name.removeprefix(TRUST_PREFIX): tensors.pop(name) for name in names}
    try:
        return Trust.from_parts(card.trust or {}, found, len(card.classes))
    except ValueError as error:
        raise _damaged_trust(path, error) from error


def _damaged_trust(path: Path | str, error: ValueError) -> ModelFileError:
    return ModelFileError(f"{path}: its trust block is damaged ({error}); copy the file again")


def _build(path: Path | str, card: ModelCard, tensors: "dict[str, Tensor]") -> "Classifier":
    """Return the Classifier that `card` describes, with `tensors` in it; `tensors` is used up."""
    import torch

    from firstlight.models.classifier import Classifier

    def build() -> Classifier:
        return Classifier(
            architecture=card.architecture,
            classes=card.classes,
            input_size=card.input_size,
            resize=card.resize,
            max_pixels=card.max_pixels,
            white=card.white,
        )

    try:
        with torch.device("meta"):  # shapes only, no memory
            classifier = build()
    except Exception as error:  # choices in the header reach constructors that fail in their own ways
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelFileError(f"{path}: its network cannot be built: {reason}") from error
    expected = classifier.state_dict()
    tensor_file.refuse_differences(path, tensors, expected)
    for name, wanted in expected.items():
        if (tensor := tensors[name]).dtype != wanted.dtype or tensor.stride() != wanted.stride():
            tensors[name] = torch.empty_like(wanted, device="cpu").copy_(tensor)
    expected.update(tensors)  # it carries the versions of the layers' layouts, without which some refuse to load
    classifier.load_state_dict(expected, assign=True)
    if any(buffer.is_meta for buffer in classifier.buffers()):
        # Some networks compute tables, such as relative positions, that no file holds: they have to be built for real.
        with torch.random.fork_rng(devices=[]):
            classifier = build()
        classifier.load_state_dict(expected, assign=True)
    return classifier


def _read_header(file: tensor_file.TensorFile) -> tuple[ModelCard, dict[str, Any]]:
    """Return the header as a checked card, and as it stands in the file."""
    text = file.metadata.get("firstlight")
    if text is None:
        raise ModelFileError(
            f"{file.path} holds weights, but is not a firstlight model: its header does not name a network and classes"
        )
    try:
        fields = tensor_file.parse_json(text)
        if isinstance(fields, dict) and type(fields.get("format")) is int and fields["format"] > FORMAT:
            raise ModelFileError(
                f"{file.path} was written by a newer firstlight (format {fields['format']}, this one reads {FORMAT}); "
                "update firstlight"
            )
        return _checked_card(fields, max_layers=len(file.entries)), fields
    except ModelFileError:
        raise
    except ValueError as error:
        raise ModelFileError(f"{file.path}: what its header says about the model is damaged ({error})") from error


def _checked_card(fields: Any, max_layers: int) -> ModelCard:
    """Return a header, whoever wrote it, with its types and ranges checked; a `ValueError` names the wrong part."""
    _require(isinstance(fields, dict) and fields.get("format") in (format1.FORMAT, FORMAT), "format")
    if fields["format"] == format1.FORMAT:
        fields = format1.upgrade_header(fields)
    architecture, classes, input_size = (fields.get(key) for key in ("architecture", "classes", "input_size"))
    _require(isinstance(architecture, dict) and isinstance(architecture.get("name"), str), "architecture")
    for choice in architecture.values():
        # A layer has at least one tensor, so a longer list is a trap that would build layers without end.
        _require(not isinstance(choice, dict | list) or _is_list(choice, int | float, max_layers), "architecture")
    _require(_is_list(classes, str) and 0 < len(set(classes)) == len(classes), "classes")
    _require(_is_list(input_size, int) and len(input_size) == 3 and input_size[0] in (1, 3), "input_size")
    _require(all(1 <= side <= MAX_SIDE for side in input_size[1:]), "input_size")
    _require(isinstance(fields.get("resize"), str) and RESIZE_PATTERN.fullmatch(fields["resize"]) is not None, "resize")
    max_pixels, white = fields.get("max_pixels", MAX_PIXELS), fields.get("white", {})
    _require(type(max_pixels) is int and 1 <= max_pixels <= 2**31, "max_pixels")
    _require(isinstance(white, dict) and white.keys() <= {"integers", "floats"}, "white")
    _require(all(value is None or _is_white(value) for value in white.values()), "white")
    for key in ("mean", "std"):
        _require(_is_list(fields.get(key), int | float) and len(fields[key]) == input_size[0], key)
    _require(isinstance(fields.get("temperature"), int | float), "temperature")
    _require(isinstance(fields.get("scores", ...), dict | None), "scores")
    _require(isinstance(fields.get("trust"), dict | None), "trust")
    for key in ("extra", "versions"):
        _require(isinstance(fields.get(key), dict), key)
    _require(isinstance(fields.get("sha256"), str) and len(fields["sha256"]) == 64, "sha256")
    return ModelCard(
        architecture=architecture,
        classes=tuple(classes),
        input_size=(input_size[0], input_size[1], input_size[2]),
        resize=fields["resize"],
        max_pixels=max_pixels,
        white=White(**white),
        mean=tuple(fields["mean"]),
        std=tuple(fields["std"]),
        temperature=fields["temperature"],
        scores=fields["scores"],
        trust=fields.get("trust"),
        extra=fields["extra"],
        versions=fields["versions"],
        sha256=fields["sha256"],
    )


def _is_white(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= FULL_WHITE


def _require(condition: bool, part: str) -> None:
    if not condition:
        raise ValueError(f"{part} is missing or impossible")


def _is_list(value: Any, kind: Any, max_length: int | None = None) -> bool:
    return (
        isinstance(value, list)
        and (max_length is None or len(value) <= max_length)
        and all(isinstance(one, kind) and not isinstance(one, bool) for one in value)
    )
