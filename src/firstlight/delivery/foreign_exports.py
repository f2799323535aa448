"""Check an `.onnx` file of unknown origin against a model, before anything is answered with it."""

import json
from typing import Any

from firstlight.delivery.export.check_images import check_images
from firstlight.delivery.export.metadata import FORMAT, KEY
from firstlight.delivery.export.parity import compared, require_parity
from firstlight.errors import ModelFileError, UserError
from firstlight.inference.engines.answers import Engine
from firstlight.inference.engines.onnx_engine import OnnxEngine
from firstlight.inference.engines.onnx_safety import require_safe
from firstlight.models.classifier import Classifier


def require_export_of(content: bytes, digest: str) -> None:
    """Refuse a file that does not claim to be an export of a model, by this version, in float32, or is not safe to run.

    Args:
        content: the bytes of the file.
        digest: of the model file.

    Raises:
        ModelFileError: with the reason.
    """
    metadata = _metadata(require_safe(content))
    if metadata.get("format") != FORMAT:
        raise ModelFileError("it was written by another version of firstlight")
    if metadata.get("model_sha256") != digest:
        raise ModelFileError("it is an export of another model, or of this one before it was trained again")
    if metadata.get("precision") != "float32":
        raise ModelFileError(f"its numbers are {metadata.get('precision')}, not float32")


def require_same_answers(model: Classifier, reference: Engine, candidate: OnnxEngine) -> None:
    """Refuse an export that does not answer as the model does, on the images that its run kept.

    Raises:
        ModelFileError: if it does not.
        UserError: if there are no such images.
    """
    images = check_images(model, None)
    try:
        require_parity(compared(reference, candidate, images), "float32")
    except UserError:
        raise ModelFileError("it does not answer as the model does") from None


def _metadata(properties: dict[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(properties[KEY])
    except (KeyError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelFileError("it was not exported by firstlight")
    return found
