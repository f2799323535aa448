"""Figures read back: the bars are the probabilities, the pixels are the image, the words are the names."""

import io
import subprocess
import sys
import tarfile

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

import firstlight as fl
from firstlight.delivery import plots, text
from firstlight.delivery.confusion_plot import confusion_matrix
from firstlight.delivery.curves import training_curves
from firstlight.delivery.style import DARK, on_page
from firstlight.errors import UserError

NASTY = ["a$b$", "50% of_it", r"\frac{1}{2}", "$$", "猫と犬", "line\nbreak", "bad \udcff byte", "{x}", "^_^", "é ß Ж"]


@pytest.fixture(scope="module")
def digits():
    return (load_digits().images * 255 / 16).astype(np.uint8)


def drawn(axes):
    """Draw everything for real: a missing letter or bad mathtext only shows now."""
    figure = np.asarray(axes, dtype=object).ravel()[0].get_figure(root=True)
    figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    return axes


def shown(ax):
    return np.asarray(ax.images[0].get_array())


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def bars(ax):
    return [bar.get_width() for bar in ax.patches]


def words(ax):
    return [text.get_text() for text in ax.texts]


def softmax(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(0)


def test_an_image_is_shown_pixel_for_pixel_however_its_channels_lie(digits):
    gray, color = digits[0], np.stack(digits[:3], axis=2)
    for image in (gray, gray[:, :, None], gray[None], torch.tensor(gray[None])):
        ax = drawn(plots.imshow(image))
        assert (shown(ax) == gray).all()
        assert ax.images[0].get_clim() == (0, 255)
        assert ax.images[0].get_cmap().name == "gray"
        assert ax.images[0].get_interpolation() == "nearest"
    for image in (color, color.transpose(2, 0, 1), torch.tensor(color).permute(2, 0, 1), torch.tensor(color)):
        assert (shown(plots.imshow(image)) == color).all()


def test_floats_are_taken_as_they_are_in_0_to_1_and_stretched_beyond(digits):
    unit = digits[0] / 255
    assert (shown(plots.imshow(unit)) == unit).all()
    normalized = torch.tensor((unit - 0.3) / 0.2, dtype=torch.float32)[None]
    assert shown(plots.imshow(normalized)) == pytest.approx((unit - unit.min()) / np.ptp(unit), abs=1e-6)
    assert shown(drawn(plots.imshow(np.full((4, 4), np.nan)))).max() == 0
    assert shown(plots.imshow(np.full((4, 4), 65535, np.uint16))).max() == 1


@pytest.mark.parametrize("channels", [2, 5, 12])
def test_channels_that_no_image_has_are_shown_as_their_mean(channels):
    cube = np.random.default_rng(0).random((20, 30, channels))
    assert shown(plots.imshow(cube)) == pytest.approx(cube.mean(2))
    assert shown(plots.imshow(torch.tensor(cube).permute(2, 0, 1))) == pytest.approx(cube.mean(2))


def test_large_images_are_smoothed_and_titles_are_literal():
    ax = drawn(plots.imshow(np.zeros((300, 400, 3), np.uint8), title="$x$_1%"))
    assert ax.images[0].get_interpolation() == "antialiased"
    assert ax.get_title() == "$x$_1%"
    assert not ax.title.get_parse_math()


def test_what_is_no_image_is_refused():
    with pytest.raises(UserError, match="a picture is"):
        plots.imshow(np.zeros((2, 3, 4, 5)))
    with pytest.raises(UserError, match="a picture is"):
        plots.imshow(np.zeros((0, 3)))


@pytest.mark.parametrize("size", [2, 3, 10, 11])
def test_every_class_has_a_bar_as_long_as_its_probability(digits, size):
    probabilities, classes = softmax(size), [f"class {index}" for index in range(size)]
    left, right = drawn(plots.image_with_probabilities(digits[0], probabilities, classes))
    order = probabilities.argsort(descending=True).tolist()
    assert bars(right) == pytest.approx(probabilities[order].tolist())
    assert ticks(right.yaxis) == [classes[index] for index in order]
    assert words(right) == [f"{100 * probabilities[index]:.1f} %" for index in order]
    assert (shown(left) == digits[0]).all()
    assert right.get_ylim()[0] > right.get_ylim()[1]  # the highest on top


def test_many_classes_share_a_last_bar_and_the_true_one_is_always_shown(digits):
    probabilities, classes = softmax(200), [f"class {index}" for index in range(200)]
    order = probabilities.argsort(descending=True).tolist()
    _, right = drawn(plots.image_with_probabilities(digits[0], probabilities, classes, label=order[150]))
    kept = [*order[:9], order[150]]
    assert ticks(right.yaxis) == [*(classes[index] for index in kept), "190 others"]
    assert bars(right)[:10] == pytest.approx(probabilities[kept].tolist())
    assert sum(bars(right)) == pytest.approx(1)
    assert [place for place, text in enumerate(words(right)) if text.endswith("true")] == [9]
    outlines = [bar.get_linewidth() for bar in right.patches if bar.get_edgecolor()[3]]
    assert len(outlines) == 1
    _, named = plots.image_with_probabilities(digits[0], probabilities, classes, label=classes[order[0]])
    assert words(named)[0].endswith("true")
    assert bars(named)[:10] == pytest.approx(probabilities[order[:10]].tolist())


def test_names_are_drawn_letter_for_letter_without_a_warning(digits, monkeypatch):
    monkeypatch.setattr(text, "_tell_missing", lambda *_: None)  # which fonts there are is not the point
    _, right = drawn(plots.image_with_probabilities(digits[0], np.linspace(1, 0, 10), NASTY))
    assert ticks(right.yaxis)[:4] == NASTY[:4]
    assert ticks(right.yaxis)[5:7] == [r"line\nbreak", r"bad \udcff byte"]
    ax = drawn(confusion_matrix(np.eye(10), NASTY))
    assert ticks(ax.xaxis)[:4] == ticks(ax.yaxis)[:4] == NASTY[:4]
    axes = drawn(plots.mistakes_grid(digits[:10], range(10), range(9, -1, -1), [0.5] * 10, NASTY))
    assert axes[0].get_title() == "said é ß Ж (50%)\nis a$b$"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.5], ["a", "b", "c"]), "2 probabilities for 3 classes"),
        (([0.5, 0.5], ["a", "b"], 10, "z"), "'z' is none of the 2"),
        (([0.5, 0.5], ["a", "b"], 10, 2), "2 is none of the classes 0 to 1"),
    ],
)
def test_probabilities_and_labels_that_do_not_fit_are_refused(digits, arguments, message):
    with pytest.raises(UserError, match=message):
        plots.image_with_probabilities(digits[0], *arguments)


