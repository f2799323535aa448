"""A model file scored on a data set: classes matched by name, and every further look at a test split counted."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.dataset import open_samples
from firstlight.data.loader import Loader
from firstlight.data.samples import Samples
from firstlight.data.split import PARTS, read_split
from firstlight.errors import DataError, RunError
from firstlight.evaluation.evaluate import Evaluation, collect, evaluate
from firstlight.files import write_json
from firstlight.models.artefact import load_model

BATCH = 500


@dataclass(frozen=True)
class Score:
    """An evaluation, and how often the run's test split has been looked at; None if this was not it."""

    evaluation: Evaluation
    test_evaluations: int | None


def score(
    model_file: Path, samples: Samples, *, split: str = "test", device: torch.device, allow_quarantine: bool = False
) -> Score:
    """Score a model file on a part of a set.

    The part is taken from the `split.csv` beside the model if that names pictures of this set, else from the set's
    own split.

    Args:
        model_file: a `model.safetensors`.
        samples: from `load_data`; its classes must be among the model's, by name.
        split: `train`, `valid`, `test`, or `all`.
        device: where to run.
        allow_quarantine: go on even if more than 1 % of the pictures cannot be used.

    Raises:
        DataError: if the classes do not match, or the set has no such part.
        ModelFileError: if the model file cannot be loaded.
    """
    model = load_model(model_file, device)
    labels = match_classes(samples, model.classes)
    store = open_samples(samples, size=model.input_size, fit=model.fit, allow_quarantine=allow_quarantine)
    manifest = model_file.parent / "split.csv"
    own = read_split(manifest) if manifest.is_file() else {}
    rows = _rows_of(split, samples, own)
    rows = np.intersect1d(rows, store.usable)
    if not len(rows):
        raise DataError(f"{samples.source}: its {split} part holds no usable picture; choose another with --split")
    loader = Loader(store.pixels, labels, rows, batch_size=BATCH, device=device)
    seen = collect(model, loader.epoch())
    evaluation = evaluate(seen.logits, seen.labels, model.classes, temperature=model.temperature.item())
    is_run_test = any(own.get(samples.names[row]) == PARTS.index("test") for row in rows)
    return Score(evaluation, _count_look(model_file.parent) if is_run_test else None)


def match_classes(samples: Samples, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Give the labels of `samples` as positions in `classes`, matched by name.

    Raises:
        DataError: if the set has a class that the model does not know.
    """
    unknown = [name for name in samples.classes if name not in classes]
    if unknown:
        raise DataError(
            f"{samples.source}: the model knows no class {', '.join(unknown[:5])}{' ...' if len(unknown) > 5 else ''}; "
            f"it knows {', '.join(classes[:10])}{' ...' if len(classes) > 10 else ''}: classes go by name"
        )
    position = np.array([classes.index(name) for name in samples.classes], np.int64)
    return position[samples.labels]


def _rows_of(split: str, samples: Samples, own: dict[str, int]) -> NDArray[np.int64]:
    if split == "all":
        return np.arange(len(samples))
    wanted = PARTS.index(split)
    parts = np.array([own.get(name, -1) for name in samples.names], np.int8)
    if (parts >= 0).any():
        return np.flatnonzero(parts == wanted)
    if samples.splits is None:
        raise DataError(
            f"{samples.source}: it is not split, and no split.csv beside the model names its pictures; "
            f"if none of them was trained on, say --split all"
        )
    return np.flatnonzero(samples.splits == wanted)


def _count_look(run: Path) -> int | None:
    """Count one more look at the test split of a run in its `evaluation.json`."""
    file = run / "evaluation.json"
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text("utf-8"))
        record["test_evaluations"] += 1
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{file}: not a record that firstlight wrote, so this look cannot be counted") from None
    write_json(file, record)
    count: int = record["test_evaluations"]
    return count
