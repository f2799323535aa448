"""Whole runs on real digits: scores are honest, records complete, runs repeat to the bit."""

import csv
import itertools
import json
import tomllib

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

import firstlight as fl
from firstlight.data.sources import load_data
from firstlight.errors import ImageError, RecipeError, RunError, TrainingError
from firstlight.runs.begun import end_run
from firstlight.runs.outputs import read_outputs
from firstlight.runtime.distributed import Heartbeat
from firstlight.training import learn, recorder
from firstlight.training import train as training
from firstlight.training.recipe import Recipe
from firstlight.training.recipe_file import from_toml
from firstlight.training.state import Step
from firstlight.training.train import evaluate_on_test, train

QUICK = Recipe.of(model="mlp", hidden=(64,), epochs=6, batch_size=64)


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits):
    return train(load_data("digits"), QUICK, tmp_path_factory.mktemp("runs") / "run")


def test_the_digits_are_learned(run):
    assert run.test.accuracy.low > 0.85
    assert run.test.n == len(run.data.split.test)


def test_the_scores_are_what_scikit_learn_says_of_the_saved_model(run):
    model = fl.load(run.folder / "model.safetensors")
    rows = run.data.split.test
    images = torch.from_numpy(np.array(run.data.store.pixels[rows])).permute(0, 3, 1, 2)
    labels = run.data.samples.labels[rows]
    with torch.inference_mode():
        probabilities = model.probabilities(images).double().numpy()
    assert run.test.accuracy.value == accuracy_score(labels, probabilities.argmax(axis=1))
    truth = log_loss(labels, probabilities / probabilities.sum(axis=1, keepdims=True), labels=range(10))
    assert run.test.log_loss.value == pytest.approx(truth, rel=1e-5)


