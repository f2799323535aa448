"""Figures of transfer learning read back: dots and lines are the numbers, words stay inside and apart."""

import io
import subprocess
import sys
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from firstlight.delivery import ladder_plots, plots
from firstlight.delivery.canvas import ACCENT, QUIET
from firstlight.errors import UserError

RUNGS = [
    ("majority class", 0.11, 0.08, 0.15, 0.004, False),
    ("nearest neighbors", 0.842, 0.805, 0.874, 0.4, False),
    ("linear head", 0.913, 0.883, 0.936, 31.7, True),
    ("fine-tuned, last quarter", 0.918, 0.888, 0.94, 148, False),
    ("fine-tuned, all layers", 0.925, 0.896, 0.946, 7500, False),
]
POINTS = [(64, 0.71, 0.66, 0.75), (128, 0.79, 0.75, 0.83), (512, 0.88, 0.85, 0.91), (1023, 0.913, 0.883, 0.936)]
FORECAST = [(2046, 0.93), (4092, 0.942)]
MANY = [(1_281_167 >> halvings, 0.5, 0.4, 0.6) for halvings in range(12)]


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
    ax = drawn(ladder_plots.ladder(RUNGS, n=438))
    lines, points = ax.collections
    wanted = [(100 * value, place) for place, (_, value, *_) in enumerate(RUNGS)]
    assert np.asarray(points.get_offsets()) == near(wanted)
    assert intervals(lines, 0) == near([(100 * low, 100 * high) for _, _, low, high, *_ in RUNGS])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    assert ticks(ax.yaxis) == [name for name, *_ in RUNGS]
    assert ticks(ax.child_axes[0].yaxis) == ["0.0 s", "0.4 s", "32 s", "2 min", "2 h"]
    assert ax.get_xlabel() == "accuracy in %, with its 95 % interval (n = 438)"
    assert [text.get_text() for text in ax.texts] == ["11.0", "84.2", "91.3", "91.8", "92.5"]


def test_only_the_chosen_rung_has_color():
    ax = ladder_plots.ladder(RUNGS)
    wanted = [ACCENT if chosen else QUIET for *_, chosen in RUNGS]
    for collection in ax.collections:
        assert [to_hex(color).upper() for color in collection.get_edgecolor()] == [one.upper() for one in wanted]
    assert [to_hex(label.get_color()).upper() == ACCENT for label in ax.get_yticklabels()] == [
        chosen for *_, chosen in RUNGS
    ]
    assert "n =" not in ax.get_xlabel()


def test_a_learning_curve_is_its_points_and_the_forecast_goes_on_dashed():
    for points in (POINTS, POINTS[::-1]):
        ax = drawn(ladder_plots.learning_curve(points, FORECAST))
        lines = {line.get_label(): line for line in ax.lines}
        measured, forecast = lines["measured, 95 % interval"], lines["forecast"]
        assert measured.get_xydata() == near([(images, 100 * value) for images, value, *_ in POINTS])
        assert forecast.get_xydata() == near([(1023, 91.3), (2046, 93), (4092, 94.2)])
        assert intervals(ax.collections[0], 1) == near([(100 * low, 100 * high) for *_, low, high in POINTS])
        assert (measured.get_linestyle(), forecast.get_linestyle()) == ("-", "--")
        assert ax.get_xscale() == "log"
        assert ticks(ax.xaxis) == ["64", "128", "512", "1,023", "2,046", "4,092"]


def test_without_a_forecast_or_with_one_point_there_is_a_curve_all_the_same():
    assert [line.get_label() for line in drawn(ladder_plots.learning_curve(POINTS)).lines] == [
        "measured, 95 % interval"
    ]
    assert ticks(drawn(ladder_plots.learning_curve(POINTS[:1])).xaxis) == ["64"]


@pytest.mark.parametrize("points", [POINTS, MANY, [(900, 0.9, 0.8, 1), (1000, 0.9, 0.8, 1), (10**6, 1, 0.9, 1)]])
def test_numbers_of_images_stay_apart_and_the_largest_is_written(points):
    ax = drawn(ladder_plots.learning_curve(points))
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(here.x1 < after.x0 for here, after in pairwise(boxes))
    assert ticks(ax.xaxis)[-1] == f"{max(points)[0]:,}"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: ladder_plots.ladder(RUNGS),
        lambda: ladder_plots.ladder([("a very long name of a rung, " * 4, 1, 0.97, 1, 1e6, True)]),
        lambda: ladder_plots.learning_curve(POINTS, FORECAST),
        lambda: ladder_plots.learning_curve(MANY, [(10**9, 1)]),
    ],
)
def test_nothing_is_cut_off_at_the_edge(draw):
    ax = drawn(draw())
    tight, (width, height) = ax.figure.get_tightbbox(), ax.figure.get_size_inches()
    assert tight.x0 >= 0 and tight.y0 >= 0
    assert tight.x1 <= width and tight.y1 <= height


def test_names_of_rungs_are_drawn_letter_for_letter():
    names = ["a$b$", "50 % of_it", r"\frac{1}{2}", "{x}", "é ß Ж"]
    ax = drawn(ladder_plots.ladder([(name, 0.5, 0.4, 0.6, 1, False) for name in [*names, "line\nbreak", "bad \udcff"]]))
    assert ticks(ax.yaxis) == [*names, r"line\nbreak", r"bad \udcff"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(UserError, match="no rung"):
        ladder_plots.ladder([])
    for points, forecast in (([], []), ([(0, 0.5, 0.4, 0.6)], []), (POINTS, [(0, 0.5)])):
        with pytest.raises(UserError, match="a learning curve needs"):
            ladder_plots.learning_curve(points, forecast)


def test_given_axes_are_drawn_on_and_saved_as_any_figure(tmp_path):
    left, right = Figure().subplots(1, 2)
    assert ladder_plots.ladder(RUNGS, left) is left
    assert ladder_plots.learning_curve(POINTS, FORECAST, right) is right
    assert plots.save([left, right], tmp_path / "both.png").exists()


def test_importing_is_light_and_no_window_is_opened():
    code = (
        "import sys; from firstlight.delivery import ladder_plots\n"
        "assert not {'matplotlib', 'torch'} & set(sys.modules)\n"
        "ladder_plots.learning_curve([(8, 0.5, 0.4, 0.6)])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