def test_nothing_is_cut_off_at_the_edge(digits):
    long = [f"a very long name of a class, number {index}" for index in range(10)]
    for axes in (
        confusion_matrix([[9, 1], [200, 3000]], ["no", "yes"]),
        confusion_matrix(1000 * np.eye(10), long),
        plots.image_with_probabilities(digits[0][:2], [0, 1], ["no", "yes"], label=1),
        plots.image_with_probabilities(digits[0][:, :2], softmax(10), long, label=3),
    ):
        ax = np.asarray(drawn(axes), dtype=object).ravel()[0]
        tight = ax.figure.get_tightbbox()
        width, height = ax.figure.get_size_inches()
        assert tight.x0 >= 0
        assert tight.y0 >= 0
        assert tight.x1 <= width
        assert tight.y1 <= height


def test_mistakes_say_what_was_said_and_what_it_is(digits):
    classes = [str(index) for index in range(10)]
    for images in (digits[:3, :, :, None], torch.tensor(digits[:3, None])):
        axes = drawn(plots.mistakes_grid(images, [0, 1, 2], [8, 7, 3], [0.991, 0.5, 0.4], classes))
        assert [ax.get_title() for ax in axes] == ["said 8 (99%)\nis 0", "said 7 (50%)\nis 1", "said 3 (40%)\nis 2"]
        assert all((shown(ax) == digit).all() for ax, digit in zip(axes, digits, strict=False))


def test_mistakes_name_their_files_without_folders_where_that_is_enough(digits):
    wrong = digits[:2], [0, 1], [1, 0], [0.9, 0.8], ["cat", "dog"]
    titles = [ax.get_title() for ax in drawn(plots.mistakes_grid(*wrong, names=["cat/0007.png", "dog/1.png"]))]
    assert titles == ["said dog (90%)\nis cat\n0007.png", "said cat (80%)\nis dog\n1.png"]
    titles = [ax.get_title() for ax in plots.mistakes_grid(*wrong, names=["cat/1.png", "dog/1.png"])]
    assert [title.split("\n")[2] for title in titles] == ["cat/1.png", "dog/1.png"]


def test_names_from_right_to_left_leave_probabilities_behind_them(digits):
    (ax,) = drawn(plots.mistakes_grid(digits[:1], [0], [1], [0.97], ["\u05d7\u05ea\u05d5\u05dc", "\u05db\u05dc\u05d1"]))
    assert ax.get_title() == "said \u2068\u05db\u05dc\u05d1\u2069 (97%)\nis \u2068\u05d7\u05ea\u05d5\u05dc\u2069"


def test_a_title_stands_above_all_and_fits(digits):
    title = "The 24 most confident of 1,234 mistakes of a run with quite a long name\ntest split, n = 9"
    for axes in (
        plots.image_grid(digits[:1], title=title),
        plots.mistakes_grid(digits[:1], [0], [1], [0.9], "ab", title=title),
        plots.mistakes_grid([], [], [], [], "ab", title=title),
        plots.image_with_probabilities(digits[0], [0.5, 0.5], "ab", title=title),
        confusion_matrix(np.eye(2), "ab", title=title),
    ):
        figure = np.asarray(drawn(axes), dtype=object).ravel()[0].figure
        assert figure.get_suptitle().replace("\n", " ") == title.replace("\n", " ")
        box = figure._suptitle.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height
        assert all(box.y0 >= ax.get_tightbbox().y1 for ax in figure.axes)