def test_the_model_is_the_best_epoch_by_validation(run):
    with (run.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert run.valid.accuracy.value == pytest.approx(max(float(row["valid_accuracy"]) for row in rows))


def test_the_run_folder_is_complete(run):
    promised = "recipe.toml split.csv quarantine.csv metrics.csv model.safetensors evaluation.json outputs suspects.csv"
    promised += " tensorboard held_out.png last"
    assert {path.name for path in run.folder.iterdir()} == set(promised.split())
    assert list((run.folder / "tensorboard").glob("events.*"))
    record = json.loads((run.folder / "evaluation.json").read_text())
    assert record["test_evaluations"] == 1
    assert record["test"]["accuracy"] == run.to_json()["test"]["accuracy"]
    assert fl.read_model_card(run.folder / "model.safetensors").scores["test"]["accuracy"]["n"] == run.test.n


def test_the_json_answer_has_the_promised_keys(run):
    answer = run.to_json()
    promised = {"run", "model", "source", "classes", "n", "quarantined", "leaks", "epochs", "seconds", "valid", "test"}
    assert promised <= set(answer)
    assert set(answer["n"]) == {"train", "valid", "test"}
    assert set(answer["seconds"]) == {"pack", "train", "total"}
    assert {"accuracy", "log_loss", "top5", "macro_f1", "ece"} <= set(answer["test"])
    assert set(answer["test"]["accuracy"]) == {"value", "low", "high", "n"}
    json.dumps(answer, allow_nan=False)


def test_its_recipe_file_repeats_the_run_to_the_bit(run, tmp_path):
    recipe, source, _ = from_toml(run.folder / "recipe.toml")
    again = train(load_data(source), recipe, tmp_path / "again")
    first, second = run.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (run.folder / "split.csv").read_bytes() == (again.folder / "split.csv").read_bytes()
    assert tomllib.loads((again.folder / "recipe.toml").read_text()) == tomllib.loads(
        (run.folder / "recipe.toml").read_text()
    )


def test_another_seed_gives_another_split_and_other_weights(run, tmp_path):
    recipe = Recipe.of(model="mlp", hidden=(64,), epochs=1, batch_size=64, seed=1)
    other = train(load_data("digits"), recipe, tmp_path / "other")
    assert not np.array_equal(other.data.split.test, run.data.split.test)
    assert not torch.equal(other.model.network.fc1.weight, run.model.network.fc1.weight)


def test_the_global_generator_are_left_alone(digits, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(load_data("digits"), Recipe.of(model="mlp", hidden=(8,), epochs=1), tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "choices",
    [
        {"optimizer": "sgd", "lr": 0.05, "schedule": "cosine"},
        {"optimizer": "muon", "schedule": "constant"},
        {"ema": 0.9, "clip": 1.0, "label_smoothing": 0.1},
        {"balance": "weights"},
        {"balance": "sampling"},
        {"mixup": 0.2, "cutmix": 1.0, "shift": 1, "rotate": 10},
        {"init": "zero"},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_every_choice_learns(choices, tmp_path):
    recipe = Recipe.of(model="mlp", hidden=(64,), **{"epochs": 8, "batch_size": 64, **choices})
    assert train(load_data("digits"), recipe, tmp_path / "run").test.accuracy.value > 0.7


def test_the_cnn_repeats_to_the_bit_whatever_the_number_of_workers(digit_folder, tmp_path, monkeypatch):
    runs = []
    for workers in (1, 3):
        monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / f"cache-{workers}"))
        recipe = Recipe.of(model="cnn", epochs=2, batch_size=32, workers=workers)
        runs.append(train(load_data(digit_folder), recipe, tmp_path / f"run-{workers}"))
    first, second = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert runs[0].test == runs[1].test


def test_a_loss_that_is_no_number_stops_with_the_batch_named(tmp_path):
    recipe = Recipe.of(
        model="mlp", hidden=(64,), epochs=3, optimizer="sgd", lr=100.0, momentum=0.99, schedule="constant"
    )
    with pytest.raises(TrainingError, match=r"epoch \d+, batch \d+: the loss is (nan|inf).*`lr`"):
        train(load_data("digits"), recipe, tmp_path / "run")


@pytest.mark.parametrize("file_is_there", [True, False])
def test_ctrl_c_while_the_first_model_is_saved_keeps_it(tmp_path, monkeypatch, file_is_there):
    whole, calls = recorder.save_model, []

    def interrupted(*arguments, **choices):
        calls.append(arguments)
        if file_is_there or len(calls) > 1:
            whole(*arguments, **choices)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(recorder, "save_model", interrupted)
    try:
        run = train(load_data("digits"), QUICK, tmp_path / "run")
    except KeyboardInterrupt:
        pytest.fail("the best model so far was thrown away")
    assert run.test is None
    assert len(run.history) == 1
    kept = fl.load(run.folder / "model.safetensors").state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in run.model.state_dict().items())


def test_the_last_good_model_outlives_a_loss_that_is_no_number(tmp_path, monkeypatch):
    whole = learn.train_epochs

    def breaks_in_the_third_epoch(*arguments):
        for event in whole(*arguments):
            if isinstance(event, Step) and event.epoch == 3:
                raise TrainingError("epoch 3, batch 1: the loss is nan")
            yield event

    monkeypatch.setattr(learn, "train_epochs", breaks_in_the_third_epoch)
    with pytest.raises(TrainingError, match=r"model of epoch [12] is kept"):
        train(load_data("digits"), QUICK, tmp_path / "run")
    assert fl.load(tmp_path / "run" / "model.safetensors").classes == tuple("0123456789")


def test_ctrl_c_keeps_the_best_so_far_and_leaves_the_test_split_locked(tmp_path, interrupt_in_epoch):
    interrupt_in_epoch(3)
    run = train(load_data("digits"), QUICK, tmp_path / "run")
    assert run.test is None
    assert len(run.history) == 2
    record = json.loads((run.folder / "evaluation.json").read_text())
    assert record["test"] is None
    assert record["test_evaluations"] == 0
    assert fl.load(run.folder / "model.safetensors").temperature.item() > 0


def test_early_stopping_waits_no_longer_than_its_patience(tmp_path):
    recipe = Recipe.of(model="mlp", hidden=(64,), epochs=60, batch_size=64, patience=2)
    run = train(load_data("digits"), recipe, tmp_path / "run")
    best = max(run.history, key=lambda row: (row.valid_accuracy, -row.valid_loss)).epoch
    assert run.best_epoch == best
    assert len(run.history) == best + 2 < 60


def test_a_time_limit_ends_the_run_with_the_schedule_played_out(tmp_path, monkeypatch):
    """By a clock that moves on by the same time whenever it is read; no real second has to pass."""
    now = itertools.count()
    monkeypatch.setattr(Heartbeat, "clock", lambda _self: 0.01 * next(now))
    recipe = Recipe.of(model="mlp", hidden=(64,), epochs=100_000, batch_size=64, time_limit=2.0, lr=0.01)
    run = train(load_data("digits"), recipe, tmp_path / "run")
    assert 1 < len(run.history) < 20
    assert run.history[-1].lr < 0.2 * recipe.optimization.lr


def test_a_run_is_never_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(RunError, match="not empty"):
        train(load_data("digits"), QUICK, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_can_start_from_the_weights_of_another(run, tmp_path):
    state = {f"module.{name}": weights for name, weights in run.model.network.state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    recipe = Recipe.of(
        model="mlp", hidden=(64,), epochs=1, batch_size=64, lr=1e-6, weights=str(tmp_path / "weights.pth")
    )
    warm = train(load_data("digits"), recipe, tmp_path / "run")
    assert warm.valid.accuracy.value > 0.8


def test_a_model_file_of_ours_is_weights_too_with_its_own_normalization(run, tmp_path):
    recipe = Recipe.of(
        model="mlp", hidden=(64,), epochs=1, lr=1e-9, weights=str(run.folder / "model.safetensors"), batch_size=64
    )
    warm = train(load_data("digits"), recipe, tmp_path / "run")
    assert torch.equal(warm.model.mean, run.model.mean)
    assert warm.valid.accuracy.value == pytest.approx(run.valid.accuracy.value, abs=0.01)


def test_ctrl_c_while_the_test_split_is_scored_leaves_the_evaluation_counted(tmp_path, monkeypatch):
    whole, splits = training.outputs_on, []

    def interrupted_on_test(split, *others):
        splits.append(split)
        if split == "test":
            raise KeyboardInterrupt
        return whole(split, *others)

    monkeypatch.setattr(training, "outputs_on", interrupted_on_test)
    run = train(load_data("digits"), QUICK, tmp_path / "run")
    assert splits == ["valid", "test"]
    assert run.test is None
    record = json.loads((run.folder / "evaluation.json").read_text())
    assert record["test_evaluations"] == 1
    assert record["valid"]["n"] == len(run.data.split.valid)
    assert fl.read_model_card(run.folder / "model.safetensors").temperature == run.model.temperature.item()


def test_the_test_split_stays_locked_until_somebody_scores_it(run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_on_test", lambda _: pytest.fail("the test split was scored"))
        locked = train(load_data("digits"), QUICK, tmp_path / "run", score_test=False)
    assert locked.test is None
    assert locked.record.test_evaluations == 0
    assert not (locked.folder / "outputs" / "test.safetensors").exists()
    assert locked.valid == run.valid
    scored = evaluate_on_test(locked)
    assert scored.test == run.test
    assert scored.record.test_evaluations == 1
    assert json.loads((locked.folder / "evaluation.json").read_text())["test"]["accuracy"]["n"] == scored.test.n


def test_every_evaluation_of_the_test_split_is_counted_whoever_makes_it(tmp_path, digit_folder):
    run = train(load_data(digit_folder), QUICK, tmp_path / "run", score_test=False)
    end_run(run.folder)  # until then, all looks are that of the run itself, which may have been stopped in between
    counts = [evaluate_on_test(run).record.test_evaluations, fl.evaluate(run, digit_folder).test_evaluations]
    counts += [evaluate_on_test(run).record.test_evaluations, fl.evaluate(run, digit_folder).test_evaluations]
    assert counts == [1, 2, 3, 4]


def test_the_score_stands_when_the_example_image_is_gone(tmp_path, monkeypatch):
    def gone(*_, **__):
        raise ImageError("cannot be read")

    monkeypatch.setattr(training, "uncropped_image", gone)
    run = train(load_data("digits"), QUICK, tmp_path / "run")
    assert run.test
    assert (run.folder / "held_out.png").is_file()


def test_ctrl_c_after_the_test_split_is_scored_keeps_the_score(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "write_example_images", interrupt)
    run = train(load_data("digits"), QUICK, tmp_path / "run")
    assert run.test
    assert json.loads((run.folder / "evaluation.json").read_text())["test"] is not None


def test_a_shift_out_of_the_image_is_refused_before_there_is_a_run_folder(tmp_path):
    with pytest.raises(RecipeError, match="shift = 8: choose less than the side of the pictures, 8 x 8"):
        train(load_data("digits"), QUICK.replace(shift=8), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_outputs_are_what_the_saved_model_says(run):
    model = fl.load(run.folder / "model.safetensors")
    for split in ("valid", "test"):
        rows = run.data.split.rows(split)
        found = read_outputs(run.folder, split)
        images = torch.from_numpy(np.array(run.data.store.pixels[rows])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits = model(images)
            heads = model.network.head(torch.from_numpy(found.features))
        np.testing.assert_allclose(found.logits, logits.numpy(), atol=1e-5)
        np.testing.assert_allclose(heads.numpy(), logits.numpy(), atol=0.05)  # features are kept as float16
        assert found.names == tuple(run.data.samples.names[row] for row in rows)
        assert np.array_equal(found.labels, run.data.samples.labels[rows])


def test_an_occupied_folder_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").touch()
    monkeypatch.setattr("firstlight.training.ready.prepare", lambda *_, **__: pytest.fail("worked first"))
    with pytest.raises(RunError, match="not empty"):
        train(load_data("digits"), QUICK, tmp_path)


def test_from_python_a_run_of_the_cnn_learns_the_digits_and_gets_its_figures(tmp_path):
    run = fl.train("digits", model="cnn", epochs=3, batch_size=64, out=tmp_path / "run")
    assert run.test.accuracy.low > 0.85
    assert {path.name for path in run.folder.glob("*.png")} == {
        "curves.png", "confusion.png", "mistakes.png", "view_classify.png", "held_out.png",
    }  # fmt: skip
