"""The scores that a card states, and what it states of when a model is unsure, from a record or a model file's header.

A header may have been written by anyone: what is not of the expected types is left out, and so is not claimed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from firstlight.evaluation.evaluate import Evaluation
from firstlight.evaluation.intervals import Estimate
from firstlight.evaluation.reliability import Calibration
from firstlight.runs.record import TrustRecord

ROUNDING = 1e-9  # by which a value may be outside its interval


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The scores that are read first, each with its 95% interval and the number of pictures behind it.

    Attributes:
        accuracy: fraction of pictures whose most probable class is the right one.
        top5: fraction of pictures whose class is among the five most probable.
        macro_f1: mean F1 over the classes.
        log_loss: in nats.
        ece: expected calibration error, beside which `calibration` says what chance alone would show.
        calibration: how far confidence is from accuracy; None in older files.
    """

    accuracy: Estimate
    top5: Estimate
    macro_f1: Estimate
    log_loss: Estimate
    ece: Estimate
    calibration: Calibration | None = None


@dataclass(frozen=True, kw_only=True)
class ClassCoverage:
    """How often the sets of one class's test pictures hold that class."""

    name: str
    coverage: Estimate


@dataclass(frozen=True, kw_only=True)
class TestedTrust:
    """How sets of classes, and the limit for strangers, did on the test split.

    Attributes:
        coverage: of the pictures, the fraction whose set holds the right class.
        single: the fraction whose set holds one class, so that the answer is sure.
        single_accuracy: of these, the fraction whose answer is right.
        worst_class: the class that is covered least; None if there were no pictures.
        kept: the fraction that is not called unlike anything in training; None if the model cannot tell.
    """

    coverage: Estimate
    single: Estimate
    single_accuracy: Estimate
    worst_class: ClassCoverage | None
    kept: Estimate | None


@dataclass(frozen=True, kw_only=True)
class CardTrust:
    """When a model is unsure.

    Attributes:
        coverage: of the pictures, the fraction whose set of classes should hold the right one.
        set_quantile: a class is in the set if 1 - its probability is at most this; with 1, every class is.
        accept: the least probability of an accepted answer; None if an answer is accepted when its set has one class.
        strangeness_threshold: a picture that is stranger is unlike anything in training; None if it cannot tell.
        measured_on: what the sets were learned from, such as `{"split": "valid", "n": 300}`.
        kept: the fraction of known pictures that the threshold keeps, as estimated in training; None if not known.
        test: how this did on the test split; None if it was not scored.
    """

    coverage: float
    set_quantile: float
    accept: float | None
    strangeness_threshold: float | None
    measured_on: dict[str, Any]
    kept: Estimate | None = None
    test: TestedTrust | None = None


def headline_of(evaluation: Evaluation | None) -> Headline | None:
    """Return the scores of an evaluation that are read first; None if there is none."""
    if evaluation is None:
        return None
    return Headline(
        accuracy=evaluation.accuracy,
        top5=evaluation.top5,
        macro_f1=evaluation.macro_f1,
        log_loss=evaluation.log_loss,
        ece=evaluation.ece,
        calibration=evaluation.calibration,
    )


def stated_headline(value: Any) -> Headline | None:
    """Return the scores that a model file states for a split; None if it states none that make sense."""
    try:
        found = msgspec.convert(value, Headline)
    except (msgspec.ValidationError, RecursionError):
        return None
    fractions = (found.accuracy, found.top5, found.macro_f1, found.ece)
    is_sound = all(_is_sound(each, 1.0) for each in fractions) and _is_sound(found.log_loss, math.inf)
    return found if is_sound else None


def trust_of(header: Mapping[str, Any], record: TrustRecord | None) -> CardTrust | None:
    """Return when a model is unsure; None if what its header says makes no sense.

    Args:
        header: the `trust` block of the model file.
        record: how that did on the test split, if there is a record.
    """
    strangeness = header.get("strangeness")
    strangeness = strangeness if isinstance(strangeness, Mapping) else {}
    plain = {name: header.get(name) for name in ("coverage", "set_quantile", "accept", "measured_on")}
    try:
        found = msgspec.convert(plain | {"strangeness_threshold": strangeness.get("threshold")}, CardTrust)
    except (msgspec.ValidationError, RecursionError):
        return None
    kept = record.kept if record else _stated_kept(strangeness.get("kept"))
    return replace(found, kept=kept, test=_tested(record) if record else None)


def _tested(record: TrustRecord) -> TestedTrust | None:
    sets = record.test
    if sets is None:
        return None
    worst = sets.worst_class
    return TestedTrust(
        coverage=sets.coverage,
        single=sets.single,
        single_accuracy=sets.single_accuracy,
        worst_class=ClassCoverage(name=worst.name, coverage=worst.coverage) if worst else None,
        kept=record.test_kept,
    )


def _stated_kept(value: Any) -> Estimate | None:
    """Return the estimate that a header keeps as `[value, low, high, n]`."""
    try:
        found = Estimate(*msgspec.convert(value, tuple[float, float, float, int]))
    except msgspec.ValidationError:
        return None
    return found if _is_sound(found, 1.0) else None


def _is_sound(estimate: Estimate, highest: float) -> bool:
    value, low, high, n = estimate.value, estimate.low, estimate.high, estimate.n
    ordered = 0 <= low <= value + ROUNDING and value <= high + ROUNDING
    return ordered and high <= highest and math.isfinite(high) and n >= 0
