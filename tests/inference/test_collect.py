"""Collecting runs a classifier over batches: its logits, labels, rows and features, and its modes as they were."""

import copy

import numpy as np
import pytest
import torch
from tests.worlds import in_ranks

from firstlight.data.loader import Batch, Loader
from firstlight.errors import DataError
from firstlight.inference.collect import collect, collect_together
from firstlight.models.classifier import Classifier

LIBRARY = {"name": "timm:test_resnet", "head": "linear", "side": 32}


def batches(images, size=50):
    rows = torch.arange(len(images))
    for start in range(0, len(images), size):
        part = rows[start : start + size]
        yield Batch(images[part], part % 3, part)


@pytest.fixture
def images(digits):
    return torch.from_numpy(digits[0][:120, :, :, None]).permute(0, 3, 1, 2)


def build(architecture):
    torch.manual_seed(0)
    return Classifier(architecture=architecture, classes=("a", "b", "c"), input_size=(1, 8, 8))


@pytest.mark.parametrize("architecture", [{"name": "cnn", "tta": "mirror"}, LIBRARY], ids=["cnn", "library"])
def test_it_collects_what_the_classifier_says_of_every_batch(architecture, images):
    classifier = build(architecture).train()
    classifier.network.head.eval()
    modes = [module.training for module in classifier.modules()]
    found = collect(classifier, batches(images), features=True)
    assert [module.training for module in classifier.modules()] == modes
    with torch.inference_mode():
        classifier.eval()
        torch.testing.assert_close(found.logits, classifier(images), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.features, classifier.features(images), rtol=1e-4, atol=1e-5)
    assert torch.equal(found.rows, torch.arange(120))
    assert torch.equal(found.labels, torch.arange(120) % 3)
    assert not found.logits.requires_grad
    assert not found.logits.is_inference(), "it can be used in any later computation"


def test_features_are_collected_only_if_asked_for_and_change_no_logits(images):
    classifier = build(LIBRARY)
    plain, both = (collect(classifier, batches(images), features=wanted) for wanted in (False, True))
    assert plain.features is None
    assert both.features.shape == (120, classifier.network.num_features)
    assert torch.equal(plain.logits, both.logits)


def test_any_callable_will_do(images):
    found = collect(lambda batch: batch.float().mean((2, 3)), batches(images))
    torch.testing.assert_close(found.logits, images.float().mean((2, 3)))


def test_no_batch_is_one_clear_line():
    with pytest.raises(DataError, match="there are no samples to score; this split is empty"):
        collect(lambda batch: batch, [])


@pytest.mark.parametrize(("ranks", "batch_size"), [(2, 50), (3, 100), (3, 120)])
def test_processes_that_score_together_get_what_one_does_to_the_last_bit(ranks, batch_size, images):
    """Also where there are fewer batches than processes."""
    classifier = build(LIBRARY).eval()
    pixels, labels = images.permute(0, 2, 3, 1).numpy(), np.arange(120) % 3
    rows = np.arange(119, -1, -1)
    loader = Loader(pixels, labels, rows, batch_size=batch_size)
    whole = collect(classifier, loader.epoch(), features=True)

    def score(_mine):
        own = copy.deepcopy(classifier)
        return collect_together(own, loader, features=True), collect_together(own.forward, loader)

    for found, plain in in_ranks(ranks, score):
        assert all(torch.equal(here, there) for here, there in zip(found, whole, strict=True))
        assert plain.features is None
        assert torch.equal(plain.logits, whole.logits)


def test_nothing_to_score_is_an_error_in_several_processes_too(images):
    loader = Loader(images.permute(0, 2, 3, 1).numpy(), np.zeros(120, np.int64), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="no samples to score"):
        in_ranks(2, lambda _mine: collect_together(lambda batch: batch, loader))
