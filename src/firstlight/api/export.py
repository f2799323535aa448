"""Export a model for another runtime, for people to read about, or to the hub."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, overload

from firstlight.api.given import Model, classifier_of, model_file_of
from firstlight.delivery.engine import remember_export
from firstlight.delivery.export.export import Exported, To, export_model
from firstlight.delivery.export.precision import Precision
from firstlight.delivery.share.card_file import write_card
from firstlight.delivery.share.publish import publish
from firstlight.delivery.share.upload import Pushed, look_up
from firstlight.errors import UserError, require_type
from firstlight.escaping import escape_name
from firstlight.inference.inputs import Item, items_of
from firstlight.models.classifier import Classifier

AnyTo = To | Literal["card", "hub"]


@overload
def export(
    model: Model,
    to: To = ...,
    *,
    precision: Precision = ...,
    check: Any = ...,
    out: Path | str | None = ...,
    repository: None = ...,
) -> Exported: ...
@overload
def export(model: Model, to: Literal["card"], *, out: Path | str | None = ...) -> Path: ...
@overload
def export(model: Model, to: Literal["hub"], *, repository: str, check: Any = ...) -> Pushed: ...
@overload
def export(
    model: Model,
    to: AnyTo,
    *,
    precision: Precision = ...,
    check: Any = ...,
    out: Path | str | None = ...,
    repository: str | None = ...,
) -> Exported | Path | Pushed: ...
def export(
    model: Model,
    to: AnyTo = "onnx",
    *,
    precision: Precision = "float32",
    check: Any = None,
    out: Path | str | None = None,
    repository: str | None = None,
) -> Exported | Path | Pushed:
    """Write a model as one file for another runtime, if that file gives the model's answers on real images.

    The file takes uint8 images `[N, H, W, C]` of the model's size, any number at a time, and gives `probabilities`
    `[N, K]`, `logits` `[N, K]`, `features` `[N, D]`, and `strangeness` `[N]`; NaN if the model cannot tell.
    Normalization, test-time augmentation, and calibration are inside; the classes and all else that is known of the
    model are in its metadata, as JSON under the key `firstlight`.

    `to="card"` writes a model card in Markdown instead, and returns its path. `to="hub"` uploads the model file, its
    card, and an ONNX export to a repository on the Hugging Face Hub, which is made as a private one if it does not
    exist; `load("hf:user/name")` reads it. The token is the one in `HF_TOKEN`, or of `hf auth login`. If
    `model-card.md` lies beside the model file, it is the card that is uploaded.

    Args:
        model: from `load`, a run, its folder, or a `model.safetensors`.
        to: `onnx`, for ONNX Runtime and many others, `torch`, for `torch.export.load`, `card`, or `hub`.
        precision: of the numbers: `float32`, `bfloat16` or `int8`; for `torch` and `hub` only `float32`.
        check: at least 64 images to check the file on, whatever `predict` takes; by default those that the run kept.
        out: the file; by default `model.onnx`, `model.int8.onnx`, `model.bfloat16.onnx`, `model.pt2` or `model-card.md`
            beside the model file. An earlier file is replaced, but only by one that has passed; a card is not replaced
            by default.
        repository: on the hub, such as `ada/birds`.

    Raises:
        WrongTypeError: if `model` or `check` is anything else.
        UserError: if a choice is wrong, there are too few images to check it on, the network cannot be exported, the
            answers differ, or the file cannot be written or uploaded. Nothing is written then.
    """
    require_type(out, Path | str | None, "out", "the path of a file")
    require_type(repository, str | None, "repository", "its name, such as ada/birds")
    file = None if out is None else Path(out)
    _require_fitting(to, repository, precision=precision, check=check, out=out)
    if to == "card":
        return write_card(model if isinstance(model, Classifier) else model_file_of(model), file)
    if to == "hub":
        place = look_up(repository or "")
        classifier = classifier_of(model)
        return publish(classifier, place, items=_items(classifier, check))
    classifier = classifier_of(model)
    written = export_model(classifier, to, precision=precision, items=_items(classifier, check), out=file)
    if (to, precision) == ("onnx", "float32"):
        remember_export(classifier, written.file)  # so that `engine` auto takes it
    return written


def _items(classifier: Classifier, check: Any) -> Iterable[Item] | None:
    return None if check is None else items_of(check, classifier.white)


def _require_fitting(to: str, repository: str | None, **given: Any) -> None:
    """Refuse choices that have no effect on what is asked for, and a place that is missing."""
    if to == "hub" and not repository:
        raise UserError("`to` hub needs a repository, such as ada/birds")
    if to != "hub" and repository:
        raise UserError(f"{escape_name(repository)} is not expected here: a repository is for `to` hub only")
    for name in {"card": ("precision", "check"), "hub": ("precision", "out")}.get(to, ()):
        if given[name] not in (None, "float32"):
            raise UserError(f"it has no effect on `to` {to}; leave it out", field=name, value=given[name])
