"""Write the report of a run, or of a model on labeled images."""

from pathlib import Path
from typing import Any, Literal

from firstlight.api.given import Data, model_file_of, reading_of, samples_of
from firstlight.delivery.report.write import write_model_report, write_run_report
from firstlight.errors import require_type
from firstlight.files import expand_user
from firstlight.models.classifier import Classifier
from firstlight.runs.folder import MODEL_FILE
from firstlight.runtime.device import pick_device
from firstlight.training.run import Run


def report(
    model: Classifier | Path | str | Run,
    data: Data | None = None,
    *,
    out: Path | str | None = None,
    split: Literal["train", "valid", "test", "all"] = "test",
    device: str = "auto",
    allow_quarantine: bool = False,
    max_pixels: int | None = None,
    **choices: Any,
) -> Path:
    """Write the report of a run, or of a model on labeled images, and return its path: one HTML file.

    Args:
        model: a run or its folder; with `data`, also a `model.safetensors` or a classifier.
        data: score the model on these; from `load_data`, or anything that `load_data` takes. By default the report is
            about the run, and is made from its folder alone.
        out: the file; by default `report.html` in the run folder, or `<name of the set>-report.html` here.
        split: as for `evaluate`, as are `device`, `allow_quarantine`, `max_pixels` and `choices`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        allow_quarantine: continue even if more than 1% of the images cannot be used.
        max_pixels: an image with more pixels is not decoded.
        choices: how the source is read, as for `load_data`.

    Raises:
        UserError: if there is no run, or the model or the data cannot be used.
    """
    require_type(out, Path | str | None, "out", "the path of a file")
    path = expand_user(out) if out is not None else None
    if data is None:
        require_type(model, Path | str | Run, "model", "a run or its folder; with data, also a model")
        assert not isinstance(model, Classifier)
        folder = model.folder if isinstance(model, Run) else expand_user(model)
        return write_run_report(folder.parent if folder.name == MODEL_FILE else folder, path)
    found = model if isinstance(model, Classifier) else model_file_of(model)
    return write_model_report(
        found,
        samples_of(data, reading_of(found, choices)),
        path,
        split=split,
        device=pick_device(device),
        allow_quarantine=allow_quarantine,
        max_pixels=max_pixels,
    )
