"""Score a model on labeled images."""

from pathlib import Path
from typing import Any, Literal

from firstlight.api.given import Data, model_file_of, reading_of, samples_of
from firstlight.delivery.engine import Wanted
from firstlight.delivery.evaluate import Score, evaluate_model
from firstlight.models.classifier import Classifier
from firstlight.progress import announce
from firstlight.runtime.device import pick_device
from firstlight.training.run import Run


def evaluate(
    model: Classifier | Path | str | Run,
    data: Data,
    *,
    split: Literal["train", "valid", "test", "all"] = "test",
    device: str = "auto",
    allow_quarantine: bool = False,
    max_pixels: int | None = None,
    engine: Wanted = "auto",
    **choices: Any,
) -> Score:
    """Score a model on labeled images; classes are matched by name.

    Args:
        model: a run, its folder, a `model.safetensors`, or a classifier.
        data: from `load_data`, or anything that `load_data` takes.
        split: of the `split.csv` beside the model if it is of this set, else of the set's own split; or `all`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        allow_quarantine: continue even if more than 1% of the images cannot be used.
        max_pixels: an image with more pixels is not decoded; by default the limit used in training.
        engine: `torch`; `onnx`, which runs an export of the model in ONNX Runtime, made first if there is none; `auto`
            takes an export that is known already and was measured to be faster here, else PyTorch.
        choices: how the source is read, as for `load_data`; by default as the model's run read it.

    Returns:
        the evaluation, and how often the run's test split has been scored so far, if this was it.

    Raises:
        UserError: if the model file or the data cannot be used, or the classes do not match.
    """
    found = model if isinstance(model, Classifier) else model_file_of(model)
    reading = reading_of(found, choices)
    samples = samples_of(data, reading)
    if isinstance(data, str | Path):
        if (pattern := reading.get("label_from")) and choices.get("label_from") is None:
            announce(f"classes are taken from the file names, as in the run: `label_from` '{pattern}'")
        for note in samples.notes:
            announce(f"note: {note}")
    return evaluate_model(
        found,
        samples,
        split=split,
        device=pick_device(device),
        allow_quarantine=allow_quarantine,
        max_pixels=max_pixels,
        engine=engine,
    )
