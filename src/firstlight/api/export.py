"""Export a model for another runtime."""

from pathlib import Path
from typing import Any

from firstlight.api.given import Model, classifier_of
from firstlight.delivery.engine import remember_export
from firstlight.delivery.export.export import Exported, Precision, To, export_model
from firstlight.errors import require_type
from firstlight.inference.inputs import items_of


def export(
    model: Model,
    to: To = "onnx",
    *,
    precision: Precision = "float32",
    check: Any = None,
    out: Path | str | None = None,
) -> Exported:
    """Write a model as one file for another runtime, if that file gives the model's answers on real images.

    The file takes uint8 images `[N, H, W, C]` of the model's size, any number at a time, and gives `probabilities`
    `[N, K]`, `logits` `[N, K]`, `features` `[N, D]`, and `strangeness` `[N]`; NaN if the model cannot tell.
    Normalization, test-time augmentation, and calibration are inside; the classes and all else that is known of the
    model are in its metadata, as JSON under the key `firstlight`.

    Args:
        model: from `load`, a run, its folder, or a `model.safetensors`.
        to: `onnx`, for ONNX Runtime and many others, or `torch`, for `torch.export.load`.
        precision: of the numbers: `float32`, `bfloat16` or `int8`; for `torch` only `float32`.
        check: at least 64 images to check the file on, whatever `predict` takes; by default those that the run kept.
        out: the file; by default `model.onnx`, `model.int8.onnx`, `model.bfloat16.onnx` or `model.pt2` beside the model
            file. An earlier file is replaced, but only by one that has passed.

    Raises:
        WrongTypeError: if `model` or `check` is anything else.
        UserError: if a choice is wrong, there are too few images to check it on, the network cannot be exported, the
            answers differ, or the file cannot be written. Nothing is written then.
    """
    require_type(out, Path | str | None, "out", "the path of a file")
    classifier = classifier_of(model)
    items = None if check is None else items_of(check, classifier.white)
    written = export_model(classifier, to, precision=precision, items=items, out=None if out is None else Path(out))
    if (to, precision) == ("onnx", "float32"):
        remember_export(classifier, written.file)  # so that `engine` auto takes it
    return written
