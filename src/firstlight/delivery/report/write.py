"""Write the report of a run, or of a model on a labeled set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.data.dataset import open_store
from firstlight.data.samples import Samples
from firstlight.delivery.evaluate import Score, evaluate_model
from firstlight.delivery.explain import heatmaps_over
from firstlight.delivery.report.answers import Answers
from firstlight.delivery.report.material import Material, read_run
from firstlight.delivery.report.page import page_of
from firstlight.errors import RunError
from firstlight.files import begins_as, write_text
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model, read_model_card
from firstlight.progress import phase
from firstlight.runs.folder import MODEL_FILE, REPORT_FILE
from firstlight.runs.kept import COPIES_COLUMNS, kept_of

HEATMAPS = 8  # of the worst mistakes
PAGE = r"\s*<(?:!doctype )?html"  # how a page begins


@phase("writing the report")
def write_run_report(folder: Path, out: Path | None = None) -> Path:
    """Write `report.html` into a run folder, or to another file, from what the folder holds, and return its path.

    Raises:
        RunError: if the folder holds no run, or a file in it is damaged.
    """
    if out is not None:
        _require_page(out)
    material = read_run(folder)
    file = folder / MODEL_FILE
    heatmaps = heatmaps_of(load_model(file), material) if material.originals and file.is_file() else {}
    return _write(out or folder / REPORT_FILE, replace(material, heatmaps=heatmaps))


@phase("writing the report")
def write_model_report(model: Path | Classifier, samples: Samples, out: Path | None = None, **choices: Any) -> Path:
    """Score a model on a labeled set, write the report about that, and return its path.

    Args:
        model: a `model.safetensors`, or a classifier in memory.
        samples: from `load_data`.
        out: the file; by default `<name of the set>-report.html` in the current folder, which must be new.
        choices: as for `evaluate_model`.

    Raises:
        UserError: if the model or the set cannot be used.
    """
    path = out or Path(f"{samples.name}-report.html")
    if out is None and path.exists():
        raise RunError("this file exists; choose another", field="out", value=str(path))
    if path.is_dir() or not path.parent.is_dir():  # before the test split is scored, which counts
        raise RunError("it cannot be written; choose a file in a folder that exists", field="out", value=str(path))
    _require_page(path)
    score = evaluate_model(model, samples, **choices)
    return _write(path, _material(model, samples, score, choices.get("max_pixels")))


def heatmaps_of(model: Classifier, material: Material) -> dict[str, NDArray[np.uint8]]:
    """Return heatmaps of the worst mistakes, each for the class that was answered, by the names of the images."""
    if not (material.test and material.outputs):
        return {}
    answers = Answers.of(material.outputs, material.test.temperature)
    places = [place for place in answers.worst.tolist() if answers.names[place] in material.originals][:HEATMAPS]
    names = [answers.names[place] for place in places]
    pictures = [material.originals[name] for name in names]
    return dict(zip(names, heatmaps_over(model, pictures, answers.predicted[places].tolist()), strict=True))


def _material(model: Path | Classifier, samples: Samples, score: Score, max_pixels: int | None) -> Material:
    file = model.file if isinstance(model, Classifier) else model
    card = read_model_card(file) if file else None
    given = model if isinstance(model, Classifier) else card
    assert given is not None
    store = open_store(  # packed already, by the evaluation
        samples,
        size=given.input_size,
        resize=given.resize,
        allow_quarantine=True,
        max_pixels=max_pixels or given.max_pixels,
        white=given.white,
    )
    row_of = {name: row for row, name in enumerate(samples.names)}
    rows = np.array([row_of[name] for name in score.outputs.names], np.int64)
    kept = kept_of(samples, store, rows, score.outputs, temperature=score.evaluation.temperature)
    worst = (score.outputs.names[mistake.row] for mistake in score.mistakes)
    return Material(
        title=f"{file.parent.resolve().name if file else 'model'} on {samples.name}",
        source=samples.source,
        classes=score.evaluation.classes,
        test=score.evaluation,
        outputs=score.outputs,
        card=card,
        images=kept.images,
        originals=dict(zip(worst, score.mistake_images, strict=True)),
        facts=kept.facts,
        quarantined=[{"image": samples.names[row], "reason": why} for row, why in sorted(store.quarantined.items())],
        copies=[dict(zip(COPIES_COLUMNS, row, strict=True)) for row in kept.copies],
    )


def _require_page(path: Path) -> None:
    if not begins_as(path, PAGE):
        raise RunError("that is no page, so it is not replaced; choose a new file", field="out", value=str(path))


def _write(path: Path, material: Material) -> Path:
    try:
        write_text(path, page_of(material))
    except OSError as error:
        raise RunError(f"{path}: the report cannot be written ({error.strerror}); choose another with `out`") from None
    return path