def test_a_dark_page_makes_light_words(digits, tmp_path):
    def ends(axes):
        image = np.asarray(Image.open(plots.save_figure(axes, tmp_path / "x.png")).convert("L"))
        return image[0, 0], np.sort(image.ravel())[[image.size // 500, -image.size // 500]]

    draw = [
        lambda: plots.image_with_probabilities(digits[0] // 2 + 20, [0.5, 0.5], "ab", title="title"),
        lambda: confusion_matrix([[1, 2], [3, 4]], "ab", title="title"),
        lambda: training_curves([{"epoch": 1, "train_loss": 1.0, "valid_loss": 1, "valid_accuracy": 1}], title="title"),
    ]
    for plot in draw:
        assert ends(plot())[0] == 255
        with on_page(DARK):
            page, (_, words) = ends(plot())
        assert page < 40 and words > 180
        with mpl.rc_context({"figure.facecolor": "black"}):
            page, (_, words) = ends(plot())
        assert page == 0 and words > 180


def test_no_mistakes_make_a_figure_too(tmp_path):
    axes = plots.mistakes_grid(np.zeros((0, 8, 8, 1), np.uint8), [], [], [], ["a", "b"])
    assert words(axes[0]) == ["no mistakes"]
    assert plots.save_figure(axes, tmp_path / "none.png").exists()


@pytest.mark.parametrize("count", [1, 4, 7, 25])
def test_a_grid_shows_each_image_once_and_nothing_else(digits, count):
    axes = drawn(plots.image_grid(digits[:count]))
    assert len(axes) == len(axes[0].figure.axes) == count
    assert all((shown(ax) == digit).all() for ax, digit in zip(axes, digits, strict=False))


def test_given_axes_and_figures_are_drawn_on(digits):
    figure = Figure()
    pair = tuple(figure.subplots(1, 2))
    assert plots.imshow(digits[0], pair[0]) is pair[0]
    assert plots.image_with_probabilities(digits[0], [0.4, 0.6], ["a", "b"], axes=pair) == pair
    assert training_curves([{"epoch": 1, "train_loss": 1.0}], axes=pair) == pair
    assert confusion_matrix(np.eye(2), ["a", "b"], pair[1]) is pair[1]
    assert plots.image_grid(digits[:2], figure=Figure())[0].figure is not figure


def test_saving_writes_a_png_atomically_and_the_same_one_each_time(digits, tmp_path):
    for name in ("one.png", "two.png"):
        assert plots.save_figure(
            plots.image_with_probabilities(digits[0], [0.4, 0.6], ["a", "b"]), tmp_path / name
        ).exists()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]
    with Image.open(tmp_path / "one.png") as image:
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_clothing_is_drawn_as_the_photograph_is(shared_data):
    with tarfile.open(shared_data / "clothing10.tar") as archive:
        member = next(member for member in archive if member.name.endswith(".jpg"))
        photograph = np.asarray(Image.open(io.BytesIO(archive.extractfile(member).read())))
    left, _ = drawn(plots.image_with_probabilities(photograph, [0.9, 0.1], ["dress", "hat"]))
    assert (shown(left) == photograph).all()


def run_alone(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)


def test_without_pyplot_no_window_is_opened_and_importing_is_light():
    done = run_alone(
        "import sys; from firstlight.delivery import ladder_plots, plots\n"
        "from firstlight.delivery.confusion_plot import confusion_matrix\n"
        "from firstlight.evaluation.intervals import Estimate\n"
        "from firstlight.runs.record import CurvePoint, LearningCurve\n"
        "assert not {'matplotlib', 'torch'} & set(sys.modules)\n"
        "ax = confusion_matrix([[1, 2], [3, 4]], 'ab')\n"
        "ladder_plots.learning_curve(LearningCurve((CurvePoint(8, Estimate(0.5, 0.4, 0.6, 9), 0.5),), ()))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_with_pyplot_the_figure_is_its_own_and_saving_closes_it():
    done = run_alone(
        "import matplotlib; matplotlib.use('agg')\n"
        "import tempfile; from matplotlib import pyplot\n"
        "from firstlight.delivery import plots\n"
        "from firstlight.delivery.confusion_plot import confusion_matrix\n"
        "ax = confusion_matrix([[1, 2], [3, 4]], 'ab')\n"
        "assert pyplot.gcf() is ax.figure\n"
        "plots.save_figure(ax, tempfile.mkdtemp() + '/x.png')\n"
        "assert pyplot.get_fignums() == []"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (6, 2, 3), (9, 3, 3), (16, 4, 4), (20, 4, 5)]
)
def test_the_rows_of_a_grid_are_about_equally_long(count, rows, columns):
    grid = fl.image_grid(np.zeros((count, 8, 8, 1), np.uint8))[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
