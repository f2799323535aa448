"""A confusion matrix read back: its cells are the counts, its colors their fractions."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from firstlight.delivery.confusion_plot import confusion_matrix
from firstlight.delivery.style import DARK, LIGHT, on_page
from firstlight.errors import UserError
from firstlight.evaluation.confusion import Cell, Confusion


def drawn(axes):
    """Draw everything for real: a missing letter or bad mathtext only shows now."""
    figure = np.asarray(axes, dtype=object).ravel()[0].get_figure(root=True)
    figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    return axes


def shown(ax):
    return np.asarray(ax.images[0].get_array())


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def confusion(size):
    return np.random.default_rng(size).integers(0, 2000, (size, size)) * (np.arange(size)[:, None] > 0)


@pytest.mark.parametrize("size", [2, 10, 20])
def test_a_confusion_matrix_has_row_shares_as_colors_and_counts_as_words(size):
    counts, classes = confusion(size), [f"class {index}" for index in range(size)]
    ax = drawn(confusion_matrix(counts, classes))
    expected = counts / np.maximum(counts.sum(1, keepdims=True), 1)  # the first class has no samples
    assert shown(ax) == pytest.approx(expected)
    written = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in ax.texts}
    assert written == {(r, c): f"{counts[r, c]:,}" for r, c in np.argwhere(counts).tolist()}
    assert ticks(ax.yaxis) == ticks(ax.xaxis) == classes


def test_of_many_classes_the_most_confused_are_drawn_and_the_rest_is_counted():
    counts = 5 * np.eye(100, dtype=int)
    counts[70, 3], counts[3, 70], counts[10, 90], counts[90, 11] = 4, 1, 3, 2
    ax = drawn(confusion_matrix(counts, [f"class {index}" for index in range(100)], most=4))
    assert ticks(ax.yaxis) == ticks(ax.xaxis) == ["class 70", "class 3", "class 10", "class 90", "96 others"]
    fractions = counts / counts.sum(1, keepdims=True)
    assert shown(ax)[:4, :4] == pytest.approx(fractions[np.ix_([70, 3, 10, 90], [70, 3, 10, 90])])
    assert shown(ax)[3, 4] == pytest.approx(2 / 7)
    assert shown(ax)[4, 4] == 0
    written = sorted(text.get_text() for text in ax.texts)
    assert written == ["1", "2", "3", "4", "5", "5", "5", "5"]


def test_of_mistakes_as_frequent_those_of_the_classes_with_more_of_them_come_first():
    counts = np.eye(60, dtype=int)
    counts[[50, 51, 52], 7] = 1
    counts[3, 4] = 1
    ax = confusion_matrix(counts, [str(index) for index in range(60)], most=4)
    assert ticks(ax.yaxis)[:4] == ["50", "7", "51", "52"]


def test_a_perfect_matrix_of_many_classes_shows_the_first_of_them():
    ax = confusion_matrix(np.eye(100, dtype=int), [f"class {index}" for index in range(100)])
    assert ticks(ax.yaxis) == [*(f"class {index}" for index in range(30)), "70 others"]


def test_ten_thousand_classes_are_drawn_without_their_matrix(monkeypatch):
    def whole(*_):
        raise AssertionError("the whole matrix was made")

    monkeypatch.setattr(Confusion, "__array__", whole)
    size = 10_000
    cells = tuple(Cell(index, (index + index % 2) % size, 1) for index in range(size))
    ax = confusion_matrix(Confusion(size, cells), [f"class {index}" for index in range(size)])
    assert len(ticks(ax.yaxis)) == 31
    assert max(ax.figure.get_size_inches()) < 16


def test_names_of_a_matrix_do_not_overlap():
    ax = drawn(confusion_matrix(confusion(30), [f"some long name {index}" for index in range(30)]))
    for labels, low, high in ((ax.get_yticklabels(), "y0", "y1"), (ax.get_xticklabels(), "x0", "x1")):
        boxes = sorted((getattr(box, low), getattr(box, high)) for box in (text.get_window_extent() for text in labels))
        assert all(here[1] <= after[0] + 1 for here, after in zip(boxes, boxes[1:], strict=False))


def test_a_matrix_of_another_size_is_refused():
    with pytest.raises(UserError, match="3 classes is 3 x 3, not 2 x 2"):
        confusion_matrix(np.eye(2), "abc")


def luminance(color):
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("page", [LIGHT, DARK])
def test_counts_can_be_read_on_every_color_of_both_pages(page):
    for hits in range(0, 101, 5):
        with on_page(page):
            ax = confusion_matrix([[hits, 100 - hits], [50, 50]], ["no", "yes"])
        for text in ax.texts:
            column, row = map(int, text.get_position())
            behind = luminance(ax.images[0].to_rgba(shown(ax))[row, column, :3])
            dark, bright = sorted([luminance(text.get_color()), behind])
            assert (bright + 0.05) / (dark + 0.05) > 4.2
