"""The Recipe: what cannot be is refused in one line, and TOML gives every recipe back."""

import dataclasses
import os
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.errors import RecipeError
from firstlight.files import write_text
from firstlight.training.recipe import (
    BACKBONE_WORDS,
    DEFAULTS,
    FEWEST_STEPS,
    ONLY_BACKBONES,
    RANGES,
    Recipe,
    from_toml,
    to_toml,
)

HINTS = get_type_hints(Recipe)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ODD_TEXT = [
    'say "hi"',
    "c:\\new\\table",
    "tab\tline\nend\r",
    "'''",
    '"""',
    "\x00\x1f\x7f\x85",
    "猫 🐈",
    "",
    "a = 1 # no",
    os.fsdecode(b"caf\xe9"),
]


def values_for(name):
    """Any value that a field may have."""
    hint = HINTS[name]
    kinds = [hint, *get_args(hint)]
    if literal := next((kind for kind in kinds if get_origin(kind) is Literal), None):
        some = st.sampled_from(get_args(literal))
    elif name == "hidden":
        return st.lists(st.integers(1, 4096), min_size=1, max_size=5).map(tuple)
    elif name == "model":
        return st.sampled_from(["mlp", "cnn", "timm:resnet18", "torchvision:resnet18"])
    elif name == "backbone":
        some = st.sampled_from(["timm:resnet18", "torchvision:vit_b_16.IMAGENET1K_V1", "auto", "fast", "best"])
    elif name == "resize":
        some = st.sampled_from(["crop", "crop:0.875", "crop:0.9543", "pad", "squash"])
    elif bool in kinds:
        some = st.booleans()
    elif str in kinds:
        some = TEXT
    elif int in kinds:
        some = st.integers(*map(int, RANGES[name]))
    else:
        some = st.floats(*RANGES[name])
    return some | st.none() if type(None) in kinds else some


def possible(choices):
    """Leave out what means something for a backbone only, where there is none, and what means nothing for one."""
    senseless = ONLY_BACKBONES if choices.get("backbone") is None else {"model", "tta"}
    mirrored = {"flip": True} if choices.get("tta") else {}  # views have to be seen in training
    return Recipe(**{name: value for name, value in (choices | mirrored).items() if name not in senseless})


RECIPES = st.fixed_dictionaries({}, optional={name: values_for(name) for name in HINTS}).map(possible)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recipe.toml"


