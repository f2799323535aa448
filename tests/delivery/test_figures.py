"""The figures of a run are drawn from its folder alone, and show what the model said."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.delivery import confusion_plot, curves, plots
from firstlight.delivery.figures import draw_run
from firstlight.errors import RunError
from firstlight.evaluation.intervals import proportion
from firstlight.runs.folder import write_metrics
from firstlight.runs.outputs import Outputs, outputs_file, write_outputs, write_thumbnails
from firstlight.runs.record import CurvePoint, LearningCurve, Rung, TransferRecord, write_record

pytestmark = pytest.mark.usefixtures("rendered")

BEFORE = Path(__file__).parents[1] / "before"  # made by the version before outputs were kept

POINTS = tuple(CurvePoint(images, proportion(images // 2, 200), 30 / images) for images in (75, 150, 300))
TRANSFER = TransferRecord(
    backbone="timm:test_resnet",
    weights={"source": "tiny.safetensors", "license": "apache-2.0", "sha256": "0" * 64},
    strategy="linear head",
    ladder=(Rung("majority class", proportion(50, 500), 0.0), Rung("linear head", proportion(450, 500), 1.25)),
    case=None,
    learning_curve=LearningCurve(POINTS, ((600, 0.9),)),
    head={"strength": 0.1},
)


@pytest.fixture
def drawn_with(monkeypatch):
    """What each plot was given, by its name; figures are made but, to save seconds, written as empty files."""
    given = {}

    def watched(name, plot):
        def draw(*arguments, **options):
            given[name] = (*arguments, options)
            return plot(*arguments, **options)

        return draw

    def write(axes, path):
        path.touch()
        return path

    for module, name in (
        (plots, "mistakes_grid"),
        (plots, "image_with_probabilities"),
        (confusion_plot, "confusion_matrix"),
        (curves, "training_curves"),
    ):
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    monkeypatch.setattr(plots, "save_figure", write)
    return given


def names(paths):
    return [path.name for path in paths]


def is_drawn(path):
    drawn = np.asarray(Image.open(path).convert("L"))
    return min(drawn.shape) > 100 and 0.005 < (drawn < 128).mean() < 0.9  # neither empty nor full


def test_a_run_gets_its_figures_from_its_folder_alone_and_nothing_else(drawable_run, tmp_path):
    moved = drawable_run.folder.rename(tmp_path / "elsewhere")
    before = set(moved.rglob("*"))
    written = draw_run(moved)
    assert names(written) == ["confusion.png", "mistakes.png", "view_classify.png", "curves.png"]
    assert all(map(is_drawn, written))
    assert set(moved.rglob("*")) - before == set(written)


def test_the_worst_mistakes_are_shown_with_their_own_images(drawable_run, drawn_with):
    draw_run(drawable_run.folder)
    images, labels, predicted, probabilities, classes, _ = drawn_with["mistakes_grid"]
    assert len(images) == 24 and classes == drawable_run.record.classes
    assert probabilities == sorted(probabilities, reverse=True)
    logits = drawable_run.outputs.logits.astype(float) / 2.0
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    wrong = np.flatnonzero(logits.argmax(1) != drawable_run.outputs.labels)
    assert probabilities == pytest.approx(np.sort(expected[wrong].max(1))[::-1][:24])
    for image, label, guess in zip(images, labels, predicted, strict=True):
        (row,) = [row for row in wrong if np.array_equal(drawable_run.images[row], image)]
        assert (label, guess) == (drawable_run.outputs.labels[row], logits[row].argmax())


def test_each_title_says_which_run_and_split_how_many_and_how_good(drawable_run, drawn_with):
    draw_run(drawable_run.folder)
    accuracy = drawable_run.record.test.accuracy
    score = f"n = 500, accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
    wrong = round(500 * (1 - accuracy.value))
    assert {name: given[-1]["title"] for name, given in drawn_with.items()} == {
        "confusion_matrix": f"Confusion matrix of run\ntest split, {score}",
        "mistakes_grid": f"The 24 most confident of {wrong} mistakes of run\ntest split, {score}",
        "image_with_probabilities": f"{drawable_run.outputs.names[0]}, classified by run\ntest split, {score}",
        "training_curves": f"Training of run\nvalidation split, {score}",
    }


def test_the_mistakes_are_named_by_their_files(drawable_run, drawn_with):
    draw_run(drawable_run.folder)
    images, *_, options = drawn_with["mistakes_grid"]
    row_of = {name: row for row, name in enumerate(drawable_run.outputs.names)}
    for image, name in zip(images, options["names"], strict=True):
        assert np.array_equal(drawable_run.images[row_of[name]], image)


def test_dark_figures_are_drawn_beside_the_others(drawable_run):
    light, dark = draw_run(drawable_run.folder), draw_run(drawable_run.folder, dark=True)
    assert names(dark) == [name.replace(".png", "-dark.png") for name in names(light)]
    assert all(np.asarray(Image.open(path).convert("L"))[0, 0] == 255 for path in light)
    assert all(np.asarray(Image.open(path).convert("L"))[0, 0] < 40 for path in dark)


def test_the_phases_of_a_ladder_are_those_that_trained(drawable_run, drawn_with):
    tuned = tuple(Rung(name, TRANSFER.ladder[0].accuracy, 1.0, epochs) for name, epochs in (("last", 4), ("all", 3)))
    transfer = replace(TRANSFER, ladder=(*TRANSFER.ladder, *tuned))
    write_record(drawable_run.folder, replace(drawable_run.record, transfer=transfer))
    draw_run(drawable_run.folder)
    assert drawn_with["training_curves"][-1]["phases"] == [("linear head", 0), ("last", 4), ("all", 7)]


def test_the_classified_image_is_the_first_of_the_test_split(drawable_run, drawn_with):
    draw_run(drawable_run.folder)
    image, probabilities, classes, options = drawn_with["image_with_probabilities"]
    assert np.array_equal(image, drawable_run.images[0])
    assert options["label"] == drawable_run.outputs.labels[0] and classes == drawable_run.record.classes
    logits = drawable_run.outputs.logits[0].astype(float) / 2.0
    assert np.asarray(probabilities) == pytest.approx(np.exp(logits) / np.exp(logits).sum())


def test_a_run_without_a_mistake_says_so(drawable_run, drawn_with):
    outputs = drawable_run.outputs
    perfect = 9 * np.eye(10, dtype=np.float32)[outputs.labels]
    write_outputs(drawable_run.folder, "test", Outputs(outputs.names, outputs.labels, perfect))
    assert "mistakes.png" in names(draw_run(drawable_run.folder))
    assert drawn_with["mistakes_grid"][0] == []


@pytest.mark.parametrize(("epochs", "curves"), [([0], []), ([0, 1], ["curves.png"]), ([1, 2], ["curves.png"])])
def test_curves_are_drawn_of_epochs_and_not_of_the_model_before_them(epochs, curves, drawable_run, drawn_with):
    row = {"train_loss": 1.0, "valid_loss": 1.0, "valid_accuracy": 0.5}
    write_metrics(drawable_run.folder, [{"epoch": epoch} | row for epoch in epochs])
    written = draw_run(drawable_run.folder)
    assert names(written)[3:] == curves
    assert set(names(written)) == set(names(drawable_run.folder.glob("*.png")))


def test_a_ladder_and_a_learning_curve_are_drawn_where_there_are_any(drawable_run):
    shutil.rmtree(drawable_run.folder / "outputs")
    write_record(drawable_run.folder, replace(drawable_run.record, transfer=TRANSFER, test=None))
    write_metrics(drawable_run.folder, [{"epoch": 0}])
    written = draw_run(drawable_run.folder)
    assert names(written) == ["ladder.png", "learning_curve.png"]
    assert all(map(is_drawn, written))


@pytest.mark.parametrize("curve", [None, LearningCurve(POINTS[-2:], ())])
def test_a_curve_that_nobody_asked_for_is_not_drawn(drawable_run, curve, drawn_with):
    transfer = replace(TRANSFER, learning_curve=curve)
    write_record(drawable_run.folder, replace(drawable_run.record, transfer=transfer))
    assert names(draw_run(drawable_run.folder))[4:] == ["ladder.png"]


def test_a_run_that_was_not_scored_gets_its_curves_only(drawable_run, drawn_with):
    write_record(drawable_run.folder, replace(drawable_run.record, test=None, test_evaluations=0))
    shutil.rmtree(drawable_run.folder / "outputs")
    assert names(draw_run(drawable_run.folder)) == ["curves.png"]


@pytest.mark.parametrize(
    ("name", "figures"),
    [("mlp-run", ["confusion.png", "curves.png"]), ("backbone-run", ["confusion.png", "ladder.png"])],
)
def test_a_run_of_an_older_version_gets_the_figures_that_need_no_outputs(tmp_path, name, figures):
    folder = Path(shutil.copytree(BEFORE / name, tmp_path / name))
    for old in folder.glob("*.png"):
        old.unlink()
    written = draw_run(folder)
    assert names(written) == figures
    assert all(map(is_drawn, written))


def test_images_that_were_not_kept_are_not_shown(drawable_run, drawn_with):
    write_thumbnails(drawable_run.folder, ["another"], drawable_run.images[:1])
    assert names(draw_run(drawable_run.folder)) == ["confusion.png", "mistakes.png", "curves.png"]
    assert drawn_with["mistakes_grid"][0] == []


def test_a_damaged_or_empty_folder_is_an_error_of_one_line(drawable_run, tmp_path):
    outputs_file(drawable_run.folder, "test").write_bytes(b"no")
    for folder in (drawable_run.folder, tmp_path):
        with pytest.raises(RunError) as refused:
            draw_run(folder)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "shown"),
    [("mkdir -p failed for path %s: %s", False), ("Matplotlib created a temporary cache", False), ("else", True)],
)
def test_a_home_folder_that_cannot_be_written_is_no_news(line, shown):
    record = logging.LogRecord("matplotlib", logging.WARNING, "", 1, line, (), None)
    assert bool(logging.getLogger("matplotlib").filter(record)) == shown
