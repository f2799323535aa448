"""The examples in the docstrings of this room run and give what they say."""

import doctest
import importlib

import pytest

MODULES = ["augment", "check", "dataset", "loader", "parallel", "recipe", "sources.load", "split"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_give_what_they_say(name):
    module = importlib.import_module(f"firstlight.data.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
