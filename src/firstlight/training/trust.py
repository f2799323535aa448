"""What a trained model has to know to say that it does not know: learned on validation, measured on the test split."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from firstlight.data.dataset import Dataset
from firstlight.evaluation.conformal import score_sets, set_quantiles
from firstlight.evaluation.intervals import Estimate, proportion
from firstlight.models.strangeness import Strangeness
from firstlight.models.trust import Trust
from firstlight.runs.outputs import Outputs
from firstlight.runs.record import TrustRecord

ROWS_AT_ONCE = 256


def measure_trust(valid: Outputs, temperature: float, strangeness: Strangeness | None = None) -> Trust:
    """Return when a model is unsure.

    Args:
        valid: what it said about the validation split.
        temperature: of the model, fitted to the same split.
        strangeness: how it tells strangers; None if it cannot.
    """
    logits, labels = torch.from_numpy(valid.logits), torch.from_numpy(valid.labels)
    quantile, by_class = set_quantiles(logits, labels, temperature)
    return Trust(
        strangeness=strangeness,
        set_quantile=quantile,
        class_quantiles=by_class,
        measured_on={"split": "valid", "n": len(valid)},
    )


def record_of(trust: Trust) -> TrustRecord:
    """Return what a run records of when its model is unsure, before the test split is scored."""
    strange = trust.strangeness
    return TrustRecord(
        coverage=trust.coverage,
        set_quantile=trust.set_quantile,
        measured_on=trust.measured_on,
        stranger_threshold=None if strange is None else strange.threshold,
        kept=None if strange is None else Estimate(*strange.kept),
    )


def scored_on_test(trust: Trust, test: Outputs, temperature: float, classes: tuple[str, ...]) -> TrustRecord:
    """Return what a run records of when its model is unsure, and how that did on the test split.

    Args:
        trust: of the model.
        test: what the model said about the test split.
        temperature: of the model.
        classes: the K names.
    """
    logits, labels = torch.from_numpy(test.logits), torch.from_numpy(test.labels)
    probabilities = torch.softmax(logits / temperature, dim=1)  # in the number type of prediction
    overall, by_class = (
        score_sets(trust.sets(probabilities, by_class=choice), labels, classes) for choice in (False, True)
    )
    kept = None
    if test.strangeness is not None and trust.strangeness is not None:
        kept = proportion(int((test.strangeness <= trust.strangeness.threshold).sum()), len(test))
    return replace(record_of(trust), test=overall, test_by_class=by_class, test_kept=kept)


def with_strangeness(outputs: Outputs, trust: Trust | None, data: Dataset, rows: NDArray[np.int64]) -> Outputs:
    """Return outputs with how strange each image is to the model, if it can tell.

    Args:
        outputs: of these rows, with features.
        trust: of the model.
        data: the images.
        rows: which of them, int64 `[n]`.
    """
    if trust is None or trust.strangeness is None or outputs.features is None:
        return outputs
    strangeness, scores = trust.to("cpu").strangeness, np.empty(len(rows), np.float32)
    assert strangeness is not None
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        images = torch.from_numpy(np.ascontiguousarray(data.store.pixels[rows[some]])).permute(0, 3, 1, 2)
        given = (torch.from_numpy(outputs.features[some]), torch.from_numpy(outputs.logits[some]), images)
        scores[some] = strangeness.score(*given).numpy()
    return replace(outputs, strangeness=scores)
