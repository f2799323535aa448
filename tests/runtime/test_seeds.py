"""Seeds are pinned, different for every purpose, and no global generator is touched."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firstlight.runtime.seeds import derive_seed, generator


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0,), 4_761_921_975_702_974_394),
        ((0, "order", 1), 7_770_329_341_107_549_510),
        ((1, "order", 1), 2_502_268_315_207_963_875),
        ((7, "split", os.fsdecode(b"\xff.jpg")), 2_621_979_036_015_893_863),
    ],
)
def test_seeds_are_pinned_since_a_change_would_change_every_run(arguments, expected):
    assert derive_seed(*arguments) == expected


@given(st.integers(), st.lists(st.text() | st.integers(), max_size=3))
def test_seeds_fit_every_generator(seed, purpose):
    assert 0 <= derive_seed(seed, *purpose) < 2**63
    assert derive_seed(seed, *purpose) == derive_seed(seed, *purpose)


def test_different_purposes_have_different_seeds():
    seeds = {derive_seed(seed, word, number) for seed in range(10) for word in "abcde" for number in range(100)}
    assert len(seeds) == 5000
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")


def test_generators_repeat_themselves_and_leave_the_global_one_alone():
    before = torch.get_rng_state()
    first, again, other = (torch.rand(8, generator=generator(seed, "test")) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
