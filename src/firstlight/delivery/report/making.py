"""How the model was made: what was tried, its learning curve and training curves, and everything that repeats it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from firstlight.delivery.report.classes import Score, score_of
from firstlight.delivery.report.figures import Line, line_plot
from firstlight.delivery.report.material import Material
from firstlight.delivery.wording import choices_as_options, percent
from firstlight.escaping import escape
from firstlight.runs.record import LearningCurve, Record, TransferRecord

FEWEST_POINTS = 3  # of a learning curve: every run with a backbone measures two


@dataclass(frozen=True)
class Rung:
    """One way to classify that was tried."""

    name: str
    accuracy: Score
    seconds: str
    kept: bool


@dataclass(frozen=True)
class Making:
    """How the model was made.

    Attributes:
        ladder: what was tried, with the accuracy on validation.
        remarks: what a person should know about it.
        learning_curve: a figure; empty if it was not measured.
        curves: figures of the loss and the accuracy of every epoch; empty if there is none.
        facts: what the model was made of, by name.
        choices: every choice of the recipe, by group.
    """

    ladder: tuple[Rung, ...]
    remarks: tuple[str, ...]
    learning_curve: Markup
    curves: tuple[Markup, ...]
    facts: dict[str, str]
    choices: dict[str, dict[str, str]]


def making_of(material: Material) -> Making:
    """Return how the model was made, as far as the run says."""
    transfer = material.record.transfer if material.record else None
    return Making(
        ladder=ladder_of(transfer) if transfer else (),
        remarks=tuple(remarks(material.record)) if material.record else (),
        learning_curve=curve_of(transfer.learning_curve) if transfer else Markup(""),
        curves=curves_of(material),
        facts=facts_of(material),
        choices=choices_of(material.recipe),
    )


def ladder_of(transfer: TransferRecord) -> tuple[Rung, ...]:
    """Return what was tried, from the lowest rung on."""
    return tuple(
        Rung(escape(rung.name), score_of(rung.accuracy), f"{rung.seconds:,.1f}", rung.name == transfer.strategy)
        for rung in transfer.ladder
    )


def remarks(record: Record) -> Iterator[str]:
    """Yield what a person should know about how the model was chosen and made."""
    if record.model_choice:
        yield escape(choices_as_options(record.model_choice))
    if record.transfer and record.transfer.remark:
        yield record.transfer.remark
    if record.transfer and record.transfer.next_step:
        yield escape(choices_as_options(record.transfer.next_step))
    yield from (escape(choices_as_options(note)) for note in record.notes)


def curve_of(curve: LearningCurve | None) -> Markup:
    """Return a figure of the accuracy against the number of training images; empty if it was not asked for."""
    if curve is None or len(curve.points) < FEWEST_POINTS:
        return Markup("")
    measured = [(point.images, point.accuracy.value) for point in curve.points]
    ahead = [measured[-1], *curve.forecast]
    words = "Accuracy on validation by number of training pictures: " + ", ".join(
        f"{images:,}: {percent(accuracy)}" for images, accuracy in measured
    )
    lines = [
        Line(name, [math.log2(images) for images, _ in points], [accuracy for _, accuracy in points])
        for name, points in (("measured", measured), ("forecast", ahead))
    ]
    return line_plot(lines, "training pictures", "accuracy", words=words, doubling=True)


def curves_of(material: Material) -> tuple[Markup, ...]:
    """Return figures of the loss and of the accuracy of every epoch; none if there were no epochs."""
    rows = material.epochs
    if not any(row["epoch"] > 0 for row in rows):
        return ()
    best = material.record.best_epoch if material.record else None
    epochs = [row["epoch"] for row in rows]

    def column(name: str) -> list[float]:
        return [row.get(name, math.nan) for row in rows]

    accuracy = Line("validation", epochs, column("valid_accuracy"))
    losses = Line("validation", epochs, column("valid_loss"))
    figures = []
    for lines, name in (([losses, Line("training", epochs, column("train_loss"))], "loss"), ([accuracy], "accuracy")):
        finite = [value for value in lines[0].values if math.isfinite(value)]
        if finite:
            words = (
                f"The {name} on validation by epoch, from {finite[0]:.3g} in the first to {finite[-1]:.3g} in the last."
            )
            figures.append(line_plot(lines, "epoch", name, words=words, marked=best))
    return tuple(figures)


def facts_of(material: Material) -> dict[str, str]:
    """Return what the model was made of, by name."""
    card, record = material.card, material.record
    facts: dict[str, str] = {}
    if card:
        channels, height, width = card.input_size
        facts["network"] = str(card.architecture.get("name", ""))
        facts["pictures are read as"] = (
            f"{width} x {height} pixels, {'gray' if channels == 1 else 'color'}, {card.resize}"
        )
    if record and record.transfer:
        facts["weights"] = record.transfer.weights["source"]
        facts["license of the weights"] = record.transfer.weights["license"]
    if record:
        facts["pictures"] = ", ".join(f"{count:,} {split}" for split, count in record.n.items())
        facts["source"] = record.source
        facts["seconds"] = f"{record.seconds['total']:,.1f}"
    if "seed" in material.recipe:
        facts["seed"] = str(material.recipe["seed"])
    if card:
        facts["temperature"] = f"{card.temperature:.4g}"
        facts["versions"] = ", ".join(f"{name} {number}" for name, number in card.versions.items())
        facts["model file, SHA-256"] = card.sha256
    return {name: escape(value) for name, value in facts.items()}


def choices_of(recipe: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return every choice of a recipe as it would be typed, by group."""
    groups: dict[str, dict[str, str]] = {}
    for name, value in recipe.items():
        if isinstance(value, Mapping):
            groups[escape(name)] = {escape(str(choice)): _typed(one) for choice, one in value.items()}
        else:
            groups.setdefault("general", {})[escape(name)] = _typed(value)
    return groups


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(_typed, value))
    return escape(str(value))
