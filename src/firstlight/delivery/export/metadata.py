"""What an exported file says about itself: one JSON text, under the key `firstlight`.

The JSON text is a table of::

    format         1
    model_sha256   the digest in the header of the model file; null for a model that is in no file
    classes        their names, in the order of the probabilities
    input_size     [channels, height, width]
    resize         how an image is brought to that size, as in the model file
    max_pixels     image files with more pixels are not decoded
    white          which values of more than 8 bits are white, as in the model file
    trust          when an answer is unsure: a table of `coverage`, `set_quantile`, `class_quantiles`, `accept` and
                   `strangeness_threshold`, each as in the model file, or null; or null for a model that cannot tell
    licenses       of the weights that training began with, as far as known: a list
    precision      float32, bfloat16 or int8
    opset          of ONNX; null in a `.pt2` file
    versions       of firstlight, torch and the tools that wrote the file
    checked        how well its answers agreed with those of the model, see `parity.Checked`
"""

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from firstlight.models.classifier import Classifier
from firstlight.models.model_file import ModelCard, digest_of, read_model_card
from firstlight.models.trust import Trust

if TYPE_CHECKING:
    from firstlight.delivery.export.parity import Checked

KEY = "firstlight"
FORMAT = 1
TOOLS = {"onnx": ("firstlight", "torch", "onnx", "onnxscript", "onnxruntime"), "torch": ("firstlight", "torch")}


def metadata_text(model: Classifier, *, to: str, precision: str, opset: int | None, checked: "Checked") -> str:
    """Return the metadata of an exported file as JSON, in ASCII."""
    digest = digest_of(model)
    card = read_model_card(model.file) if digest and model.file else None
    return json.dumps(
        {
            "format": FORMAT,
            "model_sha256": digest,
            "classes": model.classes,
            "input_size": model.input_size,
            "resize": model.resize,
            "max_pixels": model.max_pixels,
            "white": asdict(model.white),
            "trust": None if model.trust is None else _thresholds(model.trust),
            "licenses": _licenses(card),
            "precision": precision,
            "opset": opset,
            "versions": {name: version(name) for name in TOOLS[to]},
            "checked": checked.to_json(),
        }
    )


def _thresholds(trust: Trust) -> dict[str, Any]:
    quantiles, strangeness = trust.class_quantiles, trust.strangeness
    return {
        "coverage": trust.coverage,
        "set_quantile": trust.set_quantile,
        "class_quantiles": None if quantiles is None else quantiles.tolist(),
        "accept": trust.accept,
        "strangeness_threshold": None if strangeness is None else strangeness.threshold,
    }


def _licenses(card: ModelCard | None) -> list[str]:
    weights = card.extra.get("weights") if card else None
    found = weights.get("license") if isinstance(weights, dict) else None
    return [found] if isinstance(found, str) and found != "unknown" else []
