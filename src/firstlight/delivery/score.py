"""A model file scored on a data set: classes matched by name, and every further look at a test split counted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.dataset import open_store
from firstlight.data.loader import Loader
from firstlight.data.samples import SPLIT_WORDS, Samples, Split
from firstlight.data.split import read_split
from firstlight.errors import DataError, RunError
from firstlight.evaluation.evaluate import Evaluation, collect, evaluate
from firstlight.files import write_json
from firstlight.models.artefact import load_model
from firstlight.models.inference import ready


@dataclass(frozen=True)
class Score:
    """An evaluation, and how often the run's test split has been looked at; None if this was not it."""

    evaluation: Evaluation
    test_evaluations: int | None


def score(
    model_file: Path, samples: Samples, *, split: str = "test", device: torch.device, allow_quarantine: bool = False
) -> Score:
    """Score a model file on a part of a set.

    The part is taken from the `split.csv` beside the model if this is the set that the run was split from, else from
    the set's own split.

    Args:
        model_file: a `model.safetensors`.
        samples: from `load_data`; its classes must be among the model's, by name.
        split: `train`, `valid`, `test`, or `all`.
        device: where to run.
        allow_quarantine: go on even if more than 1 % of the images cannot be used.

    Raises:
        DataError: if the classes do not match, or the set has no such part.
        ModelFileError: if the model file cannot be loaded.
    """
    model = load_model(model_file, device)
    labels = match_classes(samples, model.classes)
    store = open_store(samples, size=model.input_size, resize=model.resize, allow_quarantine=allow_quarantine)
    own = _own_split(model_file.parent, samples, store.content_key)
    rows = _rows_of(split, samples, own)
    rows = np.intersect1d(rows, store.usable)
    if not len(rows):
        raise DataError(f"{samples.source}: its {split} part holds no usable picture; choose another with --split")
    is_run_test = any(own.get(samples.names[row]) == Split.TEST for row in rows)
    test_evaluations = (
        _count_test_evaluation(model_file.parent) if is_run_test else None
    )  # a look is counted before it is taken
    loader = Loader(store.pixels, labels, rows, device=device)
    seen = collect(ready(model), loader.epoch())
    evaluation = evaluate(seen.logits, seen.labels, model.classes, temperature=model.temperature.item())
    return Score(evaluation, test_evaluations)


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


def _own_split(run: Path, samples: Samples, content_key: str) -> dict[str, int]:
    """Give the run's own split of this set, by the images' names; nothing if this is another set.

    It is the run's set if its content is the same, or if it holds every image that the run knew and new ones.
    """
    if not (run / "split.csv").is_file():
        return {}
    own = read_split(run / "split.csv")
    same = _record(run).get("source_key") == content_key
    return own if same or own.keys() <= set(samples.names) else {}


def _rows_of(split: str, samples: Samples, own: dict[str, int]) -> NDArray[np.int64]:
    if split == "all":
        return np.arange(len(samples))
    wanted = SPLIT_WORDS[split]
    if own:
        return np.flatnonzero(np.array([own.get(name, -1) for name in samples.names], np.int8) == wanted)
    if samples.splits is None:
        raise DataError(
            f"{samples.source}: it is not split, and it is not the set that the run beside the model was split from; "
            f"if none of its pictures was trained on, say --split all"
        )
    return np.flatnonzero(samples.splits == wanted)


def _record(run: Path) -> dict[str, Any]:
    """Read a run's `evaluation.json`; nothing if there is none.

    Raises:
        RunError: if it is not a record that a run wrote.
    """
    file = run / "evaluation.json"
    if not file.is_file():
        return {}
    try:
        record: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if not isinstance(record["test_evaluations"], int):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{file}: not a record that firstlight wrote, so no look can be counted in it") from None
    return record


def _count_test_evaluation(run: Path) -> int | None:
    """Count one more look at the test split of a run in its `evaluation.json`."""
    record = _record(run)
    if not record:
        return None
    record["test_evaluations"] += 1
    write_json(run / "evaluation.json", record)
    count: int = record["test_evaluations"]
    return count
