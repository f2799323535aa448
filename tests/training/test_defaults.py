"""Defaults: what a recipe leaves open suits the network and the set, and what was chosen stays."""

import dataclasses

import pytest

from firstlight.errors import RecipeError
from firstlight.training.defaults import DEFAULTS, MIN_STEPS, complete, require_views
from firstlight.training.recipe import Recipe

# What training can do without: no limit, no such file, no such wish.
MAY_STAY_OPEN = {"data_root", "img_size", "group_by", "weights", "clip", "patience", "time_limit", "workers"}
MAY_STAY_OPEN |= {"image_column", "label_column", "label_from", "corrections"}
SCRATCH = ["mlp", "cnn", "timm:resnet18"]


def completed(choices, *, color=False, images=1000):
    return complete(Recipe.of(**choices), color=color, images=images)


def open_choices(recipe):
    return {name for name, value in recipe.flat().items() if value is None}


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("images", [1, 2, 100, 1257, 60_000])
@pytest.mark.parametrize("model", SCRATCH)
def test_every_choice_that_training_needs_is_filled_in(model, images, color):
    recipe = completed({"model": model, "pretrained": False}, color=color, images=images)
    assert open_choices(recipe) == MAY_STAY_OPEN
    assert complete(recipe, color=not color, images=17) == recipe, "a record of a run reproduces it"
    steps = recipe.optimization.epochs * max(1, images // recipe.optimization.batch_size)
    assert steps >= MIN_STEPS
    assert recipe.augmentation.flip is (color and model != "mlp")


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
def test_the_learning_rate_suits_the_optimizer(model, optimizer, lr):
    recipe = completed({"model": model, "optimizer": optimizer}, color=True, images=50_000)
    assert recipe.optimization.lr == lr


def test_muon_is_not_used_for_small_sets_unless_it_was_chosen():
    def optimizer(images, **choices):
        return completed({"model": "cnn", **choices}, color=True, images=images).optimization.optimizer

    assert optimizer(1000) == "adamw"
    assert optimizer(50_000) == "muon"
    assert optimizer(1000, optimizer="muon") == "muon"


def test_what_the_user_chose_stays():
    chosen = {"epochs": 2, "batch_size": 8, "optimizer": "sgd", "lr": 0.5, "warmup": 0.0, "weight_decay": 0.0,
              "label_smoothing": 0.0, "flip": True, "shift": 0, "resize": "pad", "ema": 0.5,
              "crop_scale": 0.3}  # fmt: skip
    chosen["model"] = "cnn"
    assert completed(chosen, images=5000) == Recipe.of(**chosen)


def test_every_kind_of_network_has_a_default_for_the_same_choices():
    general = {"flip", "resize", "ema", "crop_scale"}  # the same for most
    assert {frozenset({*row} - general) for row in DEFAULTS.values()} == {frozenset({*DEFAULTS["cnn"]} - general)}
    for row in DEFAULTS.values():
        Recipe.of(**row)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("images", [1, 100, 60_000])
def test_a_pretrained_network_gets_no_more_epochs_for_few_images(images, color):
    recipe = completed({"model": "timm:resnet18"}, color=color, images=images)
    assert open_choices(recipe) == MAY_STAY_OPEN
    assert complete(recipe, color=not color, images=17) == recipe, "a record of a run reproduces it"
    assert recipe.optimization.epochs == DEFAULTS["pretrained"]["epochs"]
    assert recipe.optimization.lr == DEFAULTS["pretrained"]["lr"]
    assert recipe.augmentation.flip is color
    from_scratch = completed({"model": "timm:resnet18", "pretrained": False}, color=color, images=100)
    assert from_scratch.optimization.epochs > recipe.optimization.epochs


def test_images_are_resized_as_the_network_wants_unless_it_was_chosen():
    assert complete(Recipe.of(model="cnn"), color=True, images=100, resize="crop:0.9").data.resize == "crop:0.9"
    assert (
        complete(Recipe.of(model="cnn", resize="pad"), color=True, images=100, resize="crop:0.9").data.resize == "pad"
    )


@pytest.mark.parametrize("choices", [{"model": "mlp"}, {"model": "cnn", "flip": False, "shift": 0}], ids=str)
def test_averaging_needs_views_that_training_shows(choices):
    with pytest.raises(RecipeError, match="training uses no other views"):
        require_views(Recipe.of(tta=True, **choices))


def test_averaging_needs_views_of_gray_images_too():
    recipe = Recipe.of(model="cnn", shift=0, tta=True)
    require_views(recipe)  # images with color will be mirrored
    assert complete(recipe, color=True, images=1000).augmentation.flip
    with pytest.raises(RecipeError, match="training uses no other views"):
        complete(recipe, color=False, images=1000)


def test_completing_changes_no_other_choice():
    recipe = Recipe.of(model="cnn", seed=5, mixup=0.1)
    before, after = recipe.flat(), completed({"model": "cnn", "seed": 5, "mixup": 0.1}).flat()
    assert {name for name in before if before[name] is not None and before[name] != after[name]} == set()
    assert dataclasses.asdict(recipe) != dataclasses.asdict(completed({"model": "cnn"}))


@pytest.mark.parametrize(("side", "shift"), [(1, 0), (2, 1), (3, 2), (64, 2)])
def test_a_default_shift_stays_below_the_side_of_the_images(side, shift):
    recipe = complete(Recipe.of(model="cnn"), color=False, images=100, side=side)
    assert recipe.augmentation.shift == shift
    recipe.augmentation.require_room(side, side)
    chosen = complete(Recipe.of(model="cnn", shift=2), color=False, images=100, side=side)
    assert chosen.augmentation.shift == 2, "what a person chose is refused where it is too large, not changed"
