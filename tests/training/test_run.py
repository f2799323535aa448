"""A run is all there again from its folder, shows itself briefly, and hands its numbers to other tools."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import firstlight as fl
from firstlight.errors import RunError


def test_a_run_from_its_folder_is_the_run_that_training_returned(digit_run, digits):
    again = fl.load_run(str(digit_run.folder))
    assert again.recipe == digit_run.recipe
    assert again.record == digit_run.record
    assert [row.epoch for row in again.history] == [row.epoch for row in digit_run.history]
    images = digits[0][:9]
    assert np.array_equal(again.model.predict_proba(images), digit_run.model.predict_proba(images))
    assert again.mistakes == digit_run.mistakes
    for split in ("train", "valid", "test"):
        assert again.data.split.rows(split).tolist() == digit_run.data.split.rows(split).tolist()
    assert np.array_equal(again.data.store.pixels, digit_run.data.store.pixels)
    assert fl.evaluate(again, again.data.samples, split="valid").evaluation.accuracy == digit_run.valid.accuracy


def test_a_run_is_found_by_its_model_file_too(digit_run):
    assert fl.load_run(digit_run.folder / "model.safetensors").folder == digit_run.folder


def test_a_solved_head_has_no_best_epoch_to_show(digit_run):
    assert "best epoch" in digit_run._repr_html_()
    solved = replace(digit_run, record=replace(digit_run.record, best_epoch=0))
    assert "best epoch" not in solved._repr_html_()


def test_data_from_memory_are_asked_for_only_when_they_are_needed(array_run, some_digits):
    again = fl.load_run(array_run.folder)
    assert again.test == array_run.test
    assert [mistake.image for mistake in again.mistakes] == [mistake.image for mistake in array_run.mistakes]
    assert {mistake.row for mistake in again.mistakes} == {-1}
    with pytest.raises(RunError, match=r"the pictures of this run \(arrays\) are no longer here; pass them"):
        again.data  # noqa: B018
    given = fl.load_run(array_run.folder, some_digits)
    assert given.mistakes == array_run.mistakes
    with pytest.raises(RunError, match="are not those of this run"):
        fl.load_run(array_run.folder, (some_digits[0][::-1].copy(), some_digits[1]))


def test_data_given_again_are_read_as_the_run_read_them(some_digits, tmp_path):
    frame = {"scan": list(some_digits[0]), "finding": some_digits[1]}
    named = {"image_column": "scan", "label_column": "finding"}
    run = fl.train(frame, model="mlp", hidden=(8,), epochs=1, batch_size=32, out=tmp_path / "run", **named)
    assert fl.load_run(run.folder, frame).data.split.test.tolist() == run.data.split.test.tolist()


def test_a_mistake_names_its_image(array_run):
    data = array_run.data.samples
    assert array_run.mistakes, "three epochs are meant to leave some"
    for mistake in array_run.mistakes:
        assert data.names[mistake.row] == mistake.image
        assert data.labels[mistake.row] == mistake.label
    frame = array_run.mistakes.to_pandas()
    assert frame["image"].tolist() == [mistake.image for mistake in array_run.mistakes]
    assert frame["label"].tolist() == [data.classes[mistake.label] for mistake in array_run.mistakes]
    assert frame["probability"].is_monotonic_decreasing


def test_all_mistakes_are_listed_however_many(some_digits, tmp_path):
    labels = np.random.default_rng(0).permutation(some_digits[1])
    run = fl.train((some_digits[0], labels), model="mlp", hidden=(8,), epochs=1, out=tmp_path / "run")
    wrong = round(run.test.n * (1 - run.test.accuracy.value))
    assert len(run.mistakes) == wrong > 25


def test_what_is_no_run_is_one_line(tmp_path, digit_run):
    for given in (tmp_path, tmp_path / "gone", digit_run.folder / "evaluation.json"):
        with pytest.raises(fl.UserError):
            fl.load_run(given)
    with pytest.raises(fl.UserError, match="folder is an int"):
        fl.load_run(3)
    shutil.copytree(digit_run.folder, tmp_path / "run")
    (tmp_path / "run" / "metrics.csv").write_text("epoch,seconds\n1,2\n")
    with pytest.raises(RunError, match="it has no column"):
        fl.load_run(tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    (tmp_path / "run" / "metrics.csv").unlink()
    with pytest.raises(fl.UserError, match="holds no model.safetensors"):
        fl.load_run(tmp_path / "run")


def test_results_become_data_frames_and_json(digit_run):
    assert digit_run.to_pandas()["epoch"].tolist() == [row.epoch for row in digit_run.history]
    classes = digit_run.test.to_pandas()
    assert classes["class"].tolist() == list(digit_run.model.classes)
    assert classes["support"].sum() == digit_run.test.n
    assert classes["recall"].between(classes["recall_low"], classes["recall_high"]).all()
    score = fl.evaluate(digit_run, digit_run.data.samples, split="valid")
    assert score.to_pandas().equals(score.evaluation.to_pandas())
    for value in (
        digit_run,
        digit_run.test,
        score,
        digit_run.mistakes,
        fl.predict(digit_run, [digit_run.folder / "held_out.png"]),
    ):
        json.dumps(value.to_json())


def test_what_a_notebook_shows_is_small_and_escaped(digit_run, some_digits, tmp_path):
    for value in (digit_run, digit_run.test, digit_run.data, digit_run.data.samples, digit_run.mistakes):
        assert len(repr(value)) < 200
        shown = value._repr_html_()
        assert shown.startswith("<div") and shown.endswith("</div>") and len(shown) < 20_000
    words = np.array(["<script>alert(1)</script>", "b&b"])[some_digits[1] % 2]
    samples = fl.load_data((some_digits[0], words))
    data = fl.open_dataset(samples)
    for value in (samples, data, fl.CheckReport(samples, data.store)):
        assert "<script>" not in value._repr_html_()
        assert "&lt;script&gt;" in value._repr_html_()


def test_a_split_that_cannot_be_is_refused_before_a_network_is_chosen(some_digits, monkeypatch):
    monkeypatch.setattr("firstlight.training.ready.choose_network", None)
    with pytest.raises(fl.UserError, match="give three numbers above zero"):
        fl.train(some_digits, split="70/20")


def test_a_run_that_is_to_be_scored_needs_pictures_to_test_on(some_digits, tmp_path):
    with pytest.raises(fl.UserError, match="split = '85/15/0': this leaves no pictures to test on"):
        fl.train(some_digits, split="85/15/0", model="mlp", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
