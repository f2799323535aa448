"""Figures of transfer learning read back: dots and lines are the numbers, words stay inside and apart."""

import io
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from firstlight.delivery import ladder_plots, plots
from firstlight.delivery.style import LIGHT
from firstlight.errors import UserError
from firstlight.evaluation.intervals import Estimate
from firstlight.runs.record import CurvePoint, LearningCurve, Rung

RUNGS = [
    Rung("majority class", Estimate(0.11, 0.08, 0.15, 438), 0.004),
    Rung("nearest neighbors", Estimate(0.842, 0.805, 0.874, 438), 0.4),
    Rung("linear head", Estimate(0.913, 0.883, 0.936, 438), 31.7),
    Rung("fine-tuned, last quarter", Estimate(0.918, 0.888, 0.94, 438), 148),
    Rung("fine-tuned, all layers", Estimate(0.925, 0.896, 0.946, 438), 7500),
]
CHOSEN = "linear head"
POINTS = tuple(
    CurvePoint(images, Estimate(value, low, high, 438), 0.5)
    for images, value, low, high in [
        (64, 0.71, 0.66, 0.75), (128, 0.79, 0.75, 0.83), (512, 0.88, 0.85, 0.91), (1023, 0.913, 0.883, 0.936),
    ]
)  # fmt: skip
FORECAST = ((2046, 0.93), (4092, 0.942))
CURVE = LearningCurve(POINTS, FORECAST)


def points_at(*counts):
    return tuple(CurvePoint(count, Estimate(0.5, 0.4, 0.6, 100), 0.5) for count in counts)


MANY = points_at(*(1_281_167 >> halvings for halvings in range(12)))


@pytest.fixture(autouse=True)
def settings_stay_as_they_were():
    before = mpl.rcParams.copy()
    yield
    assert mpl.rcParams.copy() == before


def drawn(ax):
    """Draw everything for real: a missing letter or bad mathtext only shows now."""
    ax.figure.savefig(io.BytesIO(), format="png", dpi=ax.figure.dpi)
    return ax


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def intervals(collection, along):
    """The two ends of each line, along x (0) or y (1)."""
    return np.array(collection.get_segments())[:, :, along]


def near(numbers):
    return pytest.approx(np.array(numbers, float))


def test_every_rung_has_a_row_with_its_accuracy_interval_and_seconds():
    ax = drawn(ladder_plots.ladder(RUNGS, CHOSEN, n=438))
    lines, points = ax.collections
    wanted = [(100 * rung.accuracy.value, place) for place, rung in enumerate(RUNGS)]
    assert np.asarray(points.get_offsets()) == near(wanted)
    assert intervals(lines, 0) == near([(100 * rung.accuracy.low, 100 * rung.accuracy.high) for rung in RUNGS])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    assert ticks(ax.yaxis) == [rung.name for rung in RUNGS]
    assert ticks(ax.child_axes[0].yaxis) == ["0.0 s", "0.4 s", "32 s", "2 min", "2 h"]
    assert ax.get_xlabel() == "accuracy in %, with its 95% interval (n = 438)"
    assert [text.get_text() for text in ax.texts] == ["11.0", "84.2", "91.3", "91.8", "92.5"]


def test_only_the_chosen_rung_has_color():
    for chosen in (CHOSEN, None):
        ax = ladder_plots.ladder(RUNGS, chosen)
        wanted = [LIGHT.accent if rung.name == chosen else LIGHT.muted for rung in RUNGS]
        for collection in ax.collections:
            assert [to_hex(color).upper() for color in collection.get_edgecolor()] == [one.upper() for one in wanted]
        assert [to_hex(label.get_color()).upper() == LIGHT.accent for label in ax.get_yticklabels()] == [
            rung.name == chosen for rung in RUNGS
        ]
        assert "n =" not in ax.get_xlabel()


def test_a_learning_curve_is_its_points_and_the_forecast_goes_on_dashed():
    for points in (POINTS, POINTS[::-1]):
        ax = drawn(ladder_plots.learning_curve(LearningCurve(points, FORECAST)))
        lines = {line.get_label(): line for line in ax.lines}
        measured, forecast = lines["measured, 95% interval"], lines["forecast"]
        assert measured.get_xydata() == near([(point.images, 100 * point.accuracy.value) for point in POINTS])
        assert forecast.get_xydata() == near([(1023, 91.3), (2046, 93), (4092, 94.2)])
        wanted = [(100 * point.accuracy.low, 100 * point.accuracy.high) for point in POINTS]
        assert intervals(ax.collections[0], 1) == near(wanted)
        assert (measured.get_linestyle(), forecast.get_linestyle()) == ("-", "--")
        assert ax.get_xscale() == "log"
        assert ticks(ax.xaxis) == ["64", "128", "512", "1,023", "2,046", "4,092"]


def test_without_a_forecast_or_with_one_point_there_is_a_curve_all_the_same():
    assert [line.get_label() for line in drawn(ladder_plots.learning_curve(LearningCurve(POINTS, ()))).lines] == [
        "measured, 95% interval"
    ]
    assert ticks(drawn(ladder_plots.learning_curve(LearningCurve(POINTS[:1], ()))).xaxis) == ["64"]


@pytest.mark.parametrize("points", [POINTS, MANY, points_at(900, 1000, 10**6)])
def test_numbers_of_images_stay_apart_and_the_largest_is_written(points):
    ax = drawn(ladder_plots.learning_curve(LearningCurve(points, ())))
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(here.x1 < after.x0 for here, after in pairwise(boxes))
    assert ticks(ax.xaxis)[-1] == f"{max(point.images for point in points):,}"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: ladder_plots.ladder(RUNGS),
        lambda: ladder_plots.ladder([Rung("a very long name of a rung, " * 4, Estimate(1, 0.97, 1, 100), 1e6)]),
        lambda: ladder_plots.learning_curve(CURVE),
        lambda: ladder_plots.learning_curve(LearningCurve(MANY, ((10**9, 1.0),))),
    ],
)
def test_nothing_is_cut_off_at_the_edge(draw):
    ax = drawn(draw())
    tight, (width, height) = ax.figure.get_tightbbox(), ax.figure.get_size_inches()
    assert tight.x0 >= 0 and tight.y0 >= 0
    assert tight.x1 <= width and tight.y1 <= height


def test_names_of_rungs_are_drawn_letter_for_letter():
    names = ["a$b$", "50% of_it", r"\frac{1}{2}", "{x}", "é ß Ж"]
    half = Estimate(0.5, 0.4, 0.6, 100)
    ax = drawn(ladder_plots.ladder([Rung(name, half, 1) for name in [*names, "line\nbreak", "bad \udcff"]]))
    assert ticks(ax.yaxis) == [*names, r"line\nbreak", r"bad \udcff"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(UserError, match="no rung"):
        ladder_plots.ladder([])
    for points, forecast in (((), ()), (points_at(0), ()), (POINTS, ((0, 0.5),)), ((), FORECAST)):
        with pytest.raises(UserError, match="a learning curve needs"):
            ladder_plots.learning_curve(LearningCurve(points, forecast))


def test_given_axes_are_drawn_on_and_saved_as_any_figure(tmp_path):
    left, right = Figure().subplots(1, 2)
    assert ladder_plots.ladder(RUNGS, ax=left) is left
    assert ladder_plots.learning_curve(CURVE, right) is right
    assert plots.save_figure([left, right], tmp_path / "both.png").exists()
