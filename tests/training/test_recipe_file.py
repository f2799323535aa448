"""Recipe files: TOML gives every recipe back, files of earlier versions are read, and mistakes are named."""

import os
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.errors import RecipeError
from firstlight.files import write_text
from firstlight.training.recipe import GROUPS, HOMES, Recipe
from firstlight.training.recipe_file import RecipeFile, from_toml, to_toml

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
SPECIAL = {
    "label_from": st.sampled_from([None, "^([a-z]+)", "[^/]+/", "(é|ü)"]),
    "hidden": st.lists(st.integers(1, 4096), min_size=1, max_size=5).map(tuple),
    "model": st.sampled_from(["mlp", "cnn"]),
    "resize": st.sampled_from(["crop", "crop:0.875", "crop:0.9543", "pad", "squash"]),
    "crop_scale": st.floats(0.01, 1),
}


def values_for(name):
    """Values that a choice about training from scratch may have."""
    group, own = HOMES[name]
    hint = get_type_hints(GROUPS[group] if group else Recipe)[own]
    kinds = [hint, *get_args(hint)]
    if name in SPECIAL:
        some = SPECIAL[name]
    elif literal := next((kind for kind in kinds if get_origin(kind) is Literal), None):
        some = st.sampled_from(get_args(literal))
    elif bool in kinds:
        some = st.booleans()
    elif str in kinds:
        some = TEXT
    elif int in kinds:
        some = st.integers(2, 60)
    else:
        some = st.floats(0.01, 0.9)
    return some | st.none() if type(None) in kinds else some


ABOUT_TRANSFER = {name for name, (group, _) in HOMES.items() if group == "transfer"} | {"weights_license"}


def recipe_of(choices):
    """Return the recipe of some choices; corrections of the test split need a file of corrections."""
    return Recipe.of(**choices | ({"corrections": "some.csv"} if choices.get("correct_test") else {}))


RECIPES = st.fixed_dictionaries(
    {}, optional={name: values_for(name) for name in HOMES if name not in ABOUT_TRANSFER}
).map(recipe_of)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recipe.toml"


@given(recipe=RECIPES, source=TEXT)
@settings(deadline=None)
def test_toml_gives_every_recipe_and_its_source_back(recipe, source, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    write_text(path, to_toml(recipe, source))
    assert from_toml(path) == RecipeFile(recipe, source)


def test_a_recipe_about_transfer_comes_back_too(path):
    recipe = Recipe.of(model="timm:resnet18", ladder=True, feature_passes=3, norms="live", weights_license="permissive")
    write_text(path, to_toml(recipe, "photos"))
    assert from_toml(path) == RecipeFile(recipe, "photos")


def test_the_file_has_a_table_per_group(path):
    lines = to_toml(Recipe.of(model="mlp", lr=0.5), "digits").splitlines()
    assert lines[0] == 'source = "digits"'
    assert [line for line in lines if line.startswith("[")] == [f"[{group}]" for group in GROUPS]
    assert lines[lines.index("[model]") + 1] == 'name = "mlp"'


@pytest.mark.parametrize("text", ODD_TEXT)
def test_odd_paths_survive(text, path):
    recipe = Recipe.of(weights=text, group_by=text)
    write_text(path, to_toml(recipe, text))
    assert from_toml(path) == RecipeFile(recipe, text)


def test_a_file_with_one_line_is_a_recipe_and_whole_numbers_are_numbers(path):
    path.write_text("[optimization]\nlr = 1")
    assert from_toml(path) == RecipeFile(Recipe.of(lr=1), None)


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        (
            'source = "digits"\nmodel = "mlp"\nhidden = [32]\nfit = "pad"',
            {"model": "mlp", "hidden": (32,), "resize": "pad"},
        ),
        ('model = "mlp"\nhidden = [32]\nfit = "pad"', {"model": "mlp", "hidden": (32,), "resize": "pad"}),
        (
            'backbone = "timm:resnet18"\nviews = 3\nweights_licence = "permissive"',
            {"model": "timm:resnet18", "feature_passes": 3, "weights_license": "permissive"},
        ),
        ('backbone = "auto"\nladder = true', {"model": "auto", "ladder": True}),
        ('model = "timm:resnet18"\nviews = 1', {"model": "timm:resnet18", "pretrained": False}),
        ('source = "digits"\nmodel = "timm:resnet18"', {"model": "timm:resnet18", "pretrained": False}),
    ],
)
def test_a_file_of_an_earlier_version_is_read_with_a_note(text, choices, path):
    path.write_text(text)
    recipe, source, notes = from_toml(path)
    assert (recipe, source) == (Recipe.of(**choices), "digits" if "source" in text else None)
    assert len(notes) == 1
    assert "earlier version" in notes[0]
    assert ("from scratch" in notes[0]) == (choices.get("pretrained") is False)


def test_a_flat_file_written_today_means_what_its_names_mean_today(path):
    path.write_text('model = "timm:resnet18"\nfinetune = "all"')
    assert from_toml(path) == RecipeFile(Recipe.of(model="timm:resnet18", finetune="all"), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 5", "there is no choice epoch; did you mean epochs?"),
        ("[optimization]\nepoch = 5", "there is no choice optimization.epoch"),
        ("[optimization]\nimg_size = 5", "there is no choice optimization.img_size"),
        ("learning_speed_of_the_net = 5", "there is no choice learning_speed_of_the_net"),
        ("[optimization]\nepochs = 2.5", "epochs = 2.5: give a whole number"),
        ("epochs = true", "epochs = True: give a whole number"),
        ("lr = '0.1'", "lr = '0.1': give a number"),
        ("dropout = [0.1]", "dropout = (0.1,): give a number"),
        ("hidden = [64, 'x']", "hidden = (64, 'x'): give a list of whole numbers"),
        ("fit = 3", "resize = 3: give text"),
        ("source = 3", "source = 3: give text"),
        ("[train]\nlr = 1", "there is no group train"),
        ("[optimisation]\nlr = 1", "there is no group optimisation; did you mean optimization?"),
        ("lr = nan", "lr = nan: choose a number from 1e-09 to 100"),
        ("lr = ", "not TOML"),
        ('model = "mlp"\nbackbone = "auto"', "it sets both model and backbone; keep only model"),
        ('[model]\nbackbone = "auto"', "the choice backbone is now called model"),
        ('fit = "pad"\n[optimization]\nlr = 1', "the choice fit is now called resize"),
        ("model = 3", "model = 3: there is no such network"),
        ("lr = 1\nlr = 2", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_is_wrong(text, message, path):
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        from_toml(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused_where_a_word_is_expected(path):
    path.write_bytes(b'optimizer = "\xff"')
    with pytest.raises(RecipeError, match="optimizer = .+: choose adamw, sgd, muon"):
        from_toml(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for missing in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(RecipeError, match=r"cannot be read \(.+\); give the path of a recipe in TOML"):
            from_toml(missing)


def test_a_number_of_thousands_of_digits_is_one_line(tmp_path):
    (tmp_path / "huge.toml").write_text("seed = " + "1" * 5000)
    with pytest.raises(RecipeError, match="huge.toml: not TOML"):
        from_toml(tmp_path / "huge.toml")
