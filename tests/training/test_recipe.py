"""The Recipe: choices in groups, flat names for all of them, and every impossible value refused in one line."""

import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from firstlight.data.augment import Augment
from firstlight.data.recipe import DataRecipe
from firstlight.errors import RecipeError
from firstlight.models.recipe import ModelRecipe
from firstlight.training.recipe import GROUPS, HOMES, OPTIMIZATION_RANGES, OptimizationRecipe, Recipe, TransferRecipe

TRANSFER_CHOICES = {
    "finetune": "all", "ladder": True, "learning_curve": True, "feature_passes": 2, "layer_decay": 0.5,
    "unfreeze": "gradual", "norms": "live", "weights_license": "permissive",
}  # fmt: skip

# The lowest and highest value of every number, by its flat name.
RANGES = OPTIMIZATION_RANGES | {
    "img_size": (1, 4096), "max_pixels": (1, 2**31), "workers": (1, 1024), "dropout": (0, 0.95), "width": (1, 4096),
    "feature_passes": (1, 64), "layer_decay": (1e-6, 1), "shift": (0, 4096), "crop_scale": (0.01, 1),
    "rotate": (0, 180), "color_jitter": (0, 1), "erase": (0, 1), "mixup": (0, 100), "cutmix": (0, 100),
    "seed": (0, 2**63 - 1),
}  # fmt: skip


def hint_of(name):
    group, own = HOMES[name]
    return get_type_hints(GROUPS[group] if group else Recipe)[own]


def kinds_of(name):
    return {hint_of(name), *get_args(hint_of(name))}


def test_flat_names_are_spread_over_the_groups():
    recipe = Recipe.of(model="mlp", epochs=3, img_size=32, shift=2, seed=7)
    assert recipe == Recipe(
        model=ModelRecipe(name="mlp"),
        optimization=OptimizationRecipe(epochs=3),
        data=DataRecipe(img_size=32),
        augmentation=Augment(shift=2),
        seed=7,
    )
    assert {name: recipe.flat()[name] for name in ("model", "epochs", "shift")} == {
        "model": "mlp",
        "epochs": 3,
        "shift": 2,
    }


def test_every_choice_has_one_flat_name():
    fields = [choice.name for kind in GROUPS.values() for choice in dataclasses.fields(kind)]
    assert len(HOMES) == len(fields) + 2, "seed and device belong to no group"
    assert set(Recipe().flat()) == set(HOMES)


def test_a_recipe_is_rebuilt_from_its_flat_choices():
    recipe = Recipe.of(model="timm:resnet18", ladder=True, lr=0.1, mixup=0.2, split="80/10/10", device="cpu")
    assert Recipe.of(**recipe.flat()) == recipe


def test_a_choice_that_does_not_exist_is_refused_with_the_nearest_one():
    with pytest.raises(RecipeError, match="there is no choice epoch; did you mean epochs?"):
        Recipe.of(epoch=3)
    with pytest.raises(RecipeError, match="^there is no choice learning_speed_of_the_net$"):
        Recipe.of(learning_speed_of_the_net=5)


@pytest.mark.parametrize("name", sorted(RANGES))
def test_numbers_at_both_ends_are_taken_and_beyond_them_refused(name):
    low, high = RANGES[name]
    whole = int in kinds_of(name)
    needed = {"model": "auto"} if name in TRANSFER_CHOICES else {}
    for value in (low, high):
        assert Recipe.of(**{name: int(value) if whole else value}, **needed).flat()[name] == value
    for beyond in (low - 1, high + 1 if whole else high * 1.01 + 1):
        with pytest.raises(RecipeError) as caught:
            Recipe.of(**{name: beyond}, **needed)
        assert (caught.value.field, caught.value.value) == (name, beyond)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(RecipeError, match="lr = .*: choose a number from 1e-09 to 100"):
        Recipe.of(lr=value)


def test_every_number_has_a_range():
    numbers = {name for name in HOMES if {int, float} & kinds_of(name) and name != "hidden"}
    assert numbers == set(RANGES)


@pytest.mark.parametrize(
    "choice", [{"resize": "stretch"}, {"optimizer": "adam"}, {"schedule": "one_cycle"}, {"init": ""}]
)
def test_words_that_are_no_choice_are_refused_with_the_choices(choice):
    with pytest.raises(RecipeError, match="choose .*, "):
        Recipe.of(**choice)


