"""Learning with a record: rows go on where earlier ones ended, and only what is better replaces what there was."""

import csv
from dataclasses import replace

import pytest
import torch

from firstlight.data.dataset import open_samples, split_samples
from firstlight.data.sources import load_data
from firstlight.models.artefact import load_model
from firstlight.models.classifier import Classifier
from firstlight.training import learn as learning
from firstlight.training.learn import Learned, is_better, learn
from firstlight.training.loop import Epoch
from firstlight.training.recipe import Recipe

ROW = Epoch(0, 1.5, 0.0, 2.0, 2.1, 0.5)


@pytest.fixture(scope="module")
def data(some_digits, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        samples = load_data(some_digits)
        return split_samples(samples, open_samples(samples))


@pytest.fixture
def recipe():
    return Recipe(model="mlp", hidden=(16,), epochs=3, batch_size=32).complete(color=False, images=200)


def fresh(data, recipe, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Classifier(
            architecture=recipe.architecture, classes=data.samples.classes, input_size=data.store.input_size
        )


def planted(accuracies, model_of=lambda model: model):
    """A training of so many epochs, with these validation accuracies."""

    def epochs(classifier, *_):
        for number, accuracy in enumerate(accuracies, start=1):
            with torch.no_grad():
                classifier.mean.fill_(number)
            yield Epoch(number, float(number), 0.1, 1.0, 1.0, accuracy), model_of(classifier)

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
    found = learn(tmp_path, fresh(data, recipe), data, recipe, before)
    assert [row.epoch for row in found.history] == [0, 1, 2, 3]
    assert [row.seconds for row in found.history] == sorted(row.seconds for row in found.history)
    assert found.history[1].seconds > ROW.seconds
    assert [int(row["epoch"]) for row in rows_in(tmp_path)] == [0, 1, 2, 3]
    assert before.history == [replace(ROW, valid_accuracy=0.0)], "what was learned earlier stays what it was"


def test_the_best_epoch_is_copied_before_the_next_one_changes_it(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "train", planted([0.6, 0.9, 0.7, 0.9]))
    found = learn(tmp_path, fresh(data, recipe), data, recipe)
    assert found.best.epoch == 2
    assert found.model.mean.tolist() == [2.0]
    assert load_model(tmp_path / "model.safetensors").mean.tolist() == [2.0]
    assert len(found.history) == 4


def test_what_was_there_before_stays_if_no_epoch_is_better(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "train", planted([0.5, 0.4]))
    earlier = fresh(data, recipe)
    before = Learned(earlier, replace(ROW, valid_loss=0.5), [ROW])
    found = learn(tmp_path, fresh(data, recipe), data, recipe, before)
    assert found.model is earlier
    assert found.best is before.best
    assert not (tmp_path / "model.safetensors").exists(), "the file of before is not written again"
    assert [row.epoch for row in found.history] == [0, 1, 2]


@pytest.mark.parametrize(
    ("accuracies", "epochs"), [([0.1] * 9, 2), ([0.6, 0.1, 0.7, 0.1, 0.1, 0.1], 5), ([0.6] * 2, 2)]
)
def test_patience_begins_with_the_first_epoch_and_with_every_better_one(
    accuracies, epochs, data, recipe, tmp_path
):  # fmt: skip
    before = Learned(fresh(data, recipe), ROW, [replace(ROW, epoch=number) for number in range(7)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "train", planted(accuracies))
        found = learn(tmp_path, fresh(data, recipe), data, replace(recipe, patience=2), before)
    assert len(found.history) - 7 == epochs


def interrupted_after(epochs):
    def stopped(classifier, *_):
        yield from planted([0.1] * epochs)(classifier)
        raise KeyboardInterrupt

    return stopped


def test_ctrl_c_before_anything_is_to_be_kept_goes_on_up(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "train", interrupted_after(0))
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path, fresh(data, recipe), data, recipe)


@pytest.mark.parametrize("epochs", [0, 2])
def test_ctrl_c_keeps_what_there_was_and_says_so(epochs, data, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "train", interrupted_after(epochs))
    before = Learned(fresh(data, recipe), ROW, [ROW])
    found = learn(tmp_path, fresh(data, recipe), data, recipe, before)
    assert found.interrupted
    assert found.model is before.model
    assert len(found.history) == 1 + epochs


def test_events_for_tensorboard_are_the_rows(data, recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = learn(tmp_path, fresh(data, recipe), data, recipe)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    seen = [(event.step, event.value) for event in events.Scalars("valid_loss")]
    assert seen == [(row.epoch, pytest.approx(row.valid_loss, rel=1e-6)) for row in found.history]
