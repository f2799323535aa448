"""Which layer of a network is looked at, by the shapes of what its layers return."""

import pytest
import torch

from firstlight.inference.heatmaps.layers import channels_first, last_spatial


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ([("a", (1, 8, 14, 14)), ("b", (1, 64, 7, 7)), ("pool", (1, 64, 1, 1)), ("flat", (1, 64))], "b"),
        ([("a", (1, 8, 14, 14)), ("b", (1, 64, 2, 2)), ("flat", (1, 64))], "a"),
        ([("a", (1, 8, 2, 2)), ("b", (1, 64, 1, 2)), ("flat", (1, 64))], "b"),
        ([("a", (1, 14, 14, 8)), ("b", (1, 7, 7, 64)), ("pool", (1, 64))], "b"),
        ([("patches", (1, 64, 14, 14)), ("block", (1, 197, 64)), ("norm", (1, 64))], None),
        ([("fc1", (1, 64)), ("fc2", (1, 64))], None),
        ([("a", (1, 64, 1, 1))], None),
    ],
)
def test_it_is_the_last_one_with_cells_enough_to_point_at(shapes, wanted):
    assert last_spatial(shapes) == wanted


def test_channels_come_first_whatever_the_layout():
    for shape, wanted in [((2, 64, 7, 7), (64, 7, 7)), ((2, 7, 7, 64), (64, 7, 7)), ((2, 7, 7, 7), (7, 7, 7))]:
        assert channels_first(torch.zeros(shape)).shape[1:] == wanted
