"""What 10 million images would take, on paper: the formulas are right, and the guide shows what they give."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def arithmetic(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import arithmetic

    yield arithmetic
    del sys.modules["arithmetic"]


def sent_in_a_ring(count: int, size: int) -> tuple[list[np.ndarray], list[int]]:
    """Sum arrays of different processes in a ring, piece by piece; return the sums, and the bytes that each sent."""
    parts = [np.array_split(np.arange(size) * (rank + 1.0), count) for rank in range(count)]
    sent = [0] * count
    for step in range(2 * (count - 1)):
        adding = step < count - 1
        passed = [(rank, (rank - step % (count - 1) + (not adding)) % count) for rank in range(count)]
        pieces = [parts[rank][piece].copy() for rank, piece in passed]
        for (rank, piece), values in zip(passed, pieces, strict=True):
            sent[rank] += values.nbytes
            after = parts[(rank + 1) % count]
            after[piece] = after[piece] + values if adding else values
    return [np.concatenate(pieces) for pieces in parts], sent


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_ring_sends_what_the_formula_says(arithmetic, count):
    sums, sent = sent_in_a_ring(count, 64)
    for total in sums:
        np.testing.assert_allclose(total, np.arange(64) * count * (count + 1) / 2)
    assert sent == [arithmetic.ring_bytes(64 * 8, count)] * count


@pytest.mark.slow
@pytest.mark.parametrize(("place", "name"), [(0, "resnet50"), (1, "vit_b_16")])
def test_work_and_weights_are_those_of_torchvision(arithmetic, place, name):
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision.models import get_model

    network = arithmetic.NETWORKS[place]
    with torch.device("meta"):
        model = get_model(name)
        images = torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    assert network.training_flops == pytest.approx(counter.get_total_flops(), rel=1e-4)
    assert network.weights == sum(weight.numel() for weight in model.parameters())
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert network.batch_norms == len(norms)


def test_the_figures_are_those_of_a_calculation_by_hand(arithmetic):
    found = arithmetic.tables(arithmetic.Core(packed=250.0, decoded=500.0, copied=20_000.0))
    values = {figure.what: figure.values for figures in found.values() for figure in figures}
    assert values["packed"] == (pytest.approx(1.50528),)
    assert values["packing"] == (pytest.approx(10_000_000 / 250 / 3600),)
    assert values["files decoded in every epoch"] == (112 * 500,)
    resnet = 989e12 * 0.2 / 24.299e9
    assert values["an epoch"][0] == pytest.approx(10_000_000 / (8 * resnet) / 60)
    assert values["over NVLink"][0] == pytest.approx(1.75 * 25_557_032 * 4 / 450e9 * 1000)
    assert values["100 Gbit/s, share of a step"][0] == pytest.approx(
        100 * (1.875 * 25_557_032 * 4 * 8 / 100e9) / (256 / resnet)
    )


def test_the_sentences_of_the_guide_follow_from_the_figures(arithmetic):
    found = arithmetic.tables(arithmetic.Core.measured())
    values = {figure.what: figure.values for figures in found.values() for figure in figures}
    resnet = values["images/s of 8 GPUs"][0]
    assert values["its share of the memory"][0] == pytest.approx(75, abs=2)
    assert values["its share of the memory"][0] * 4 > 100, "float32"
    assert values["its share of the disks"][0] == pytest.approx(5, abs=0.5)
    assert 0.7 < resnet / values["files decoded in every epoch"][0] < 1
    assert values["packed, after that"][0] / resnet == pytest.approx(4, abs=0.3)
    assert values["packed, read the first time"][0] / resnet == pytest.approx(4 / 3, abs=0.1)
    assert values["batch norms of whole batches"][0] > values["over NVLink"][0]
    assert max(values["8 x 400 Gbit/s InfiniBand, share of a step"]) < 5
    assert min(values["10 Gbit/s, share of a step"]) > 100


def test_the_tables_of_the_guide_are_those_of_the_script(arithmetic):
    page = arithmetic.PAGE.read_text("utf-8")
    assert arithmetic.BEGIN in page
    assert arithmetic.END in page
    assert page == arithmetic.with_tables(page), "run: python benchmarks/arithmetic.py --write"
