"""Recipes with several seeds: simulations whose truth is known; an interval that ignores the seeds is the control."""

import json

import numpy as np
import pytest

from firstlight.errors import DataError
from firstlight.evaluation.repeated import compare_repeated, crossed_difference


def scores(rng, images, seeds, *, seed_spread, better=0.0):
    """Whether the models of two equally good recipes are right: images differ, seeds differ, and both together."""
    difficulty = rng.normal(2.2, 2.5, images)
    found = []
    for shift in (0.0, better):
        kinds, luck = rng.normal(0, 1, images), rng.normal(0, seed_spread, (seeds, 1))
        found.append(difficulty + kinds + shift + luck + rng.normal(0, 0.8, (seeds, images)) > 0)
    return tuple(found)


def losses(right):
    return tuple(np.where(each, 0.1, 2.0) for each in right)


@pytest.mark.parametrize("seed_spread", [0.0, 0.1, 0.3])
def test_it_cries_wolf_as_often_as_it_says_which_an_interval_of_the_images_alone_does_not(seed_spread):
    rng, alarms, alarms_of_images = np.random.default_rng(1), 0, 0
    for _ in range(800):
        right = scores(rng, 372, 5, seed_spread=seed_spread)
        found = crossed_difference(*(each.astype(float) for each in right), resolution=1)
        alarms += found.p < 0.05
        alarms_of_images += abs(found.difference.value) > 1.96 * found.image_error
    assert 0.025 <= alarms / 800 <= 0.066  # 0.05 +- two standard errors, and some caution
    assert (alarms_of_images / 800 > 0.066) == (seed_spread > 0)


def test_the_interval_is_that_of_repeating_the_whole_experiment():
    rng = np.random.default_rng(0)
    repeated = []
    for _ in range(800):
        a, b = scores(rng, 300, 4, seed_spread=0.2, better=0.3)
        repeated.append(crossed_difference(a.astype(float), b.astype(float), resolution=1))
    values = np.array([found.difference.value for found in repeated])
    assert np.sqrt(np.mean([found.error**2 for found in repeated])) == pytest.approx(values.std(), rel=0.08)
    covered = np.mean([found.difference.low <= values.mean() <= found.difference.high for found in repeated])
    assert 0.935 <= covered <= 0.985


def test_the_parts_are_those_that_were_put_in():
    rng, images, seeds = np.random.default_rng(0), 400, 6
    squares = np.zeros(2)
    for _ in range(300):
        shared = rng.normal(0, 3, images)
        a = shared + rng.normal(0, 0.5, (seeds, images)) + rng.normal(0, 0.2, (seeds, 1))
        b = shared + rng.normal(0, 1, images) + rng.normal(0, 0.5, (seeds, images)) + rng.normal(0, 0.1, (seeds, 1))
        found = crossed_difference(a, b)
        squares += found.image_error**2, found.seed_error**2
    assert squares[0] / 300 == pytest.approx((1 + 2 * 0.25 / seeds) / images, rel=0.1)
    assert squares[1] / 300 == pytest.approx((0.04 + 0.01) / seeds, rel=0.1)


def test_seeds_that_change_nothing_add_nothing():
    right = scores(np.random.default_rng(0), 500, 1, seed_spread=0.0)
    once = crossed_difference(*(np.repeat(each, 3, axis=0).astype(float) for each in right))
    assert once.seed_error == pytest.approx(0, abs=1e-9) and once.degrees == pytest.approx(499)
    assert once.difference.value == pytest.approx(right[1].mean() - right[0].mean())


def test_a_better_recipe_is_named_whichever_comes_first():
    a, b = scores(np.random.default_rng(0), 1000, 5, seed_spread=0.1, better=1.0)
    found = compare_repeated((a, b), losses((a, b)), recipes=("old", "new"))
    assert found.verdict == "b" and found.headline.startswith(
        "new is better than old on 1,000 validation pictures, over"
    )
    turned = compare_repeated((b, a), losses((b, a)), recipes=("new", "old"))
    assert turned.verdict == "a" and turned.log_loss_difference.low > 0
    assert turned.p == found.p
    assert f"{100 * found.image_error:.1f} points from the pictures" in found.spread_words


def test_what_cannot_be_told_says_what_could_be_and_the_answer_is_plain_json():
    right = scores(np.random.default_rng(0), 100, 2, seed_spread=0.2)
    found = compare_repeated(right, losses(right))
    assert found.verdict == "cannot tell"
    assert f"2 seeds would show a difference of {100 * found.detectable:.1f} points or more" in found.headline
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["accuracy"]["a"] == list(found.accuracy[0]) and value["verdict"] == "cannot tell"
    assert (
        found.headline in str(found) and "seed" in found._repr_html_() and repr(found).startswith("RecipeComparison(")
    )


def test_models_that_are_all_right_claim_no_certainty():
    right = (np.ones((3, 50), bool),) * 2
    found = compare_repeated(right, losses(right))
    assert found.p == 1 and found.accuracy_difference.low < 0 < found.accuracy_difference.high


@pytest.mark.parametrize(("seeds", "images"), [(1, 50), (3, 1)])
def test_one_seed_or_one_image_is_too_few(seeds, images):
    right = (np.ones((seeds, images), bool),) * 2
    with pytest.raises(DataError, match="at least two seeds and two pictures"):
        compare_repeated(right, losses(right))
