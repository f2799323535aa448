"""Choices: names that other tools use, and misspelled ones, lead to ours."""

import pytest

from firstlight.choices import OTHER_NAMES, did_you_mean, nearest
from firstlight.training.recipe import HOMES


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("imgsz", "img_size"),
        ("image-size", "img_size"),
        ("learning_rate", "lr"),
        ("epoch", "epochs"),
        ("optimiser", "optimizer"),
        ("num_workers", "workers"),
        ("nothing_like_it", None),
    ],
)
def test_the_choice_that_is_meant_is_found(typed, meant):
    assert nearest(typed, HOMES) == meant


def test_an_alias_is_only_suggested_where_its_choice_exists():
    assert nearest("imgsz", ["csv", "top"]) is None
    assert did_you_mean("imgsz", ["csv", "top"]) == ""
    assert did_you_mean("imgsz", HOMES) == "; did you mean img_size?"


def test_no_alias_is_a_choice_or_stands_for_two():
    aliases = [alias for others in OTHER_NAMES.values() for alias in others.split()]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(HOMES)
