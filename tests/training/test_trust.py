"""What a run learns from validation about its own doubt, and records of it on the test split."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from firstlight.models.trust import Trust
from firstlight.runs.outputs import Outputs
from firstlight.training.trust import measure_trust, record_of, scored_on_test, with_strangeness


def outputs(n, num_classes=4, *, seed=0, absent=None):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, num_classes, generator=random) * 2
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=random)[:, 0] if n else torch.zeros(0).long()
    kept = labels != absent if absent is not None else torch.ones(n, dtype=torch.bool)
    names = tuple(f"{row}.png" for row in range(int(kept.sum())))
    return Outputs(names, labels[kept].numpy(), logits[kept].numpy(), np.ones((len(names), 3), np.float32))


@pytest.mark.parametrize("n", [0, 3, 8])
def test_a_validation_split_that_is_too_small_leaves_every_class_possible(n):
    trust = measure_trust(outputs(n), 1.0)
    assert (trust.set_quantile, trust.measured_on) == (1.0, {"split": "valid", "n": n})
    assert trust.sets(torch.tensor([[0.97, 0.01, 0.01, 0.01]])).all()


def test_a_class_without_validation_images_stays_possible_by_class():
    trust = measure_trust(outputs(400, absent=2), 1.0)
    assert trust.set_quantile < 1
    assert trust.class_quantiles[2] == 1
    assert trust.sets(torch.tensor([[0.97, 0.01, 0.01, 0.01]]), by_class=True).tolist() == [[True, False, True, False]]


def test_logits_that_are_no_numbers_make_the_sets_larger_and_nothing_fails():
    given = outputs(100)
    given.logits[:30] = np.nan
    assert measure_trust(given, 1.0).set_quantile == 1.0


def test_the_record_tells_coverage_and_size_of_all_images_and_of_each_class():
    trust, test = measure_trust(outputs(3000, seed=1), 1.0), outputs(3000, seed=2, absent=3)
    record = scored_on_test(trust, test, 1.0, ("a", "b", "c", "d"))
    assert (record.set_quantile, record.measured_on["n"]) == (trust.set_quantile, 3000)
    assert record.test.coverage.low < 0.93
    assert 0.87 < record.test.coverage.value < 0.93
    probabilities = torch.from_numpy(test.logits).softmax(dim=1)
    sets = [set(row.nonzero()[:, 0].tolist()) for row in trust.sets(probabilities)]
    hits = [int(label) in inside for label, inside in zip(test.labels, sets, strict=True)]
    assert record.test.coverage.value == pytest.approx(np.mean(hits))
    assert record.test.size == pytest.approx(np.mean([len(inside) for inside in sets]))
    assert sum(count for _, count in record.test.sizes) == record.test.coverage.n == len(test)
    assert sum(size * count for size, count in record.test.sizes) == sum(len(inside) for inside in sets)
    alone = [hit for hit, inside in zip(hits, sets, strict=True) if len(inside) == 1]
    assert (record.test.single.value, record.test.single_accuracy.value) == pytest.approx(
        (len(alone) / len(hits), np.mean(alone))
    )
    first = record.test.per_class[0]
    assert first.coverage.value == pytest.approx(np.mean(np.array(hits)[test.labels == 0]))
    assert (record.test.per_class[3].coverage.n, record.test.per_class[3].size) == (0, 0)
    assert record.test.worst_class.name != "d"
    assert record.test_kept is None


class Darkness:
    threshold, kept = 0.0, (0.95, 0.9, 0.98, 100)

    def score(self, features, logits, images):
        return -images.float().mean(dim=(1, 2, 3)) + features[:, 0] - 1

    def to(self, device):
        return self


def test_outputs_keep_how_strange_each_image_is():
    pixels = np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(600, 1, 1, 1)
    data, rows = SimpleNamespace(store=SimpleNamespace(pixels=pixels)), np.arange(0, 600, 2)
    trust = Trust(strangeness=Darkness(), set_quantile=0.5)
    found = with_strangeness(outputs(300), trust, data, rows)
    np.testing.assert_array_equal(found.strangeness, -pixels[rows, 0, 0, 0].astype(np.float32))
    record = scored_on_test(trust, found, 1.0, tuple("abcd"))
    assert (record.stranger_threshold, record.kept.value, record.test_kept.value) == (0.0, 0.95, 1.0)
    assert with_strangeness(outputs(3), Trust(), data, rows[:3]).strangeness is None
    assert record_of(Trust()).kept is None
