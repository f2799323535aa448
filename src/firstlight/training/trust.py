"""What a trained model has to know to say that it does not know, measured on the validation split."""

import torch

from firstlight.evaluation.conformal import set_quantiles
from firstlight.models.strangeness import Strangeness
from firstlight.models.trust import Trust
from firstlight.runs.outputs import Outputs


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
