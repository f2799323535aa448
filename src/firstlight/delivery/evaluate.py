"""Evaluation of a model on a data set: classes are matched by name, and test evaluations are counted."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.corrections import read_corrections
from firstlight.data.dataset import open_store
from firstlight.data.image_sources import ArrayImages
from firstlight.data.loader import Loader
from firstlight.data.samples import SPLIT_WORDS, Samples, Split
from firstlight.data.split import read_split
from firstlight.data.thumbnails import thumbnail
from firstlight.delivery.engine import Wanted, engine_for
from firstlight.errors import DataError, RecipeError, RunError
from firstlight.evaluation.evaluate import Evaluation, evaluate_logits
from firstlight.evaluation.mistakes import MISTAKES_SHOWN, Mistake, worst_mistakes
from firstlight.inference.predictor import Predictor
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model
from firstlight.runs.folder import CORRECTIONS_FILE, RECORD_FILE, SPLIT_FILE
from firstlight.runs.outputs import Outputs
from firstlight.runs.record import count_test_evaluation, read_record

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Score:
    """The scores of a model on a set.

    Attributes:
        evaluation: all scores.
        test_evaluations: how often the run's test split has been evaluated; None if that was not part of it.
        outputs: what the model said about each image; labels are positions in the model's classes.
        mistakes: the most confident wrong answers; their rows are positions in `outputs`.
        mistake_images: the originals of these, at most 256 pixels wide and high, uint8 `[H, W, C]` each.
    """

    evaluation: Evaluation
    test_evaluations: int | None
    outputs: Outputs = field(repr=False)
    mistakes: tuple[Mistake, ...] = field(repr=False)
    mistake_images: tuple[NDArray[np.uint8], ...] = field(repr=False)

    def __str__(self) -> str:
        return str(self.evaluation)

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as plain values, and how often the test split has been evaluated."""
        return {**self.evaluation.to_json(), "test_evaluations": self.test_evaluations}

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with one row for each class, see `Evaluation.to_pandas`."""
        return self.evaluation.to_pandas()

    def _repr_html_(self) -> str:
        return self.evaluation._repr_html_()


def evaluate_model(
    given: Path | Classifier,
    samples: Samples,
    *,
    split: str = "test",
    device: torch.device,
    allow_quarantine: bool = False,
    max_pixels: int | None = None,
    engine: Wanted = "torch",
    other_split: Mapping[str, int] | None = None,
) -> Score:
    """Evaluate a model on a split of a set.

    The split is that of the `split.csv` beside the model if the run was trained on this set, else the set's own.

    Args:
        given: a `model.safetensors`, or a classifier in memory, which stays as it is; its run is that of its `file`.
        samples: from `load_data`; its classes must be among the model's, by name.
        split: `train`, `valid`, `test` or `all`.
        device: where to run.
        allow_quarantine: continue even if more than 1% of the images cannot be used.
        max_pixels: larger images are not decoded; by default the limit of the training.
        engine: what runs the model, see `delivery.engine`.
        other_split: the split of each image by name, for a model whose run made none of this set.

    Raises:
        DataError: if the classes do not match, or the set has no such split.
        ModelFileError: if the model file cannot be loaded.
        RecipeError: if `split` is none of these words.
        RunError: if the record beside the model is damaged, or missing where the test split is to be scored.
    """
    if split not in (*SPLIT_WORDS, "all"):
        raise RecipeError("choose train, valid, test or all", field="split", value=split)
    file = given.file if isinstance(given, Classifier) else given
    run = file.parent if file else None
    # a classifier is copied: it may be elsewhere, and in the middle of training
    model = (copy.deepcopy(given).to(device) if isinstance(given, Classifier) else load_model(given, device)).eval()
    labels = match_classes(samples, model.classes)
    if isinstance(samples.images, ArrayImages):
        samples = replace(samples, images=samples.images.with_white(model.white))
    store = open_store(
        samples,
        size=model.input_size,
        resize=model.resize,
        allow_quarantine=allow_quarantine,
        max_pixels=max_pixels or model.max_pixels,
        white=model.white,
    )
    run_split = _split_of_run(run, samples, store.content_key) if run else {}
    rows = np.intersect1d(_rows_of(split, samples, run_split or other_split or {}), store.usable)
    if run and run_split and (run / CORRECTIONS_FILE).is_file():
        labels, rows = _as_corrected(labels, rows, samples.names, model.classes, run / CORRECTIONS_FILE)
    if not len(rows):
        raise DataError(f"{samples.source}: its {split} split holds no usable picture; choose another `split`")
    is_run_test = any(run_split.get(samples.names[row]) == Split.TEST for row in rows)
    runs_it = engine_for(model, engine, images=len(rows))
    # note: counted before it is seen, so that stopping here hides nothing
    test_evaluations = count_test_evaluation(run) if run and is_run_test else None
    if is_run_test and test_evaluations is None:
        raise RunError(
            f"{run}: {RECORD_FILE} is missing, so evaluations of this run's test split cannot be counted; "
            "wait until the run is finished, or set `split` to valid"
        )
    loader = Loader(store.pixels, labels, rows, device=device)
    outputs = Predictor(model, engine=runs_it).collect(loader.epoch())
    temperature = model.temperature.item()
    evaluation = evaluate_logits(outputs.logits, outputs.labels, model.classes, temperature=temperature)
    names = tuple(samples.names[row] for row in rows)
    said = Outputs(names, outputs.labels.numpy(), outputs.logits.numpy(), digests=store.digests[rows])
    worst = worst_mistakes(outputs.logits, outputs.labels, count=MISTAKES_SHOWN, temperature=temperature)
    shown = rows[[mistake.row for mistake in worst]]
    most = max_pixels or model.max_pixels
    originals = (thumbnail(samples, int(row), max_pixels=most, white=model.white) for row in shown)
    pairs = zip(originals, store.pixels[shown], strict=True)
    images = tuple(np.array(packed) if original is None else original for original, packed in pairs)
    return Score(evaluation, test_evaluations, said, worst, images)


def _as_corrected(
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    names: Sequence[str],
    classes: tuple[str, ...],
    file: Path,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return labels and rows with the corrections that the model's run had applied."""
    decided = {each.image: each for each in read_corrections(file)}
    labels, removed = labels.copy(), []
    for row, name in enumerate(names):
        if (each := decided.get(name)) is None:
            continue
        if each.action == "relabel" and each.label in classes:
            labels[row] = classes.index(each.label)
        elif each.action == "remove":
            removed.append(row)
    return labels, np.setdiff1d(rows, removed).astype(np.int64)


