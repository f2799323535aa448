"""Transfer learning end to end: records are complete, nothing ends worse than it began, stops lose nothing."""

import csv
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

import firstlight as fl
from firstlight.data.sources import load_data
from firstlight.errors import ModelFileError, RecipeError, TrainingError
from firstlight.models.model_file import load_model
from firstlight.runs.record import Rung
from firstlight.training import learn, state
from firstlight.training.recipe import Recipe
from firstlight.training.recipe_file import from_toml
from firstlight.training.train import train
from firstlight.training.transfer import features, ladder
from firstlight.training.transfer.rungs import ScoredRung

SIDE = 32  # pixels; as small as the tiny backbone can take


@pytest.fixture(scope="module", autouse=True)
def _quick(tmp_path_factory):
    """One cache for runs that several tests look at, and a head's penalty out of two: the search is not the point."""
    few = partial(ladder.fit_head_by_folds, strengths=(0.1, 1.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr(ladder, "fit_head_by_folds", few)
        yield


@pytest.fixture(scope="module")
def recipe_for(backbone):
    def made(**choices):
        return Recipe.of(**{"model": backbone.name, "weights": str(backbone.file), "img_size": SIDE, **choices})

    return made


@pytest.fixture(scope="module")
def four(digits):
    """160 digits of four classes as arrays: what is not about many classes is quick with these."""
    images, labels = digits
    rows = np.flatnonzero(labels < 4)[:160]
    return images[rows], labels[rows]


@pytest.fixture(scope="module")
def head_run(recipe_for, digit_folder, tmp_path_factory):
    """A run that ends with the exact head, on files, with everything that can be drawn."""
    out = tmp_path_factory.mktemp("runs") / "head"
    return fl.train(str(digit_folder), recipe_for(learning_curve=True), out=out)


@pytest.fixture(scope="module")
def blunt_recipe(recipe_for, backbone):
    """Fine-tuning pays by this recipe: the head alone can tell nothing."""

    def made(**choices):
        defaults = {"weights": str(backbone.blunt), "norms": "live", "epochs": 6, "lr": 0.01, "batch_size": 16}
        return recipe_for(**{**defaults, "crop_scale": 1.0, **choices})

    return made


@pytest.fixture(scope="module")
def tuned_run(blunt_recipe, four, tmp_path_factory):
    """A run in which fine-tuning pays."""
    return fl.train(four, blunt_recipe(finetune="all"), out=tmp_path_factory.mktemp("runs") / "tuned")


@pytest.fixture(scope="module")
def four_head(recipe_for, four, tmp_path_factory):
    """The head that every run on `four` begins with."""
    return train(load_data(four), recipe_for(), tmp_path_factory.mktemp("runs") / "four")


def rows_of(run):
    with (run.folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def record_of(run):
    return json.loads((run.folder / "evaluation.json").read_text())


def same_bits(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_random_weights_give_features_that_tell_digits_apart(head_run):
    assert head_run.test.accuracy.low > 0.5
    assert head_run.transfer.strategy == "linear head"


def test_the_folder_of_a_run_without_an_epoch_is_complete(head_run):
    promised = "recipe.toml split.csv quarantine.csv metrics.csv model.safetensors evaluation.json outputs suspects.csv"
    drawn = "confusion.png mistakes.png view_classify.png held_out.png ladder.png learning_curve.png report.html"
    names = {path.name for path in head_run.folder.iterdir()}
    assert names == set(promised.split()) | set(drawn.split()), "and no curves of no epoch"
    assert [row["epoch"] for row in rows_of(head_run)] == ["0"]
    assert head_run.to_json()["epochs"] == 0


def test_a_run_with_epochs_has_their_curves_and_no_learning_curve_unasked(tuned_run):
    names = {path.name for path in tuned_run.folder.iterdir()}
    assert {"curves.png", "ladder.png", "tensorboard"} <= names
    assert "learning_curve.png" not in names
    assert [int(row["epoch"]) for row in rows_of(tuned_run)] == list(range(7))
    seconds = [float(row["seconds"]) for row in rows_of(tuned_run)]
    assert seconds == sorted(seconds)
    assert tuned_run.to_json()["epochs"] == 6


@pytest.mark.parametrize("where", ["record", "json"])
def test_the_record_has_the_promised_keys(where, head_run, backbone):
    found = record_of(head_run) if where == "record" else head_run.to_json()
    json.dumps(found, allow_nan=False)
    assert found["backbone"] == backbone.name
    assert found["strategy"] == "linear head"
    assert found["weights"] == {
        "source": backbone.file.name,
        "license": "unknown",
        "sha256": hashlib.sha256(backbone.file.read_bytes()).hexdigest(),
    }
    assert [rung["rung"] for rung in found["ladder"]] == ["majority class", "nearest neighbors", "linear head"]
    for rung in found["ladder"]:
        assert set(rung) == {"rung", "accuracy", "seconds", "epochs"}
        assert set(rung["accuracy"]) == {"value", "low", "high", "n"}
        assert rung["accuracy"]["n"] == found["n"]["valid"]
        assert rung["seconds"] >= 0
    assert found["case"]["images"] in ("few", "many")
    assert len(found["learning_curve"]["points"]) == 5
    assert found["head"]["strength"] == head_run.transfer.head["strength"]


def test_the_kept_rung_has_the_validation_score_of_the_run(head_run, tuned_run):
    for run in (head_run, tuned_run):
        (kept,) = (rung for rung in run.transfer.ladder if rung.name == run.transfer.strategy)
        assert kept.accuracy.value == run.valid.accuracy.value
        assert kept.accuracy.value == max(rung.accuracy.value for rung in run.transfer.ladder[2:])


def test_the_test_scores_are_what_scikit_learn_says_of_the_saved_model_on_the_files(head_run):
    model = fl.load(head_run.folder / "model.safetensors")
    samples = head_run.data.samples
    names = [f"{samples.source}/{samples.names[row]}" for row in head_run.data.split.test]
    found = fl.predict(model, names, top=10)
    labels = [samples.classes[label] for label in samples.labels[head_run.data.split.test]]
    assert head_run.test.accuracy.value == accuracy_score(labels, [one.label for one in found])
    table = [[{guess.label: guess.probability for guess in one.top}[name] for name in model.classes] for one in found]
    probabilities = np.array(table) / np.sum(table, axis=1, keepdims=True)
    assert head_run.test.log_loss.value == pytest.approx(
        log_loss(labels, probabilities, labels=list(model.classes)), rel=1e-3
    )


def test_the_scores_of_a_fine_tuned_model_are_scikit_learns(tuned_run):
    model = fl.load(tuned_run.folder / "model.safetensors")
    rows = tuned_run.data.split.test
    images = torch.from_numpy(np.array(tuned_run.data.store.pixels[rows])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        answers = model.probabilities(images).argmax(dim=1)
    assert tuned_run.test.accuracy.value == accuracy_score(tuned_run.data.samples.labels[rows], answers)
    assert fl.read_model_card(tuned_run.folder / "model.safetensors").scores["test"]["accuracy"]["n"] == len(rows)


def test_the_model_file_is_the_kept_head_on_the_published_body(head_run, backbone):
    from safetensors.torch import load_file

    body, published = load_model(head_run.folder / "model.safetensors").network.body, load_file(backbone.file)
    assert all(torch.equal(published[name], tensor) for name, tensor in body.state_dict().items())


def test_fine_tuning_moved_the_body_where_it_paid(tuned_run, backbone):
    from safetensors.torch import load_file

    assert tuned_run.transfer.strategy == "all fine-tuned", "the fixture is meant to show a fine-tuned model"
    assert tuned_run.best_epoch >= 1
    published = load_file(backbone.blunt)
    assert not torch.equal(tuned_run.model.network.body.conv1[0].weight, published["conv1.0.weight"])


def held_out_is_predicted_as_shown(run):
    row = int(run.data.split.test[0])
    packed = torch.from_numpy(np.array(run.data.store.pixels[row])).permute(2, 0, 1)[None]
    with torch.inference_mode():
        shown = run.model.probabilities(packed)[0]
    found = fl.predict(run.model, run.folder / "held_out.png", top=1)
    assert found.label == run.model.classes[int(shown.argmax())]
    assert found.probability == pytest.approx(shown.max().item(), abs=1e-5)


def test_an_image_is_predicted_as_the_run_showed_it(head_run):
    """The backbone's own cut leaves the rim away: `held_out.png` still has it, and is cut once."""
    assert head_run.model.resize == "crop:0.95"
    held_out_is_predicted_as_shown(head_run)


def test_its_recipe_file_repeats_the_run_to_the_bit(head_run, tmp_path):
    recipe, source, _ = from_toml(head_run.folder / "recipe.toml")
    again = train(load_data(source), recipe, tmp_path / "again")
    assert same_bits(head_run.model, again.model)
    assert again.test == head_run.test
    assert again.transfer.case == head_run.transfer.case
    assert again.transfer.learning_curve == head_run.transfer.learning_curve


def test_a_fine_tuned_run_repeats_to_the_bit_without_the_cache(tuned_run, four, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "another cache"))
    again = train(load_data(four), tuned_run.recipe, tmp_path / "again")
    assert same_bits(tuned_run.model, again.model)
    assert again.test == tuned_run.test


def test_a_run_leaves_the_global_generator_alone_and_the_next_one_computes_no_features(
    recipe_for, four, tmp_path, monkeypatch
):
    recipe = recipe_for(finetune="last", epochs=1, feature_passes=3, flip=True)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = train(load_data(four), recipe, tmp_path / "first")
    assert torch.equal(torch.rand(3), expected)
    monkeypatch.setattr(features, "_write", lambda *_, **__: pytest.fail("computed again"))
    second = train(load_data(four), recipe, tmp_path / "second")
    assert same_bits(first.model, second.model)


def test_later_passes_are_learned_from(recipe_for, four, tmp_path, monkeypatch):
    seen = []
    whole = ladder.Problem

    def noted(features_, labels, *rest):
        seen.append((len(features_), len(labels)))
        return whole(features_, labels, *rest)

    monkeypatch.setattr(ladder, "Problem", noted)
    monkeypatch.setattr(ladder, "SMALL_VALIDATION", 1)
    run = train(load_data(four), recipe_for(feature_passes=3), tmp_path / "run")
    assert seen == [(3 * len(run.data.split.train),) * 2]


@pytest.mark.parametrize("flip", [False, True])
def test_what_must_not_be_mirrored_in_training_is_not_mirrored_in_later_passes(
    flip, recipe_for, four, tmp_path, monkeypatch
):
    asked = []
    whole = ladder.extract_features

    def noted(*arguments, **choices):
        asked.append((choices.get("feature_pass", 0), choices.get("mirror")))
        return whole(*arguments, **choices)

    monkeypatch.setattr(ladder, "extract_features", noted)
    train(load_data(four), recipe_for(feature_passes=2, flip=flip), tmp_path / "run")
    assert (1, flip) in asked
    assert (1, not flip) not in asked


def test_a_small_validation_part_does_not_choose_the_penalty(recipe_for, four, tmp_path, monkeypatch):
    monkeypatch.setattr(ladder, "fit_head", lambda *_: pytest.fail("chosen by a handful of pictures"))
    train(load_data(four), recipe_for(), tmp_path / "run")


def test_passes_of_an_image_and_its_copies_stay_in_one_fold(recipe_for, four, tmp_path, monkeypatch):
    asked = {}
    whole = ladder.fit_head_by_folds

    def noted(seen, labels, groups, *rest, **choices):
        asked.update(seen=seen, labels=labels, groups=groups)
        return whole(seen, labels, groups, *rest, **choices)

    monkeypatch.setattr(ladder, "fit_head_by_folds", noted)
    images, labels = four
    images, labels = np.concatenate([images, images[:40]]), np.concatenate([labels, labels[:40]])
    run = train(load_data((images, labels)), recipe_for(feature_passes=2), tmp_path / "run")
    rows = run.data.split.train
    assert np.array_equal(asked["groups"], np.tile(asked["groups"][: len(rows)], 2))
    assert np.array_equal(asked["labels"], np.tile(labels[rows], 2))
    groups = dict(zip(rows.tolist(), asked["groups"].tolist(), strict=False))
    copies = [(row, 160 + row) for row in range(40) if row in groups]
    assert copies
    assert all(groups[one] == groups[other] for one, other in copies)


def test_rare_classes_get_scikit_learns_weights_in_the_head_and_in_its_learning_curve(
    recipe_for, four, tmp_path, monkeypatch
):
    given = []
    for name in ("fit_head_by_folds", "draw_curve"):
        whole = getattr(ladder, name)

        def noted(*arguments, whole=whole, **choices):
            given.append(next(one for one in arguments if isinstance(one, torch.Tensor)))
            return whole(*arguments, **choices)

        monkeypatch.setattr(ladder, name, noted)
    images, labels = four
    keep = np.r_[np.flatnonzero(labels != 0), np.flatnonzero(labels == 0)[:8]]
    run = train(load_data((images[keep], labels[keep])), recipe_for(balance="sampling"), tmp_path / "run")
    learned = labels[keep][run.data.split.train]
    wanted = compute_class_weight("balanced", classes=np.arange(4), y=learned)
    assert wanted.max() > 2
    assert [weights.tolist() for weights in given] == [pytest.approx(wanted.tolist())] * 2


# Never below the rung it started from.


def test_fine_tuning_that_ruins_the_network_leaves_the_head(recipe_for, four_head, four, tmp_path):
    """And patience counts from the first epoch of a rung, though the head of epoch 0 stays the best."""
    ruined = train(load_data(four), recipe_for(finetune="all", epochs=9, lr=1.0, patience=2), tmp_path / "ruined")
    assert [rung.name for rung in ruined.transfer.ladder][3:] == ["all fine-tuned"]
    assert ruined.transfer.ladder[3].accuracy.value < ruined.transfer.ladder[2].accuracy.value
    assert ruined.transfer.strategy == "linear head"
    assert ruined.best_epoch == 0
    assert len(ruined.history) == 3
    assert same_bits(ruined.model, four_head.model)
    assert same_bits(fl.load(ruined.folder / "model.safetensors"), four_head.model)
    assert ruined.test == four_head.test
    assert ruined.valid == four_head.valid


def test_a_network_that_only_seemed_better_while_it_was_trained_is_not_kept(
    recipe_for, four_head, four, tmp_path, monkeypatch
):
    """Its epochs claim to be perfect; on the same images, computed as prediction computes, it is not."""
    whole = state.TrainState.end_epoch

    def boasting(training, row):
        whole(training, dataclasses.replace(row, valid_accuracy=1.0, valid_loss=1e-9))

    assert four_head.valid.accuracy.value < 1
    monkeypatch.setattr(state.TrainState, "end_epoch", boasting)
    run = train(load_data(four), recipe_for(finetune="all", epochs=2, lr=1.0), tmp_path / "run")
    assert run.transfer.strategy == "linear head"
    assert same_bits(run.model, four_head.model)
    assert same_bits(fl.load(run.folder / "model.safetensors"), four_head.model)
    assert run.transfer.ladder[3].accuracy.value < 1, "the ladder tells what it really is"


def test_a_loss_that_is_no_number_ends_its_rung_and_the_head_is_finished(
    recipe_for, four, four_head, tmp_path, monkeypatch
):
    def broken(*_):
        raise TrainingError("epoch 1, batch 1: the loss is nan")
        yield

    monkeypatch.setattr(learn, "train_epochs", broken)
    run = train(load_data(four), recipe_for(ladder=True, epochs=2), tmp_path / "run")
    assert same_bits(run.model, four_head.model)
    assert same_bits(fl.load(tmp_path / "run" / "model.safetensors"), four_head.model)
    assert run.test is not None and run.test.accuracy == four_head.test.accuracy
    assert len(run.transfer.ladder) == 3, "the rung that failed is none, and the one above it was not begun"
    assert run.record.notes[-1].startswith("last quarter fine-tuned: epoch 1, batch 1: the loss is nan; the model of")


@pytest.mark.parametrize("depth", ["head", pytest.param("last", marks=pytest.mark.slow), "all"])
def test_only_what_was_asked_for_is_fine_tuned(depth, recipe_for, four, tmp_path, backbone):
    from safetensors.torch import load_file

    recipe = recipe_for(finetune=depth, epochs=1, lr=1e-4)
    seen = {}
    whole = learn.train_epochs

    def spied(training, *rest):
        for event in whole(training, *rest):
            seen.update({name: one.clone() for name, one in training.classifier.network.body.state_dict().items()})
            yield event

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "train_epochs", spied)
        train(load_data(four), recipe, tmp_path / "run")
    published = load_file(backbone.file)
    moved = {name for name in seen if not torch.equal(seen[name], published[name])}
    assert bool(moved) is (depth != "head")
    assert any(name.startswith("conv1") for name in moved) is (depth == "all")


# The ladder.


@pytest.mark.parametrize(("gains", "climbed"), [([8, 8], ["last", "all"]), ([1, 8], ["last"]), ([0, 8], ["last"])])
def test_the_next_rung_is_tried_if_the_last_was_worth_it(gains, climbed, blunt_recipe, four, tmp_path):
    """Planted rungs: each gets right what the one below it does, and some pictures more."""
    tried = []

    def planted(climbed_so_far, depth, _recipe):
        best = climbed_so_far.best
        right = best.hits.copy()
        right[np.flatnonzero(~right)[: gains[len(tried)]]] = True
        tried.append(depth)
        climbed_so_far.best = ScoredRung(Rung(depth, best.rung.accuracy, 1.0), right)
        return ladder.chance_better(right, than=best.hits) >= ladder.CLEARLY_BETTER

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder.Ladder, "finetune", planted)
        run = train(load_data(four), blunt_recipe(ladder=True), tmp_path / "run")
    assert tried == climbed
    assert run.transfer.strategy == climbed[-1]


def test_a_real_ladder_is_climbed_and_each_rung_starts_from_the_best_below_it(blunt_recipe, four, tmp_path):
    run = train(load_data(four), blunt_recipe(ladder=True), tmp_path / "run")
    names = [rung.name for rung in run.transfer.ladder]
    assert names == [
        "majority class", "nearest neighbors", "linear head", "last quarter fine-tuned", "all fine-tuned",
    ]  # fmt: skip
    head, last, whole = run.transfer.ladder[2:]
    assert head.accuracy.value + 0.2 < last.accuracy.value < whole.accuracy.value
    assert run.transfer.strategy == "all fine-tuned"
    assert [int(row["epoch"]) for row in rows_of(run)] == list(range(13))
    assert run.history[7].train_loss < run.history[1].train_loss - 0.2, "the second begins where the first ended"
    assert run.valid.accuracy.value == whole.accuracy.value


def test_a_ladder_ends_where_the_next_step_is_not_worth_it(recipe_for, four, tmp_path):
    run = train(load_data(four), recipe_for(ladder=True, epochs=1, lr=1e-6), tmp_path / "run")
    assert [rung.name for rung in run.transfer.ladder][3:] == ["last quarter fine-tuned"]


def test_a_tiny_time_limit_still_gives_the_head(recipe_for, four, tmp_path):
    run = train(load_data(four), recipe_for(ladder=True, time_limit=0.001), tmp_path / "run")
    assert [rung.name for rung in run.transfer.ladder][-1] == run.transfer.strategy == "linear head"
    assert run.test is not None
    assert run.recipe.optimization.time_limit == 0.001


def test_what_is_left_of_the_time_is_what_a_rung_gets(recipe_for, four, tmp_path, monkeypatch):
    given = []

    def noted(_climb, _depth, recipe):
        given.append(recipe.optimization.time_limit)
        return True

    monkeypatch.setattr(ladder.Ladder, "finetune", noted)
    train(load_data(four), recipe_for(ladder=True, time_limit=1000.0), tmp_path / "run")
    assert len(given) == 2
    assert 900 < given[1] <= given[0] < 1000


class Clock(NamedTuple):
    """In place of the module `time`."""

    perf_counter: Callable[[], float]


def test_less_than_the_shortest_time_left_is_no_fault(recipe_for, four, tmp_path, monkeypatch):
    now = chain([0.0], repeat(0.0095))
    monkeypatch.setattr(ladder, "time", Clock(lambda: next(now)))
    run = train(load_data(four), recipe_for(ladder=True, epochs=1, time_limit=0.01), tmp_path / "run")
    assert run.transfer.strategy == "linear head"


# Interrupted.


def interrupt(*_, **__):
    raise KeyboardInterrupt


PLACES = {
    "before an epoch": (learn, "train_epochs"),
    "while the curve is drawn": (ladder, "draw_curve"),
    "while the case is told": (ladder, "own_confidence"),
    "while a fine-tuned network is scored": (ladder, "Predictor"),
}


@pytest.fixture
def interrupt_at(monkeypatch, interrupt_in_epoch):
    """Return a function that makes training stop, as by Ctrl-C, at one of the `PLACES` or in the second epoch."""

    def interrupt_there(place):
        if place == "in the second epoch":
            return interrupt_in_epoch(2)
        if place == "while a fine-tuned network is scored":
            monkeypatch.setattr(state, "is_better", lambda *_: True)
        return monkeypatch.setattr(*PLACES[place], interrupt)

    return interrupt_there


@pytest.mark.parametrize("place", ["in the second epoch", *PLACES])
def test_ctrl_c_keeps_the_head_and_leaves_the_test_split_locked(place, recipe_for, four_head, tmp_path, interrupt_at):
    interrupt_at(place)
    run = train(four_head.data.samples, recipe_for(ladder=True, epochs=2, lr=1.0), tmp_path / "run")
    assert run.test is None
    assert run.transfer.strategy == "linear head"
    assert same_bits(run.model, four_head.model)
    assert same_bits(fl.load(run.folder / "model.safetensors"), four_head.model)
    record = record_of(run)
    assert record["test"] is None
    assert record["test_evaluations"] == 0
    assert record["valid"]["accuracy"] == four_head.valid.to_json()["accuracy"]
    assert record["epochs"] == int(rows_of(run)[-1]["epoch"])
    json.dumps(record, allow_nan=False)


def test_ctrl_c_after_a_better_epoch_keeps_that(blunt_recipe, four, tmp_path, monkeypatch, interrupt_in_epoch):
    interrupt_in_epoch(2)
    monkeypatch.setattr(ladder, "chance_better", lambda *_, **__: 1.0)  # of every step: only Ctrl-C ends the ladder
    run = train(load_data(four), blunt_recipe(ladder=True, lr=0.05), tmp_path / "run")
    assert (run.best_epoch, run.test) == (1, None)
    assert run.transfer.strategy == "last quarter fine-tuned"
    assert len(run.transfer.ladder) == 4, "no rung after it is tried"
    assert run.valid.log_loss.value < run.history[0].valid_loss
    assert same_bits(fl.load(run.folder / "model.safetensors"), run.model)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_ctrl_c_in_the_feature_pass_leaves_no_run_and_nothing_half_made(split, recipe_for, four, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    whole, calls = features.optimized, []

    def stopped(classifier):
        model = whole(classifier)
        own = model.features
        calls.append(0)

        def compute(images):
            calls[-1] += 1
            if len(calls) == (1 if split == "train" else 2) and calls[-1] == 2:
                raise KeyboardInterrupt
            return own(images)

        model.features = compute
        return model

    with monkeypatch.context() as patch:
        patch.setattr(features, "optimized", stopped)
        patch.setattr(features, "scoring_batch_size", lambda *_: 10)
        with pytest.raises(KeyboardInterrupt):
            train(load_data(four), recipe_for(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    kept = list((tmp_path / "cache" / features.FEATURES.folder).iterdir())
    assert len(kept) == (0 if split == "train" else 1), "the whole of an earlier part stays"
    assert train(load_data(four), recipe_for(), tmp_path / "run").test is not None


# Sets of every kind.


@pytest.mark.slow
def test_mnist_through_a_backbone_that_was_made_for_color(shared_data, backbone, tmp_path):
    if not (shared_data / "mnist").is_dir():
        pytest.skip("the real MNIST is not here: expected in ../shared/data/mnist or FIRSTLIGHT_TEST_DATA")
    samples = load_data("mnist", data_root=str(shared_data))
    rows = np.arange(0, 60_000, 300)
    images, labels = samples.images.images[rows, ..., 0], samples.labels[rows]
    run = train(
        load_data((images, labels)), Recipe.of(model=backbone.name, weights=str(backbone.file)), tmp_path / "run"
    )
    assert run.model.input_size == (1, 28, 28)
    assert run.model.architecture["side"] == 160, "28 pixels are enlarged to what the network was made for"
    assert run.test.accuracy.low > 0.3, "weights are random, but it is not chance"
    with torch.inference_mode():
        assert fl.load(run.folder / "model.safetensors")(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape == (2, 10)


def test_two_classes_of_tiny_images_are_fine_tuned_by_the_default_recipe(digits, backbone, tmp_path):
    images, labels = digits
    rows = np.flatnonzero(labels < 2)[:40]
    recipe = Recipe.of(model=backbone.name, weights=str(backbone.file), finetune="last", epochs=1)
    run = train(load_data((images[rows], labels[rows])), recipe, tmp_path / "run")
    assert run.model.input_size == (1, 8, 8)
    assert run.model.network.head.out_features == 2
    assert len(run.transfer.ladder) == 4
    assert run.test.accuracy.value > 0.8


@pytest.mark.slow
def test_forty_classes_with_eight_images_in_the_smallest(recipe_for, digits, tmp_path):
    """Each digit's pictures, in four ways up: upside down, mirrored, and negative."""
    images, labels = digits
    ways = [lambda one: one, lambda one: one[::-1], lambda one: one.T, lambda one: 255 - one]
    pictures, names = [], []
    for number, (way, label) in enumerate((way, label) for way in ways for label in range(10)):
        rows = np.flatnonzero(labels == label)[40 * (number // 10) :][: 8 + number // 10]
        pictures += [way(images[row]) for row in rows]
        names += [number] * len(rows)
    run = train(load_data((np.stack(pictures), np.array(names))), recipe_for(balance="weights"), tmp_path / "run")
    assert len(run.model.classes) == 40
    assert min(np.bincount(np.array(names))) == 8
    assert run.test.accuracy.value > 10 / 40


def test_images_that_all_belong_together_in_training_are_no_fault(recipe_for, four, tmp_path):
    """Three groups, each with every class: one is left to learn from, which cannot be cut into folds."""
    images, labels = four
    samples = dataclasses.replace(load_data((images, labels)), groups=tuple("abc"[row % 3] for row in range(160)))
    run = train(samples, recipe_for(), tmp_path / "run")
    assert run.test.accuracy.value > 0.5


@pytest.mark.slow
def test_real_photographs_in_color_with_real_weights(shared_data, tmp_path):
    file = shared_data / "weights" / "squeezenet1_1-imagenet.safetensors"
    archive = shared_data / "clothing10.tar"
    if not (file.exists() and archive.exists()):
        pytest.skip("the real photographs and weights are not here: expected in ../shared/data")
    samples = load_data(str(archive))
    rows = np.concatenate([np.flatnonzero(samples.labels == label)[:14] for label in range(10)])
    folder = tmp_path / "photos"
    for row in rows.tolist():
        place = folder / samples.classes[samples.labels[row]]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{row}.jpg").write_bytes(samples.images.read(row))
    recipe = Recipe.of(model="torchvision:squeezenet1_1", weights=str(file), img_size=96)
    run = fl.train(str(folder), recipe, out=tmp_path / "run")
    assert run.valid.accuracy.value > 0.3
    assert run.transfer.case["confidence"] > 0
    assert run.model.resize == "crop:0.875"
    held_out_is_predicted_as_shown(run)


# What is refused.


def packed_nothing(monkeypatch):
    monkeypatch.setattr("firstlight.training.ready.prepare", lambda *_, **__: pytest.fail("packed first"))


def test_weights_of_unknown_license_are_refused_before_anything_is_packed(recipe_for, four, tmp_path, monkeypatch):
    packed_nothing(monkeypatch)
    with pytest.raises(RecipeError, match=r"tiny\.safetensors does not state its license, .*set it to any"):
        train(load_data(four), recipe_for(weights_license="permissive"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_there_are_told_before_anything_is_packed(recipe_for, four, tmp_path, monkeypatch):
    packed_nothing(monkeypatch)
    with pytest.raises(ModelFileError, match=r"none\.safetensors"):
        train(load_data(four), recipe_for(weights=str(tmp_path / "none.safetensors")), tmp_path / "run")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(ModelFileError, match="download https://") as caught:
        train(load_data(four), recipe_for(weights=None, model="torchvision:squeezenet1_1"), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network_leave_no_run_behind(recipe_for, four, tmp_path):
    with pytest.raises(ModelFileError, match="it holds another network's weights than timm:test_vit's"):
        train(load_data(four), recipe_for(model="timm:test_vit"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_model_file_can_be_moved_and_still_answers(head_run, tmp_path, digit_folder):
    moved = shutil.copy(head_run.folder / "model.safetensors", tmp_path / "mine.safetensors")
    picture = next((digit_folder / "3").iterdir())
    assert fl.predict(fl.load(moved), picture) == fl.predict(head_run.model, picture)
