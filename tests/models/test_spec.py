"""What a network's name means is decided once: its kind, its images, its architecture; and wrong choices are told."""

import subprocess
import sys

import pytest

from firstlight.errors import RecipeError
from firstlight.models.classifier import Classifier
from firstlight.models.libraries import published
from firstlight.models.recipe import ModelRecipe
from firstlight.models.spec import NetworkSpec, architecture

RESNET = "timm:resnet18.a1_in1k"


def spec_of(**choices):
    recipe = ModelRecipe(**choices)
    return NetworkSpec.of(recipe.name, pretrained=recipe.pretrained)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_our_own_networks_are_never_pretrained_and_take_images_as_they_are(name):
    spec = spec_of(name=name)
    assert spec == NetworkSpec(name=name, published=None, pretrained=False)
    assert not spec.is_library
    assert (spec.default_side, spec.default_resize) == (64, "crop")
    assert not ModelRecipe(name=name).is_pretrained


def test_a_pretrained_network_wants_images_as_its_weights_were_made_for():
    spec = spec_of(name=RESNET)
    assert (spec.is_library, spec.pretrained, spec.published) == (True, True, published(RESNET))
    assert (spec.default_side, spec.default_resize) == (224, "crop:0.95")
    assert spec.normalization(3) == published(RESNET).normalization(3)
    assert spec_of(name="timm:vit_small_patch14_dinov2").default_resize == "crop", "all of the crop is kept"
    assert spec_of(name="torchvision:resnet50.IMAGENET1K_V1").default_resize == "crop:0.875"


def test_the_same_network_from_scratch_only_has_its_side():
    spec = spec_of(name=RESNET, pretrained=False)
    assert (spec.is_library, spec.pretrained) == (True, False)
    assert (spec.default_side, spec.default_resize) == (224, "crop")
    assert not ModelRecipe(name=RESNET, pretrained=False).is_pretrained
    assert ModelRecipe(name="auto").is_pretrained


@pytest.mark.parametrize(
    ("choices", "size", "options", "expected"),
    [
        ({"name": "mlp", "hidden": (8, 4), "dropout": 0.1}, (1, 28, 28), {}, {"hidden": [8, 4], "dropout": 0.1}),
        ({"name": "cnn", "width": 16}, (3, 32, 32), {}, {"width": 16}),
        ({"name": RESNET}, (1, 28, 28), {"enlarge": True}, {"head": "linear", "side": 224}),
        ({"name": RESNET}, (3, 28, 28), {"enlarge": False}, {"head": "linear"}),
        ({"name": RESNET}, (3, 224, 224), {"enlarge": True}, {"head": "linear"}),
        ({"name": RESNET}, (3, 64, 240), {"enlarge": True}, {"head": "linear"}),
        ({"name": RESNET, "pretrained": False}, (3, 28, 28), {"enlarge": True}, {"head": "linear"}),
        ({"name": RESNET, "pretrained": False}, (1, 28, 28), {}, {"head": "linear", "channels": 1}),
    ],
)
def test_the_architecture_follows_from_the_recipe_and_the_images(choices, size, options, expected):
    recipe = ModelRecipe(**choices)
    spec = NetworkSpec.of(recipe.name, pretrained=recipe.pretrained)
    found = architecture(spec, recipe, input_size=size, **options)
    assert found == {"name": choices["name"]} | expected
    assert Classifier(architecture=found, classes=("a", "b"), input_size=size).network.head.out_features == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ResNet", "did you mean timm:resnet18"),
        ("resnet34", "did you mean timm:resnet34"),
        ("cnm", "there is no such network; did you mean cnn"),
        ("balance", "did you mean balanced"),
        ("MLP", "choose mlp, cnn, auto, fast, balanced, best, timm:NAME or torchvision:NAME"),
        ("torchhub:resnet18", "there is no such network"),
    ],
)
def test_an_unknown_name_is_refused_at_once_with_what_was_meant(name, words):
    with pytest.raises(RecipeError, match=words) as raised:
        ModelRecipe(name=name)
    assert (raised.value.field, raised.value.value) == ("model", name)


def test_a_name_that_a_library_lacks_is_refused_with_similar_ones():
    with pytest.raises(RecipeError, match="did you mean timm:resnet18") as raised:
        spec_of(name="timm:resnet81")
    assert (raised.value.field, raised.value.value) == ("model", "timm:resnet81")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dropout", 0.99), ("dropout", "much"), ("width", 0), ("hidden", ()), ("hidden", (8, 0)), ("init", "ones"),
        ("weights_license", "gpl"), ("tta", "mirror"), ("pretrained", 1), ("weights", 3),
    ],
)  # fmt: skip
def test_impossible_choices_are_refused_by_field_and_value(field, value):
    with pytest.raises(RecipeError) as raised:
        ModelRecipe(**{field: value})
    assert (raised.value.field, raised.value.value) == (field, value)
    assert "--" not in str(raised.value)


def test_the_choices_need_no_torch():
    program = "import sys, firstlight.models.recipe; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
