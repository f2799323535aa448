"""Export a model: trace it, write it in another format, check it on real images, and only then leave it on the disk."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from firstlight.choices import did_you_mean
from firstlight.delivery.export.check_images import check_images
from firstlight.delivery.export.golden import golden_folder, write_golden
from firstlight.delivery.export.graph import traced
from firstlight.delivery.export.metadata import metadata_text
from firstlight.delivery.export.onnx_file import OPSET, onnx_of, require_onnx, with_metadata
from firstlight.delivery.export.parity import BOUNDS, Checked
from firstlight.delivery.export.precision import Precision, passed
from firstlight.delivery.export.torch_file import ProgramEngine, program_file
from firstlight.errors import UserError
from firstlight.files import atomic_path, expand_user
from firstlight.inference.engines.onnx_engine import OnnxEngine
from firstlight.inference.inputs import Item
from firstlight.models.classifier import Classifier
from firstlight.models.hub import repository_of
from firstlight.progress import phase

if TYPE_CHECKING:
    from torch.export import ExportedProgram

To = Literal["onnx", "torch"]
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


@dataclass(frozen=True)
class Exported:
    """A file that was exported.

    Attributes:
        file: where it is.
        to: `onnx` or `torch`.
        precision: of its numbers.
        checked: how well its answers agreed with those of the model.
        bytes: its size.
    """

    file: Path
    to: To
    precision: Precision
    checked: Checked
    bytes: int

    @property
    def golden(self) -> Path:
        """The folder beside it with the contract of preprocessing, and golden pictures."""
        return golden_folder(self.file)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, as the command line prints it."""
        return {
            "file": str(self.file),
            "to": self.to,
            "precision": self.precision,
            "checked": self.checked.to_json(),
            "bytes": self.bytes,
        }


def export_model(
    model: Classifier,
    to: To = "onnx",
    *,
    precision: Precision = "float32",
    items: Iterable[Item] | None = None,
    out: Path | None = None,
    golden: bool = True,
) -> Exported:
    """Write a model for another runtime, after checking that it gives the same answers; return what was written.

    The same model and versions give the same bytes.

    Args:
        model: on any device; it is not changed.
        to: `onnx`, for ONNX Runtime and many others, or `torch`, for `torch.export.load`.
        precision: of the numbers; for `torch` only `float32`.
        items: the images to check it on; by default those that the run kept.
        out: the file; by default one beside the model file.
        golden: whether golden pictures and the contract of preprocessing are written beside it.

    Raises:
        UserError: if a choice is wrong, there are fewer than 64 images to check on, the network cannot be exported, its
            answers differ, or the file cannot be written.
    """
    _require_choices(to, precision)
    file = _file_for(model, to, precision, out)
    if to == "onnx":
        require_onnx()
    engine = OnnxEngine if to == "onnx" else ProgramEngine
    images = check_images(model, items)
    with phase("tracing the network"):
        program = traced(model)
    with phase(f"writing the network for {'ONNX' if to == 'onnx' else 'PyTorch'}"):
        content = onnx_of(program, model) if to == "onnx" else program_file(program)
    content, checked = passed(content, model, images, engine, precision)
    content = _with_metadata(content, program, model, to=to, precision=precision, checked=checked)
    try:
        with atomic_path(file) as temporary:
            temporary.write_bytes(content)
        if golden:
            with phase("choosing golden pictures"):
                write_golden(file, model, engine(content), list(images.permute(0, 2, 3, 1).numpy()))
    except OSError as error:
        raise UserError(f"it cannot be written ({error.strerror})", field="out", value=str(file)) from None
    return Exported(file, to, precision, checked, len(content))


def _with_metadata(content: bytes, program: "ExportedProgram", model: Classifier, **about: Any) -> bytes:
    if about["to"] == "onnx":
        return with_metadata(content, metadata_text(model, opset=OPSET, **about))
    return program_file(program, metadata_text(model, opset=None, **about))


def _require_choices(to: str, precision: str) -> None:
    for field, value, known in (("to", to, SUFFIXES), ("precision", precision, BOUNDS)):
        if value not in known:
            raise UserError(f"choose {', '.join(known)}{did_you_mean(str(value), known)}", field=field, value=value)
    if to == "torch" and precision != "float32":
        raise UserError("it works with `to` onnx only; leave it out", field="precision", value=precision)


def _file_for(model: Classifier, to: str, precision: str, out: Path | None) -> Path:
    """Return the file that is to be written."""
    suffix = SUFFIXES[to]
    if out is None:
        if model.file is None:
            raise UserError(f"a model in memory has no folder; name the file with `out`, such as model{suffix}")
        if repository_of(Path(model.file)) is not None:
            raise UserError(
                f"this model is in a cache, not in a folder of yours; name the file with `out`, such as model{suffix}"
            )
        return Path(model.file).with_suffix(suffix if precision == "float32" else f".{precision}{suffix}")
    file = expand_user(out)
    if file.is_dir():
        raise UserError(
            f"that is a folder; name a file, such as {file / f'model{suffix}'}", field="out", value=str(out)
        )
    if file.suffix != suffix:
        raise UserError(f"its name must end in {suffix}", field="out", value=str(out))
    if not os.access(file.parent, os.W_OK):
        reason = "cannot be written" if file.parent.is_dir() else "does not exist"
        raise UserError(f"its folder {reason}; name another", field="out", value=str(out))
    return file
