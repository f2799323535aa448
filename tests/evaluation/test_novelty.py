"""Strangers among points on a sphere and small images: refused, while images like those of training are kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from firstlight.errors import DataError
from firstlight.evaluation.novelty import Seen, choose_references, fit_strangeness, keeping
from firstlight.models.strangeness import Strangeness

CLASSES, FEATURES, PIXELS = 4, 32, 36


def images_of(n, seed, spread=0.5, classes=CLASSES):
    """Images of classes, each around its own direction, whose pixels are mixtures of a few pictures."""
    random, world = np.random.default_rng(seed), np.random.default_rng(99)
    labels = np.arange(n) % classes
    centers, pictures = world.normal(size=(classes, FEATURES)), world.random((3, PIXELS))
    features = centers[labels] + spread * random.normal(size=(n, FEATURES))
    pixels = random.dirichlet(np.ones(3), n) @ pictures + 0.01 * random.normal(size=(n, PIXELS))
    return seen(features, pixels, centers), labels


def seen(features, pixels, centers):
    features, centers = torch.tensor(features).float(), torch.tensor(centers).float()
    return Seen(features, features @ centers.T - centers.square().sum(dim=1) / 2, torch.tensor(pixels).float())


def far(n, seed):
    """Images of no class, whose pixels are noise."""
    random, world = np.random.default_rng(seed), np.random.default_rng(99)
    centers = world.normal(size=(CLASSES, FEATURES))
    return seen(random.normal(size=(n, FEATURES)), random.random((n, PIXELS)), centers)


def fit(train, labels, held_out=None, outliers=None, **choices):
    none = Seen(*(values[:0] for values in train))
    return fit_strangeness(train, labels, held_out or none, outliers or none, **({"learned": False} | choices))


def scores(strangeness, some):
    images = (some.pixels.clip(0, 1) * 255).round().to(torch.uint8).reshape(-1, 1, 6, 6)
    return strangeness.score(some.features, some.logits, images)


def refused(strangeness, some):
    return (scores(strangeness, some) > strangeness.threshold).float().mean().item()


@pytest.fixture(scope="module")
def fitted():
    train, labels = images_of(400, 1)
    held_out, _ = images_of(100, 2)
    return fit(train, labels, held_out)


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
        strangeness = fit(train, labels, seed=seed)
        kept = 1 - refused(strangeness, images_of(1000, 1000 + seed)[0])
        inside += strangeness.kept[1] - 0.02 <= kept <= strangeness.kept[2] + 0.02
    assert inside >= 34


@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_few_images_are_enough_to_fit(n):
    train, labels = images_of(n, 5)
    strangeness = fit(train, labels)
    assert torch.isfinite(scores(strangeness, images_of(50, 6)[0])).all()
    value, low, high, count = strangeness.kept
    assert 0 <= low <= value <= high <= 1
    assert count == n


@pytest.mark.parametrize("features", [torch.ones(50, 8), torch.zeros(50, 8), torch.ones(50, 1)])
def test_constant_features_and_single_ones_keep_known_images(features):
    train, labels = images_of(50, 7)
    train = Seen(features, torch.zeros(50, 2), train.pixels)
    assert refused(fit(train, labels), train) <= 0.1


def test_pixels_count_only_where_they_help():
    train, labels = images_of(400, 1)
    blind = Seen(*(torch.ones_like(values) for values in train[:2]), train.pixels)
    noise = far(100, 3)
    unlike = Seen(*(torch.ones_like(values) for values in noise[:2]), noise.pixels)
    helped = fit(blind, labels, outliers=unlike)
    assert "pixels" in helped.scales
    assert refused(helped, unlike) >= 0.98
    like = Seen(noise.features, noise.logits, train.pixels[:100])
    assert "pixels" not in fit(train, labels, outliers=like).scales
    assert "pixels" not in fit(train, labels).scales


def test_features_that_are_no_numbers_are_refused():
    train, labels = images_of(50, 7)
    train.features[3, 2] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        fit(train, labels)


def test_an_image_whose_features_are_no_numbers_is_strange(fitted):
    known, _ = images_of(4, 8)
    known.features[:] = torch.nan
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