@given(recipe=RECIPES, source=TEXT)
@settings(deadline=None)
def test_toml_gives_every_recipe_and_its_source_back(recipe, source, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    write_text(path, to_toml(recipe, source))
    read, read_source = from_toml(path)
    assert (read, read_source) == (recipe, source)
    assert [type(value) for value in dataclasses.astuple(read)] == [type(v) for v in dataclasses.astuple(recipe)]


@pytest.mark.parametrize("text", ODD_TEXT)
def test_odd_paths_survive(text, path):
    recipe = Recipe(weights=text, group_by=text)
    write_text(path, to_toml(recipe, text))
    assert from_toml(path) == (recipe, text)


def test_a_file_with_one_line_is_a_recipe_and_whole_numbers_are_numbers(path):
    path.write_text("lr = 1")
    assert from_toml(path) == (Recipe(lr=1), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 5", "there is no choice epoch; did you mean epochs?"),
        ("learning_speed_of_the_net = 5", "there is no choice learning_speed_of_the_net"),
        ("epochs = 2.5", "epochs = 2.5 is not of type int | None"),
        ("epochs = true", "epochs = True is not of type int | None"),
        ("lr = '0.1'", "lr = '0.1' is not of type float | None"),
        ("lr = false", "lr = False is not of type float | None"),
        ("dropout = [0.1]", "dropout = [0.1] is not of type float"),
        ("compile = 1", "compile = 1 is not of type bool"),
        ("hidden = 64", "hidden = 64 is not of type tuple[int, ...]"),
        ("hidden = [64, 'x']", "hidden = [64, 'x'] is not of type tuple[int, ...]"),
        ("hidden = [64, true]", "hidden = [64, True] is not of type tuple[int, ...]"),
        ("resize = 3", "resize = 3 is not of type str | None"),
        ("source = 3", "source = 3 is not of type str"),
        ("[train]\nlr = 1", "there is no choice train"),
        ("lr = nan", "--lr nan: give a number from 1e-09 to 100"),
        ("lr = inf", "--lr inf: give a number"),
        ("lr = ", "not TOML"),
        ("lr = 1\nlr = 2", "not TOML"),
    ],
)
def test_a_recipe_file_that_cannot_be_is_refused_with_what_is_wrong(text, message, path):
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        from_toml(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_file_that_is_not_there_is_refused(tmp_path):
    for missing in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(RecipeError, match=r"cannot be read \(.+\); give the path of a recipe in TOML"):
            from_toml(missing)


@pytest.mark.parametrize("name", sorted(RANGES))
def test_numbers_at_both_ends_are_taken_and_beyond_them_refused(name):
    low, high = RANGES[name]
    whole = int in (HINTS[name], *get_args(HINTS[name]))
    needed = {"backbone": "auto"} if name in ONLY_BACKBONES else {}
    for value in (low, high):
        assert getattr(Recipe(**{name: int(value) if whole else value}, **needed), name) == value
    for beyond in (low - 1, high + 1 if whole else high * 1.01 + 1):
        with pytest.raises(RecipeError, match=f"--{name.replace('_', '-')} .*: give a number from"):
            Recipe(**{name: beyond}, **needed)


def test_every_number_has_a_range():
    numbers = {name for name, hint in HINTS.items() if {int, float} & {hint, *get_args(hint)} and name != "hidden"}
    assert numbers == set(RANGES)


@pytest.mark.parametrize(
    "choice", [{"resize": "stretch"}, {"optimizer": "adam"}, {"schedule": "one_cycle"}, {"init": ""}]
)
def test_words_that_are_no_choice_are_refused_with_the_choices(choice):
    with pytest.raises(RecipeError, match="choose .*, "):
        Recipe(**choice)


@pytest.mark.parametrize("hidden", [(), (0,), (64, -1)])
def test_hidden_layers_without_width_are_refused(hidden):
    with pytest.raises(RecipeError, match="give one width above zero for each layer"):
        Recipe(hidden=hidden)


# What training can do without: no limit, no such file, no such wish.
MAY_STAY_OPEN = {
    "data_root", "img_size", "group_by", "weights", "backbone", "clip", "patience", "time_limit", "workers",
}  # fmt: skip


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("images", [1, 2, 100, 1257, 60_000])
@pytest.mark.parametrize("model", ["mlp", "cnn", "timm:resnet18"])
def test_complete_fills_every_choice_that_training_needs(model, images, color):
    recipe = Recipe(model=model).complete(color=color, images=images)
    assert {name for name in HINTS if getattr(recipe, name) is None} == MAY_STAY_OPEN
    assert recipe.complete(color=not color, images=17) == recipe, "a record of a run reproduces it"
    steps = recipe.epochs * max(1, images // recipe.batch_size)
    assert steps >= FEWEST_STEPS
    assert recipe.flip is (color and model != "mlp")


@pytest.mark.parametrize(
    ("model", "optimizer", "lr"),
    [
        ("cnn", None, 0.016),
        ("cnn", "muon", 0.016),
        ("cnn", "adamw", 4e-3),
        ("mlp", "adamw", 3e-3),
        ("cnn", "sgd", 0.05),
    ],
)
def test_the_rate_suits_the_optimizer(model, optimizer, lr):
    assert Recipe(model=model, optimizer=optimizer).complete(color=True, images=50_000).lr == lr


def test_small_sets_do_not_pay_for_muon():
    assert Recipe(model="cnn").complete(color=True, images=1000).optimizer == "adamw"
    assert Recipe(model="cnn").complete(color=True, images=50_000).optimizer == "muon"
    assert Recipe(model="cnn", optimizer="muon").complete(color=True, images=1000).optimizer == "muon"


def test_complete_leaves_what_the_user_chose():
    chosen = {"epochs": 2, "batch_size": 8, "optimizer": "sgd", "lr": 0.5, "warmup": 0.0, "weight_decay": 0.0,
              "label_smoothing": 0.0, "flip": True, "shift": 0, "resize": "pad", "ema": 0.5,
              "crop_scale": 0.3}  # fmt: skip
    assert Recipe(**chosen).complete(color=False, images=5000) == Recipe(**chosen)


def test_every_model_has_a_default_for_the_same_choices():
    general = {"flip", "resize", "ema", "crop_scale"}  # what most models take alike
    assert {frozenset({*row} - general) for row in DEFAULTS.values()} == {frozenset({*DEFAULTS["cnn"]} - general)}
    for row in DEFAULTS.values():
        Recipe(**row)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("images", [1, 100, 60_000])
def test_a_backbone_gets_the_defaults_of_fine_tuning_and_no_more_epochs_for_few_images(images, color):
    """What it looks for it knows already; a network of timm's that starts from nothing must see enough of them."""
    recipe = Recipe(backbone="timm:resnet18", model="timm:resnet18").complete(color=color, images=images)
    assert {name for name in HINTS if getattr(recipe, name) is None} == MAY_STAY_OPEN - {"backbone"}
    assert recipe.complete(color=not color, images=17) == recipe, "a record of a run reproduces it"
    assert recipe.epochs == DEFAULTS["backbone"]["epochs"]
    assert recipe.lr == DEFAULTS["backbone"]["lr"]
    assert recipe.flip is color
    from_nothing = Recipe(model="timm:resnet18").complete(color=color, images=100)
    assert from_nothing.epochs > recipe.epochs


@pytest.mark.parametrize("name", ONLY_BACKBONES)
def test_what_is_about_a_backbone_is_refused_without_one(name):
    other = {"finetune": "all", "ladder": True, "learning_curve": True, "views": 2, "weights_license": "permissive"}
    other |= {"layer_decay": 0.5, "unfreeze": "gradual", "norms": "live"}
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(RecipeError, match=f"^{flag} is about a pretrained network; name one with --backbone$"):
        Recipe(**{name: other[name]})
    assert getattr(Recipe(**{name: other[name]}, backbone="auto"), name) == other[name]


@pytest.mark.parametrize("model", ["mlp", "timm:resnet50"])
def test_two_networks_are_one_too_many(model):
    with pytest.raises(RecipeError, match=f"^--model {model} and --backbone timm:resnet18 are two networks; name one"):
        Recipe(model=model, backbone="timm:resnet18")


def test_each_choice_about_a_backbone_is_idle_by_default():
    assert {name: getattr(Recipe(), name) for name in ONLY_BACKBONES} == ONLY_BACKBONES


@pytest.mark.parametrize("word", ["resnet18", "Auto", "", "timm/resnet18", "huge"])
def test_a_word_that_names_no_backbone_is_refused_with_the_words(word):
    with pytest.raises(RecipeError, match=f"--backbone {word}: there is no such network; choose timm:NAME") as caught:
        Recipe(backbone=word)
    assert all(choice in str(caught.value) for choice in BACKBONE_WORDS)


@pytest.mark.parametrize("resize", ["crop:0", "crop:1.1", "crop:", "crop:x", "pad:0.9", "stretch", ""])
def test_a_fit_that_cannot_be_is_refused(resize):
    with pytest.raises(
        RecipeError, match=f"--resize {resize}: there is no such way to fit a picture; choose crop, pad"
    ):
        Recipe(resize=resize)


def test_the_architecture_is_what_the_network_needs():
    mlp = Recipe(model="mlp", hidden=(64, 32), dropout=0.1)
    assert mlp.architecture == {"name": "mlp", "hidden": [64, 32], "dropout": 0.1}
    assert Recipe(model="timm:resnet18").architecture == {"name": "timm:resnet18"}


@pytest.mark.parametrize(
    "choice",
    [{"weights": Path("w.pth")}, {"epochs": np.int64(3)}, {"epochs": 1.5}, {"epochs": "3"}, {"hidden": (16.0,)}],
)
def test_a_value_of_another_type_is_refused_before_the_work(choice):
    with pytest.raises(RecipeError, match="is wanted"):
        Recipe(**choice)
