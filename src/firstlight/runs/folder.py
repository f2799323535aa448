"""The run folder: how it is made, the names of its files, and its table of metrics.

A file that exists is complete: all are written under a temporary name first. A run folder is never overwritten.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.errors import RunError
from firstlight.files import atomic_path, expand_user, open_regular_text, write_csv
from firstlight.unfinished import sweep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RUNS = Path("runs")  # where run folders are made, unless they are named
RECIPE_FILE = "recipe.toml"
SPLIT_FILE = "split.csv"
QUARANTINE_FILE = "quarantine.csv"
COPIES_FILE = "copies.csv"  # only where there are any
METRICS_FILE = "metrics.csv"
SUSPECTS_FILE = "suspects.csv"
CORRECTIONS_FILE = "corrections.csv"  # the corrections of labels that were applied
MODEL_FILE = "model.safetensors"
RECORD_FILE = "evaluation.json"
REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.json"  # in the folder of several runs
OUTPUTS_FOLDER = "outputs"
LAST_FOLDER = "last"  # the state of a run that is not finished
TENSORBOARD_FOLDER = "tensorboard"
HELD_OUT_FILE = "held_out.png"  # a test image, to try `firstlight predict` on

HUB_PREFIX = "hf:"  # begins the address of a model on the Hugging Face Hub


def paths_in(folder: Path) -> dict[str, str]:
    """Return where a run and its model are, as JSON about a run begins."""
    return {"run": str(folder), "model": str(folder / MODEL_FILE)}


def require_free(out: Path | None) -> None:
    """Refuse a run folder that is not empty, before any work is done.

    Raises:
        RunError: if `out` is not a folder or not empty.
    """
    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise RunError("that is a file; choose a new folder", field="out", value=str(out))
    if any(out.iterdir()):
        raise RunError(
            "the folder is not empty, and runs are never overwritten; choose a new one", field="out", value=str(out)
        )


def make_run_folder(name: str, out: Path | None = None, runs: Path = RUNS) -> Path:
    """Make `out`, or else `<name>-<n>` in the folder `runs`, with the first `n` that is free.

    Raises:
        RunError: if `out` holds something, or the folder cannot be made.
    """
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            require_free(out)
            return out
        number = 1
        runs.mkdir(parents=True, exist_ok=True)
        sweep_runs(runs)
        while True:
            folder = runs / f"{name}-{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        where = error.filename or out or runs
        raise RunError(
            f"{where}: the run folder cannot be made ({error.strerror}); choose another with `out`"
        ) from None


def sweep_runs(runs: Path) -> None:
    """Remove what killed processes left unfinished in the runs of a folder."""
    for folder in runs.iterdir():
        for place in (folder, folder / OUTPUTS_FOLDER, folder / LAST_FOLDER):
            sweep(place)


def model_file(path: Path) -> Path:
    """Return the model file of a run folder; any other path is taken for a model file.

    `hf:user/name` and `hf:user/name@revision` are models on the Hugging Face Hub, and are downloaded.

    Raises:
        ModelFileError: if there is no such model on the hub, or it cannot be downloaded.
    """
    if str(path).startswith(HUB_PREFIX):
        from firstlight.models.hub import fetch_model

        return fetch_model(str(path))
    path = expand_user(path)
    return path / MODEL_FILE if path.is_dir() else path


def write_metrics(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `metrics.csv`, one row per epoch; the whole file anew, so that it never ends within a row."""
    write_csv(folder / METRICS_FILE, [tuple(rows[0]), *(tuple(row.values()) for row in rows)])


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read `metrics.csv`: one dict per epoch, of numbers; `epoch` is an int, and an empty cell is NaN.

    Epoch 0, where there is one, is the model before its first epoch.

    Raises:
        RunError: if there is no such file, or it is not a table of numbers with a column `epoch`.
    """
    file = folder / METRICS_FILE
    try:
        with open_regular_text(file, newline="") as lines:
            return [
                {name: float(cell or "nan") for name, cell in row.items()} | {"epoch": int(row["epoch"])}
                for row in csv.DictReader(lines, strict=True)
            ]
    except OSError as error:
        raise RunError(f"{file}: the metrics of this run cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, csv.Error):
        raise RunError(f"{file}: not a table of metrics that firstlight wrote; it is damaged") from None


def save_png(path: Path, pixels: "NDArray[np.uint8]") -> Path:
    """Write an image, uint8 `[H, W, C]` with C = 1 or 3, as a lossless PNG, and return its path."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(temporary, format="png")
    return path
