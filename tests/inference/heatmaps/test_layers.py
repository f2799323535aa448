"""Which layer of a network is looked at, by the shapes of what its layers return."""

import pytest
import torch

from firstlight.inference.heatmaps.layers import Output, channels_first, last_spatial

SMALL_CNN = [("block1", 15), ("block2.widen", 15), ("block2", 7), ("block3.widen", 7), ("block3", 3), ("pool", 1)]


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ([("a", (1, 8, 14, 14)), ("b", (1, 64, 7, 7)), ("pool", (1, 64, 1, 1)), ("flat", (1, 64))], "b"),
        ([("a", (1, 14, 14, 8)), ("b", (1, 7, 7, 64)), ("pool", (1, 64))], "b"),
        ([("a", (1, 64, 1, 2)), ("b", (1, 64, 1, 1))], "a"),
        ([("patches", (1, 64, 14, 14)), ("block", (1, 197, 64)), ("norm", (1, 64))], None),
        ([("fc1", (1, 64)), ("fc2", (1, 64))], None),
        ([("a", (1, 64, 1, 1))], None),
    ],
)
def test_it_is_the_last_one_that_keeps_places(shapes, wanted):
    assert last_spatial([Output(*one) for one in shapes]) == wanted


def test_a_layer_that_is_too_coarse_is_passed_over_with_its_parts():
    outputs = [Output(name, (1, 8, side, side)) for name, side in SMALL_CNN]
    assert last_spatial(outputs) == "block3"
    assert last_spatial(outputs, 4) == "block2"
    assert last_spatial(outputs, 16) is None
    chained = [Output("body.1", (1, 8, 7, 7)), Output("body.2", (1, 8, 3, 3)), Output("body", (1, 8, 3, 3), True)]
    assert last_spatial(chained, 4) == "body.1", "a chain is no layer of its own"


def test_channels_come_first_whatever_the_layout():
    for shape, wanted in [((2, 64, 7, 7), (64, 7, 7)), ((2, 7, 7, 64), (64, 7, 7)), ((2, 7, 7, 7), (7, 7, 7))]:
        assert channels_first(torch.zeros(shape)).shape[1:] == wanted
