"""The baselines against slow loops and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import KNeighborsClassifier

from firstlight.training.transfer import rungs
from firstlight.training.transfer.rungs import (
    NEIGHBOR_COUNTS,
    VOTE_TEMPERATURE,
    ScoredRung,
    majority,
    nearest_neighbors,
)


@pytest.fixture(scope="module")
def sets(digits):
    images, labels = digits
    seen = images.reshape(-1, 64).astype(np.float32)
    return (seen[:300], labels[:300]), (seen[300:500], labels[300:500])


def votes_one_by_one(known, labels, image, voters, *, without=None):
    """The weighted votes of the pictures in the most similar direction, in float64, in a loop."""
    directions = known.astype(np.float64) / np.linalg.norm(known.astype(np.float64), axis=1, keepdims=True)
    similarity = directions @ (image / np.linalg.norm(image.astype(np.float64)))
    if without is not None:
        similarity[without] = -np.inf
    votes = np.zeros(10)
    for row in np.argsort(-similarity)[:voters]:
        votes[labels[row]] += math.exp(similarity[row] / VOTE_TEMPERATURE)
    return votes


def best_number(seen, labels):
    """Which number of voters is right most often about the training pictures, each without itself."""
    right = {
        voters: sum(
            votes_one_by_one(seen, labels, seen[row], voters, without=row).argmax() == labels[row]
            for row in range(len(seen))
        )
        for voters in NEIGHBOR_COUNTS
    }
    return max(right, key=right.get)


def noisy(labels, fraction):
    rng = np.random.default_rng(0)
    return np.where(rng.random(len(labels)) < fraction, rng.integers(0, 10, len(labels)), labels)


@pytest.mark.parametrize("noise", [0.0, 0.5], ids=["real labels", "noisy labels"])
def test_neighbors_answer_as_a_slow_loop_does_with_the_number_that_serves_best(noise, sets):
    (seen, labels), (others, _) = sets
    labels = noisy(labels, noise)
    number = best_number(seen, labels)
    assert (number > 3) is bool(noise), "noise wants more voters: otherwise one number would do for both"
    wanted = [votes_one_by_one(seen, labels, image, number).argmax() for image in others]
    assert nearest_neighbors(seen, labels, others, 10).tolist() == wanted


def test_one_neighbor_is_scikit_learns_by_cosine(sets, monkeypatch):
    (seen, labels), (others, _) = sets
    monkeypatch.setattr(rungs, "NEIGHBOR_COUNTS", (1,))
    model = KNeighborsClassifier(1, metric="cosine").fit(seen, labels)
    assert np.array_equal(nearest_neighbors(seen, labels, others, 10), model.predict(others))


def test_the_length_of_features_does_not_matter(sets):
    (seen, labels), (others, _) = sets
    lengths = np.random.default_rng(0).uniform(0.1, 10, (len(seen), 1)).astype(np.float32)
    answers = nearest_neighbors(seen, labels, others, 10)
    assert np.array_equal(nearest_neighbors(seen * lengths, labels, others * 7, 10), answers)


@pytest.mark.parametrize("at_once", [1, 7, 300])
def test_chunks_of_any_size_give_the_same_answers(at_once, sets, monkeypatch):
    (seen, labels), (others, _) = sets
    answers = nearest_neighbors(seen, labels, others, 10)
    monkeypatch.setattr(rungs, "SIMILARITIES_AT_ONCE", at_once * len(seen))
    assert np.array_equal(nearest_neighbors(seen, labels, others, 10), answers)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_fewer_images_than_voters_are_no_fault(count, sets):
    (seen, labels), (others, _) = sets
    answers = nearest_neighbors(seen[:count], labels[:count], others, 10)
    assert set(answers) <= set(labels[:count])


def test_of_many_images_some_choose_the_number_and_all_of_them_vote(sets, monkeypatch):
    (seen, labels), (others, wanted) = sets
    monkeypatch.setattr(rungs, "MAX_LEFT_OUT", 20)
    assert (nearest_neighbors(seen, labels, others, 10) == wanted).mean() > 0.9


def test_the_majority_class_is_scikit_learns():
    labels = np.array([4, 1, 1, 3, 4, 1])
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((6, 1)), labels)
    assert np.array_equal(majority(labels, 5), dummy.predict(np.zeros((5, 1))))


def test_a_rung_counts_its_right_predictions():
    scored = ScoredRung.of("linear head", np.array([1, 2, 0, 1]), np.array([1, 2, 3, 1]), 1.23456)
    assert scored.hits.tolist() == [True, True, False, True]
    assert (scored.rung.name, scored.rung.seconds) == ("linear head", 1.235)
    assert (scored.rung.accuracy.value, scored.rung.accuracy.n) == (0.75, 4)
    assert scored.rung.accuracy.low < 0.75 < scored.rung.accuracy.high
