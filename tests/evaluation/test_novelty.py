"""Strangers among points on a sphere and small images: refused, while images like those of training are kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from firstlight.errors import DataError
from firstlight.evaluation.novelty import Known, choose_references, fit_strangeness, keeping
from firstlight.models.strangeness import Strangeness

CLASSES, FEATURES, PIXELS = 4, 32, 36


def images_of(n, seed, spread=0.5, classes=CLASSES):
    """Images of classes, each around its own direction, whose pixels are mixtures of a few pictures."""
    random, world = np.random.default_rng(seed), np.random.default_rng(99)
    labels = np.arange(n) % classes
    centers, pictures = world.normal(size=(classes, FEATURES)), world.random((3, PIXELS))
    features = centers[labels] + spread * random.normal(size=(n, FEATURES))
    pixels = random.dirichlet(np.ones(3), n) @ pictures + 0.01 * random.normal(size=(n, PIXELS))
    return Known(features.astype(np.float32), pixels.astype(np.float32)), labels


def far(n, seed):
    random = np.random.default_rng(seed)
    features, pixels = random.normal(size=(n, FEATURES)), random.random((n, PIXELS))
    return Known(features.astype(np.float32), pixels.astype(np.float32))


def scores(strangeness, known):
    images = (known.pixels.clip(0, 1) * 255).round().astype(np.uint8).reshape(-1, 1, 6, 6)
    features = torch.from_numpy(known.features)
    return strangeness.score(features, torch.zeros(len(features), CLASSES), torch.from_numpy(images))


def refused(strangeness, known):
    return (scores(strangeness, known) > strangeness.threshold).float().mean().item()


@pytest.fixture(scope="module")
def fitted():
    train, labels = images_of(400, 1)
    held_out, _ = images_of(100, 2)
    return fit_strangeness(train, labels, held_out, learned=False)


def test_strangers_are_refused_and_known_images_kept(fitted):
    assert refused(fitted, far(300, 3)) >= 0.98
    known, _ = images_of(2000, 4)
    assert 0.93 <= 1 - refused(fitted, known) <= 0.97


def test_a_score_that_ignores_the_image_fails_the_same_criterion(fitted):
    class Ignores(Strangeness):
        def score(self, features, logits, images):
            return torch.rand(len(features), generator=torch.Generator().manual_seed(0))

    ignores = Ignores(**vars(replace(fitted, threshold=0.95)))
    assert not (refused(ignores, far(300, 3)) >= 0.98)
    assert not (refused(replace(fitted, threshold=-1e9), images_of(2000, 4)[0]) <= 0.07)


def test_the_interval_of_what_is_kept_covers_the_truth():
    inside = 0
    for seed in range(40):
        train, labels = images_of(60, 100 + seed)
        strangeness = fit_strangeness(train, labels, far(0, 0), learned=False, seed=seed)
        kept = 1 - refused(strangeness, images_of(1000, 1000 + seed)[0])
        inside += strangeness.kept[1] - 0.02 <= kept <= strangeness.kept[2] + 0.02
    assert inside >= 34


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_few_images_are_enough_to_fit(n):
    train, labels = images_of(n, 5)
    strangeness = fit_strangeness(train, labels, far(0, 0), learned=False)
    assert torch.isfinite(scores(strangeness, images_of(50, 6)[0])).all()
    value, low, high, count = strangeness.kept
    assert 0 <= low <= value <= high <= 1
    assert count == n


def test_constant_features_and_single_features_keep_known_images():
    train, labels = images_of(50, 7)
    for features in (np.ones((50, 8), np.float32), np.zeros((50, 8), np.float32), np.ones((50, 1), np.float32)):
        strangeness = fit_strangeness(
            Known(features, train.pixels),
            labels,
            far(0, 0)._replace(features=features[:0], pixels=train.pixels[:0]),
            learned=False,
        )
        assert refused(strangeness, Known(features, train.pixels)) <= 0.1


def test_features_that_are_no_numbers_are_refused():
    train, labels = images_of(50, 7)
    train.features[3, 2] = np.nan
    with pytest.raises(DataError, match="not finite"):
        fit_strangeness(train, labels, far(0, 0), learned=False)


def test_an_image_whose_features_are_no_numbers_is_strange(fitted):
    known, _ = images_of(4, 8)
    known.features[:] = np.nan
    assert refused(fitted, known) == 1


def test_of_two_thousand_classes_two_hundred_are_references():
    labels = np.arange(2000).repeat(3)
    chosen = choose_references(labels, 200, seed=0)
    assert len(chosen) == 200 == len(np.unique(labels[chosen]))
    assert torch.equal(chosen, choose_references(labels, 200, seed=0))
    assert not torch.equal(chosen, choose_references(labels, 200, seed=1))


def test_keeping_is_the_order_statistic_of_textbooks():
    threshold, kept = keeping(torch.arange(1.0, 100.0))
    assert threshold == 95
    assert kept[0] == pytest.approx(0.95)
    assert kept[3] == 99
