"""The choices about data and augmentation: checked once, in one line, and there before torch is imported."""

import subprocess
import sys

import pytest

from firstlight.data.images import MAX_PIXELS
from firstlight.data.recipe import DataRecipe
from firstlight.errors import RecipeError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("img_size", 0),
        ("img_size", 5000),
        ("img_size", 32.0),
        ("resize", "stretch"),
        ("resize", 3),
        ("max_pixels", 0),
        ("allow_quarantine", 1),
        ("split", None),
        ("group_by", 7),
        ("drop_leaks", "yes"),
        ("workers", 0),
    ],
)
def test_a_choice_that_cannot_be_is_refused_with_its_name_and_value(field, value):
    with pytest.raises(RecipeError) as refused:
        DataRecipe(**{field: value})
    assert (refused.value.field, refused.value.value) == (field, value)
    assert str(refused.value).startswith(f"{field} = {value!r}: ")
    assert "\n" not in str(refused.value)
    assert "--" not in str(refused.value)


def test_the_limit_of_pixels_has_one_default():
    assert DataRecipe().max_pixels == MAX_PIXELS == 50_000_000


def test_the_choices_are_there_without_torch_and_numpy():
    code = (
        "import sys, firstlight.data.augment, firstlight.data.recipe as recipe; "
        "firstlight.data.augment.Augment(flip=True); recipe.DataRecipe(resize='pad'); "
        "print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
