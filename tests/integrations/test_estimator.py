"""The estimator is one of scikit-learn's: its own checks pass, and its tools take it, with images of any kind."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import firstlight as fl
from firstlight.integrations.estimator import ImageClassifier

SMALL = fl.Recipe.of(model="mlp", hidden=(16,), batch_size=16, lr=0.01)
QUICK = {"check_estimators_pickle", "check_dict_unchanged", "check_estimators_unfitted"}


@pytest.fixture(autouse=True)
def _files_need_not_survive_a_power_cut(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _file: None)


def small(**choices) -> ImageClassifier:
    return ImageClassifier(**{"epochs": 2, "recipe": SMALL, **choices})


@pytest.fixture(scope="module")
def halves(digits):
    """Zeros and ones, fifty each, as uint8 [100, 8, 8], and their names."""
    images, labels = digits
    rows = np.concatenate([np.flatnonzero(labels == label)[:50] for label in (0, 1)])
    return images[rows], np.array(["zero", "one"])[labels[rows]]


@pytest.fixture
def files(halves, tmp_path):
    """The same as fifty files."""
    images, names = halves[0][::2], halves[1][::2]
    paths = [str(tmp_path / f"{number}.png") for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths, names


def checked() -> ImageClassifier:
    """The estimator for rows of any numbers of any range, each taken for an image one pixel high."""
    return small(image_shape=(1, -1), value_range="data", validation_fraction=0.2)


def test_some_of_the_checks_of_scikit_learn_pass():
    names = []
    for estimator, check in estimator_checks_generator(checked()):
        name = check.func.__name__
        if name in QUICK:
            check(estimator)
            names.append(name)
    assert set(names) == QUICK


@pytest.mark.slow
def test_all_checks_of_scikit_learn_pass():
    results = check_estimator(checked(), on_skip=None)
    others = {result["check_name"]: result["status"] for result in results if result["status"] != "passed"}
    assert len(results) > 50
    assert others == {"check_array_api_input": "skipped"}  # which needs a variable that is set before SciPy is imported


def test_labels_keep_their_type_and_their_order(halves):
    images, names = halves
    for labels, classes in (
        (names, ["one", "zero"]),
        (np.where(names == "one", 10, 9), [9, 10]),  # as words, 10 would be first
        (names == "one", [False, True]),
        (np.where(names == "one", "e\u0301", "f"), ["e\u0301", "f"]),  # of which models keep another form
    ):
        fitted = small(epochs=6).fit(images, labels)
        assert fitted.classes_.tolist() == classes and fitted.classes_.dtype == labels.dtype
        assert fitted.predict(images[:3]).dtype == labels.dtype
        assert fitted.score(images, labels) > 0.95


def test_the_same_seed_gives_the_same_probabilities_and_another_does_not(halves):
    first, again, other = (small(random_state=seed).fit(*halves).predict_proba(halves[0]) for seed in (1, 1, 2))
    assert first.shape == (100, 2) and np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.allclose(first.sum(axis=1), 1)


def test_a_generator_is_drawn_from():
    drawn = {small(random_state=np.random.RandomState(seed))._recipe().seed for seed in (0, 0, 1)}
    assert len(drawn) == 2


def test_paths_pictures_and_arrays_give_the_same(files):
    paths, names = files
    pictures = [Image.open(path) for path in paths]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    fitted = small().fit(arrays, names)
    expected = fitted.predict_proba(arrays)
    for given in (paths, np.array(paths, object), np.array(paths), pictures, arrays / 255, arrays[..., None]):
        assert np.array_equal(fitted.predict_proba(given), expected)
    assert np.array_equal(small().fit(pictures, names).predict_proba(arrays), expected)
    assert small(epochs=8).fit(np.array(paths, object), names).score(paths, names) > 0.9


def test_a_column_of_paths_can_be_split_and_searched(files):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": files[0], "label": files[1]})
    train, test = train_test_split(frame, stratify=frame["label"], random_state=0)
    fitted = small(epochs=8).fit(train["image"], train["label"])
    assert fitted.score(test["image"], test["label"]) > 0.8
    assert fitted.score(test[["image"]], test["label"]) > 0.8


def test_a_search_finds_the_planted_better_choice(halves):
    search = GridSearchCV(small(), {"lr": [1e-9, 0.02], "epochs": [6]}, cv=2).fit(*halves)
    assert search.best_params_["lr"] == 0.02 and search.best_score_ > 0.95
    assert search.score(*halves) > 0.95


@pytest.mark.slow
def test_a_search_in_two_processes_finds_the_same(halves):
    alone, beside = (GridSearchCV(small(), {"lr": [1e-9, 0.02]}, cv=2, n_jobs=jobs).fit(*halves) for jobs in (1, 2))
    assert beside.best_params_ == alone.best_params_
    assert np.allclose(beside.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_it_is_cross_validated_in_a_pipeline_with_groups(halves):
    images, names = halves
    inverted = make_pipeline(FunctionTransformer(lambda given: 255 - given), small(epochs=6))
    groups = np.arange(100) // 4
    scores = cross_val_score(inverted, images, names, groups=groups, cv=GroupKFold(2))
    assert scores.min() > 0.9


def test_it_can_be_calibrated_once_more(halves):
    calibrated = CalibratedClassifierCV(small(), cv=2).fit(*halves)
    assert calibrated.predict_proba(halves[0]).shape == (100, 2)


def test_it_can_be_cloned_and_pickled_before_and_after_it_is_fitted(halves):
    images, names = halves
    given = small(runs=Path("runs"), random_state=3)
    assert clone(given).get_params() == given.get_params() == pickle.loads(pickle.dumps(given)).get_params()
    fitted = clone(given).set_params(runs=None, epochs=1).fit(images, names)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(images), fitted.predict_proba(images))
    with pytest.raises(NotFittedError):
        clone(fitted).predict(images)


def test_what_is_held_back_is_a_share_of_whole_groups_and_no_test_split_is_made(halves, monkeypatch):
    images, names = halves
    seen = {}

    def keep(samples, recipe, out, **choices):
        run = fl.training.train.train(samples, recipe, out, **choices)
        seen["split"] = run.data.split
        return run

    monkeypatch.setattr("firstlight.integrations.estimator.train", keep)
    groups = np.arange(100) % 20
    fitted = small(validation_fraction=0.3).fit(images, names, groups=groups)
    train, valid, test = (seen["split"].rows(name) for name in ("train", "valid", "test"))
    assert len(test) == 0 and len(train) + len(valid) == 100 and 20 <= len(valid) <= 40
    assert not set(groups[train]) & set(groups[valid])
    assert fitted.record_.test is None and fitted.record_.test_evaluations == 0
    assert fitted.record_.valid.accuracy.n == len(valid)


def test_a_class_that_is_not_among_the_labels_is_not_answered(halves):
    images, names = halves
    some = np.append(np.flatnonzero(names == "zero"), np.flatnonzero(names == "one")[:1])
    labels = np.where(names == "one", 7, np.arange(100) % 3)[some]
    fitted = small().fit(images[some], labels)
    assert fitted.classes_.tolist() == [0, 1, 2, 7]  # the one picture of 7 is trained on
    assert small().fit(images[some][:-1], labels[:-1]).predict_proba(images[:2]).shape == (2, 3)


def test_rows_of_numbers_are_images_of_the_shape_that_is_said(halves):
    images, names = halves
    rows = images.reshape(100, 64) / 255 * 16
    flat = small(image_shape=(8, 8), value_range=(0, 16)).fit(rows, names)
    assert flat.n_features_in_ == 64 and flat.model_.input_size == (1, 8, 8)
    assert np.array_equal(flat.predict_proba(rows), small().fit(images, names).predict_proba(images))
    with pytest.raises(fl.UserError, match=r"image_shape = \(7, 9\): rows of 64 numbers"):
        small(image_shape=(7, 9)).fit(rows, names)


def test_run_folders_are_kept_where_they_are_asked_for_and_no_other_is(halves, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    fitted = small().fit(*halves)
    assert fitted.run_folder_ is None and fitted.model_.file is None
    kept = [small(runs="searched").fit(*halves).run_folder_ for _ in range(2)]
    assert [folder.name for folder in kept] == ["images-1", "images-2"]
    assert fl.load(kept[0]).classes == ("one", "zero") and not (kept[0] / "last").exists()
    with pytest.raises(fl.UserError, match="only one class"):
        small(runs="searched").fit(halves[0][:50], halves[1][:50])
    assert sorted(folder.name for folder in Path("searched").iterdir()) == ["images-1", "images-2"]
    assert not any(temporary.iterdir())


def test_it_is_quiet_unless_it_is_asked_to_speak(halves, monkeypatch, capfd):
    monkeypatch.setattr("firstlight.progress.SECONDS_BETWEEN_LINES", 0)
    small().fit(*halves).predict(halves[0])
    assert capfd.readouterr() == ("", "")
    small(verbose=True).fit(*halves)
    assert "left" in capfd.readouterr().err


def test_an_interrupt_ends_a_search_and_is_no_result(halves, monkeypatch):
    def interrupted(*given, **choices):
        from dataclasses import replace

        return replace(fl.training.train.train(*given, **choices), interrupted=True)

    monkeypatch.setattr("firstlight.integrations.estimator.train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small().fit(*halves)


@pytest.mark.parametrize(
    ("choices", "given", "why"),
    [
        ({}, lambda images: images.reshape(100, 64), r"shape \(100, 64\): for rows of numbers, say in `image_shape`"),
        ({}, lambda images: images * 2.0, "give uint8 in 0..255, or floats in 0..1"),
        ({}, lambda images: images[:10], "inconsistent numbers of samples"),
        ({}, lambda _: "photos", "X is a str; give a list or an array of pictures"),
        ({}, lambda _: ["gone.png"] * 100, "picture 0: there is no file gone.png"),
        ({"validation_fraction": 1.5}, lambda images: images, "validation_fraction = 1.5: choose a number"),
        ({"value_range": (1, 1)}, lambda images: images, "value_range = .*black and white"),
        ({"epochs": 0}, lambda images: images, "epochs = 0"),
        ({"recipe": fl.Recipe.of(split="80/10/10")}, lambda images: images, "leave this out of the recipe"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_says_why(choices, given, why, halves):
    images, names = halves
    with pytest.raises(ValueError, match=why) as told:
        small(**choices).fit(given(images), names)
    assert "\n" not in str(told.value)


def test_folders_are_no_pictures(files, tmp_path):
    paths, names = files
    fitted = small().fit(paths, names)
    with pytest.raises(ValueError, match="some are folders or archives"):
        fitted.predict([str(tmp_path), paths[0]])
