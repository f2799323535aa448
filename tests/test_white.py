"""White is the next full number of bits above the brightest value of a set."""

import pytest

from firstlight.white import White


@pytest.mark.parametrize(
    ("brightest", "white"),
    [(1, 255), (119, 255), (255, 255), (256, 511), (650, 1023), (4095, 4095), (4096, 8191), (32768, 65535)],
)
def test_integers_are_rounded_up_to_bits(brightest, white):
    assert White.of(integers=brightest) == White(white, None)


@pytest.mark.parametrize(
    ("brightest", "white"),
    [(0.01, 1 / 64), (1 / 8, 1 / 8), (0.3, 1.0), (1.001, 1.0), (1.5, 255.0), (255.0, 255.0), (300.0, 511.0)],
)
def test_floats_are_spread_only_if_they_are_dark(brightest, white):
    assert White.of(floats=brightest) == White(None, white)


def test_black_and_impossible_values_choose_nothing():
    assert White.of() == White.of(integers=70_000) == White.of(floats=1e9) == White()


def test_the_brighter_of_two_is_kept_kind_by_kind():
    assert White(1023, None).with_room_for(White(255, 1.0)) == White(1023, 1.0)