def match_classes(samples: Samples, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the labels of `samples` as positions in `classes`, matched by name, int64 `[N]`.

    Raises:
        DataError: if the set has a class that the model does not know.
    """
    known = {name: place for place, name in enumerate(classes)}
    unknown = [name for name in samples.classes if name not in known]
    if unknown:
        raise DataError(
            f"{samples.source}: the model does not know its {'class' if len(unknown) == 1 else 'classes'} "
            f"{_list(unknown, 5)}; classes are matched by name, and the model's are {_list(classes, 10)}"
        )
    position = np.array([known[name] for name in samples.classes], np.int64)
    return position[samples.labels]


def _list(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def _split_of_run(run: Path, samples: Samples, content_key: str) -> dict[str, int]:
    """Return the split that a run made of this set, by the images' names; nothing if it was trained on another set.

    It was trained on this set if the content is the same, or if the set holds every image that the run knew.
    """
    if not (run / SPLIT_FILE).is_file():
        return {}
    split = read_split(run / SPLIT_FILE)
    same = (run / RECORD_FILE).is_file() and read_record(run).source_key == content_key
    return split if same or split.keys() <= set(samples.names) else {}


def _rows_of(split: str, samples: Samples, run_split: Mapping[str, int]) -> NDArray[np.int64]:
    if split == "all":
        return np.arange(len(samples))
    wanted = SPLIT_WORDS[split]
    if run_split:
        return np.flatnonzero(np.array([run_split.get(name, -1) for name in samples.names], np.int8) == wanted)
    if samples.splits is None:
        raise DataError(
            f"{samples.source}: it has no {split} split of its own, and none from the model's run; if the model "
            "never saw its pictures in training, set `split` to all"
        )
    return np.flatnonzero(samples.splits == wanted)
