"""The figure of a comparison read back: dots and lines are the numbers, and color is for what leaves out 0."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from firstlight.delivery.comparison_plot import MAX_CLASSES, differences
from firstlight.delivery.plots import png_of
from firstlight.delivery.style import LIGHT
from firstlight.evaluation.comparison import compare_logits


def comparison(classes=6, n=600, split="valid"):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    first = 2 * np.eye(classes, dtype=np.float32)[labels] + rng.standard_normal((n, classes)).astype(np.float32)
    second = first.copy()
    second[labels == 1, 1] -= 2
    return compare_logits(labels, (first, second), [f"class {number}" for number in range(classes)], split=split)


def test_every_difference_is_a_dot_on_its_interval():
    found = comparison()
    ax = differences(found, title="a: one\nb: other")
    dots = np.asarray(ax.collections[-1].get_offsets())[:, 0].tolist()
    lines = [segment[:, 0] for segment in ax.collections[0].get_segments()]
    rows = {one.name: one.difference for one in found.per_class}
    names = [label.get_text().rpartition(" (")[0] for label in ax.get_yticklabels()]
    assert names[0] == "all pictures" and set(names[1:]) == set(rows)
    expected = [found.accuracy_difference, *(rows[name] for name in names[1:])]
    assert dots == pytest.approx([100 * row.value for row in expected])
    assert np.array(lines) == pytest.approx(np.array([(100 * row.low, 100 * row.high) for row in expected]))
    colors = [to_hex(color) for color in ax.collections[0].get_colors()]
    assert [color == LIGHT.accent.lower() for color in colors] == [row.low > 0 or row.high < 0 for row in expected]
    assert png_of(ax).startswith(b"\x89PNG")


def test_of_many_classes_those_are_shown_that_differ_most():
    ax = differences(comparison(classes=30, n=3000, split="test"))
    assert len(ax.get_yticklabels()) == 1 + MAX_CLASSES
    assert ax.get_yticklabels()[-1].get_text().startswith("class 1 (")
    assert "test pictures); the 20 classes that differ most" in ax.get_xlabel()