@pytest.mark.parametrize("hidden", [(), (0,), (64, -1), (10**12,)])
def test_hidden_layers_without_width_are_refused(hidden):
    with pytest.raises(RecipeError, match="hidden = "):
        Recipe.of(hidden=hidden)


@pytest.mark.parametrize("resize", ["crop:0", "crop:1.1", "crop:", "crop:x", "pad:0.9", "stretch", ""])
def test_a_way_to_resize_that_does_not_exist_is_refused(resize):
    with pytest.raises(RecipeError, match="choose crop, pad") as caught:
        Recipe.of(resize=resize)
    assert (caught.value.field, caught.value.value) == ("resize", resize)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"weights": Path("w.pth")}, "give text"),
        ({"epochs": np.int64(3)}, "give a whole number"),
        ({"epochs": 1.5}, "give a whole number"),
        ({"epochs": True}, "give a whole number"),
        ({"epochs": "3"}, "give a whole number"),
        ({"lr": "0.1"}, "give a number"),
        ({"lr": False}, "give a number"),
        ({"compile": 1}, "give true or false"),
        ({"hidden": (16.0,)}, "give a list of whole numbers"),
        ({"hidden": 64}, "give a list of whole numbers"),
        ({"hidden": {8}}, "give a list of whole numbers"),
        ({"model": 3}, "there is no such network"),
        ({"optimizer": "\udcff"}, "choose adamw, sgd, muon"),
        ({"flip": "yes"}, "give true or false"),
        ({"seed": 0.5}, "whole number"),
        ({"device": 0}, "choose auto"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_in_words(choice, expected):
    with pytest.raises(RecipeError, match=expected) as caught:
        Recipe.of(**choice)
    assert caught.value.field == next(iter(choice))
    assert "\n" not in str(caught.value)


def test_a_list_of_widths_is_as_good_as_a_tuple():
    assert Recipe.of(hidden=[3, 4]) == Recipe.of(hidden=(3, 4))
    hash(Recipe.of(hidden=[3, 4]))


def test_a_network_without_its_weights_is_told_to_take_them():
    with pytest.raises(RecipeError, match="timm:resnet18 is trained from scratch; set `pretrained`"):
        Recipe.of(model="timm:resnet18", pretrained=False, finetune="all")
    with pytest.raises(RecipeError, match="mlp is trained from scratch; choose one with `model`, such as auto"):
        Recipe.of(model="mlp", finetune="all")


@pytest.mark.parametrize("choices", [{"model": "mlp"}, {"data": "digits"}, {"optimization": {"epochs": 3}}])
def test_a_group_that_is_none_is_refused_with_the_way_to_build_one(choices):
    with pytest.raises(RecipeError, match=r"Recipe.of\(...\) builds a recipe from flat names"):
        Recipe(**choices)


@pytest.mark.parametrize("model", ["mlp", "cnn", "timm:resnet18"])
@pytest.mark.parametrize("name", sorted(TRANSFER_CHOICES))
def test_choices_about_transfer_are_refused_where_nothing_is_transferred(name, model):
    choice = {name: TRANSFER_CHOICES[name]}
    with pytest.raises(RecipeError, match="this needs a pretrained network") as caught:
        Recipe.of(model=model, pretrained=False, **choice)
    assert caught.value.field == name
    assert Recipe.of(model="auto", **choice).flat()[name] == TRANSFER_CHOICES[name]


def test_every_choice_about_transfer_is_covered():
    assert {field.name for field in dataclasses.fields(TransferRecipe)} | {"weights_license"} == set(TRANSFER_CHOICES)


@pytest.mark.parametrize(
    ("choices", "pretrained"),
    [
        ({"model": "cnn"}, False),
        ({"model": "mlp", "pretrained": True}, False),
        ({"model": "timm:resnet18"}, True),
        ({"model": "torchvision:resnet18", "pretrained": False}, False),
        ({"model": "auto"}, True),
        ({"model": "best"}, True),
    ],
    ids=str,
)
def test_only_published_networks_are_pretrained_and_only_if_they_may_be(choices, pretrained):
    assert Recipe.of(**choices).model.is_pretrained is pretrained


def test_averaging_views_is_for_networks_trained_from_scratch():
    with pytest.raises(RecipeError, match="only for networks trained from scratch"):
        Recipe.of(model="fast", tta=True)
    assert Recipe.of(model="timm:resnet18", pretrained=False, tta=True).model.tta
