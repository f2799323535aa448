"""Curves read back: the lines are the history, the best epoch is marked, phases are divided."""

import io

import numpy as np
import pytest

from firstlight.delivery.curves import training_curves
from firstlight.errors import UserError


def drawn(axes):
    """Draw everything for real: a missing letter or bad mathtext only shows now."""
    figure = np.asarray(axes, dtype=object).ravel()[0].get_figure(root=True)
    figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    return axes


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def history(epochs=6):
    accuracies = [0.5, 0.7, 0.9, 0.9, 0.8, 0.6][:epochs]
    return [
        {
            "epoch": number + 1,
            "seconds": 1.5,
            "lr": 0.1,
            "train_loss": 1 / (number + 1),
            "valid_loss": 1.2 / (number + 1),
            "valid_accuracy": accuracy,
        }
        for number, accuracy in enumerate(accuracies)
    ]


def test_curves_are_the_history_and_the_best_epoch_is_marked():
    losses, accuracy = drawn(training_curves(history()))
    by_label = {line.get_label(): line for line in losses.lines}
    assert by_label["training"].get_ydata() == pytest.approx([row["train_loss"] for row in history()])
    assert by_label["validation"].get_ydata() == pytest.approx([row["valid_loss"] for row in history()])
    assert accuracy.lines[0].get_ydata() == pytest.approx([row["valid_accuracy"] for row in history()])
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["validation", "best: epoch 4, 0.9"]
    level = [row | {"valid_loss": 1.0} for row in history()]
    assert training_curves(level)[1].get_legend().get_texts()[1].get_text() == "best: epoch 3, 0.9"
    _, chosen = training_curves(history(), best=5)
    assert chosen.get_legend().get_texts()[1].get_text() == "best: epoch 5, 0.8"


def test_curves_from_the_file_are_the_same_and_holes_are_gaps(tmp_path):
    rows = history()
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    lines[2] = "2,1.5,0.1,,nan,"
    file = tmp_path / "metrics.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    losses, accuracy = drawn(training_curves(file))
    expected = [row["train_loss"] for row in rows]
    expected[1] = np.nan
    assert losses.lines[0].get_ydata() == pytest.approx(expected, nan_ok=True)
    assert np.isnan(accuracy.lines[0].get_ydata()[1])


def test_one_epoch_can_be_drawn_and_none_cannot():
    losses, _ = drawn(training_curves(history(1)))
    assert "1" in ticks(losses.xaxis)
    with pytest.raises(UserError, match="no epoch"):
        training_curves([])


def test_the_exact_head_and_what_follows_it_are_divided_and_named():
    rows = [{"epoch": 0, "train_loss": 1.0, "valid_loss": 1.1, "valid_accuracy": 0.4}, *history()]
    for panel in drawn(training_curves(rows)):
        assert [text.get_text() for text in panel.texts] == ["linear head", "fine-tuning"]
        assert 0.5 in [line.get_xdata()[0] for line in panel.lines]
        assert panel.get_xlim()[0] < 0
    assert not [text for panel in training_curves(history()) for text in panel.texts]


def test_each_phase_has_its_name_where_it_begins():
    phases = [("linear head", 0), ("last quarter fine-tuned", 2), ("all fine-tuned", 6)]
    rows = [{"epoch": 0, "train_loss": 1.0, "valid_loss": 1.1, "valid_accuracy": 0.4}, *history()]
    _, accuracy = drawn(training_curves(rows, phases=phases))
    assert [(text.get_text(), text.xy[0]) for text in accuracy.texts[1:]] == [(phases[1][0], 0.5), (phases[2][0], 2.5)]


def test_the_title_stands_above_both():
    losses, _ = drawn(training_curves(history(), title="Training of $x$-1\nvalidation split, n = 9"))
    assert losses.figure.get_suptitle() == "Training of $x$-1\nvalidation split, n = 9"
