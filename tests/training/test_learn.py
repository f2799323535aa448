"""Training with a record: rows go on where earlier ones ended, and only what is better replaces what there was."""

import csv
import signal
from dataclasses import replace

import pytest
import torch

from firstlight.data.dataset import open_dataset
from firstlight.data.recipe import DataRecipe
from firstlight.data.sources import load_data
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model
from firstlight.training import learn as learning
from firstlight.training import loop
from firstlight.training.defaults import complete
from firstlight.training.learn import learn_by_gradient
from firstlight.training.recipe import Recipe
from firstlight.training.recorder import watched_by
from firstlight.training.state import Epoch, Learned, Step, is_better

ROW = Epoch(0, 1.5, 0.0, 2.0, 2.1, 0.5)


@pytest.fixture(scope="module")
def data(some_digits, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return open_dataset(load_data(some_digits), DataRecipe())


@pytest.fixture
def recipe():
    return complete(Recipe.of(model="mlp", hidden=(16,), epochs=3, batch_size=32), color=False, images=200)


def fresh(data, recipe, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Classifier(
            architecture={"name": "mlp", "hidden": [16]}, classes=data.samples.classes, input_size=data.store.input_size
        )


def planted(accuracies):
    """A training of so many epochs, with these validation accuracies."""

    def epochs(state, _train_loader, _valid_loader, recipe, _clock):
        for number, accuracy in enumerate(accuracies, start=1):
            if loop.out_of_patience(state, recipe.optimization.patience):
                return
            with torch.no_grad():
                state.classifier.mean.fill_(number)
            state.end_epoch(Epoch(state.epochs_before + number, float(number), 0.1, 1.0, 1.0, accuracy))
            yield state.rows[-1]

    return epochs


def rows_in(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("row", "than", "better"),
    [
        ((0.9, 1.0), (0.8, 0.1), True),
        ((0.8, 0.1), (0.9, 1.0), False),
        ((0.9, 0.1), (0.9, 0.2), True),
        ((0.9, 0.2), (0.9, 0.1), False),
        ((0.9, 0.2), (0.9, 0.2), False),
    ],
)
def test_accuracy_comes_first_then_the_log_loss_and_the_earlier_of_equals_stays(row, than, better):
    first, second = (replace(ROW, valid_accuracy=accuracy, valid_loss=loss) for accuracy, loss in (row, than))
    assert is_better(first, second) is better


def test_rows_go_on_where_the_earlier_ones_ended(data, recipe, tmp_path):
    before = Learned(fresh(data, recipe), replace(ROW, valid_accuracy=0.0), [replace(ROW, valid_accuracy=0.0)])
    found = learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe, before)
    assert [row.epoch for row in found.rows] == [0, 1, 2, 3]
    assert [row.seconds for row in found.rows] == sorted(row.seconds for row in found.rows)
    assert found.rows[1].seconds > ROW.seconds
    assert [int(row["epoch"]) for row in rows_in(tmp_path)] == [0, 1, 2, 3]
    assert before.rows == [replace(ROW, valid_accuracy=0.0)], "what was learned earlier stays what it was"


def test_the_best_epoch_is_copied_before_the_next_one_changes_it(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "train_epochs", planted([0.6, 0.9, 0.7, 0.9]))
    found = learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe)
    assert found.best.epoch == 2
    assert found.model.mean.tolist() == [2.0]
    assert load_model(tmp_path / "model.safetensors").mean.tolist() == [2.0]
    assert len(found.rows) == 4


def test_what_was_there_before_stays_if_no_epoch_is_better(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "train_epochs", planted([0.5, 0.4]))
    earlier = fresh(data, recipe)
    before = Learned(earlier, replace(ROW, valid_loss=0.5), [ROW])
    found = learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe, before)
    assert found.model is earlier
    assert found.best is before.best
    assert not (tmp_path / "model.safetensors").exists(), "the file of before is not written again"
    assert [row.epoch for row in found.rows] == [0, 1, 2]


@pytest.mark.parametrize(
    ("accuracies", "epochs"), [([0.1] * 9, 2), ([0.6, 0.1, 0.7, 0.1, 0.1, 0.1], 5), ([0.6] * 2, 2)]
)
def test_patience_begins_with_the_first_epoch_and_with_every_better_one(
    accuracies, epochs, data, recipe, tmp_path
):  # fmt: skip
    before = Learned(fresh(data, recipe), ROW, [replace(ROW, epoch=number) for number in range(7)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "train_epochs", planted(accuracies))
        found = learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe.replace(patience=2), before)
    assert len(found.rows) - 7 == epochs


def interrupted_after(epochs):
    def stopped(*arguments):
        yield from planted([0.1] * epochs)(*arguments)
        raise KeyboardInterrupt

    return stopped


def test_ctrl_c_before_anything_is_to_be_kept_goes_on_up(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "train_epochs", interrupted_after(0))
    with pytest.raises(KeyboardInterrupt):
        learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe)


def test_ctrl_c_is_not_lost_where_python_cannot_raise_it(data, recipe, tmp_path, monkeypatch, hears_interrupts):
    class Finalized:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def train_epochs(*arguments):
        yield from planted([0.1])(*arguments)
        Finalized()
        yield Step(2, 1)
        pytest.fail("training went on")

    monkeypatch.setattr(learning, "train_epochs", train_epochs)
    found = learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe)
    assert found.interrupted
    assert [row.epoch for row in found.rows] == [1]


@pytest.mark.parametrize("epochs", [0, 2])
def test_ctrl_c_keeps_what_there_was_and_says_so(epochs, data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "train_epochs", interrupted_after(epochs))
    before = Learned(fresh(data, recipe), ROW, [ROW])
    found = learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe, before)
    assert found.interrupted
    assert found.model is before.model
    assert len(found.rows) == 1 + epochs


def test_events_for_tensorboard_are_the_rows(data, recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    seen = [(event.step, event.value) for event in events.Scalars("valid_loss")]
    assert seen == [(row.epoch, pytest.approx(row.valid_loss, rel=1e-6)) for row in found.rows]


def test_whoever_watches_sees_each_step_and_each_epoch_that_is_recorded_and_may_end_training(data, recipe, tmp_path):
    class EnoughError(Exception):
        pass

    seen = []

    def watch(event):
        seen.append(event)
        if isinstance(event, Epoch):
            assert int(rows_in(tmp_path)[-1]["epoch"]) == event.epoch
            if event.epoch == 2:
                raise EnoughError

    with pytest.raises(EnoughError), watched_by(watch):
        learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe)
    assert [event.epoch for event in seen if isinstance(event, Epoch)] == [1, 2]
    steps = [event.step for event in seen if isinstance(event, Step)]
    assert steps == [*range(1, len(steps) // 2 + 1)] * 2
    learn_by_gradient(tmp_path, fresh(data, recipe), data, recipe)
    assert len(rows_in(tmp_path)) == 3 and seen[-1].epoch == 2
