"""Before the first step: small images are enlarged inside the network, weights and normalization are in place."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from firstlight.data.dataset import open_dataset
from firstlight.data.sources import load_data
from firstlight.models.downloads import find_weights
from firstlight.models.model_file import load_model, save_model
from firstlight.models.spec import NetworkSpec
from firstlight.training.build import build_classifier
from firstlight.training.defaults import complete
from firstlight.training.recipe import Recipe

CPU = torch.device("cpu")


def built(samples, recipe):
    """The classifier of a run, its data and its complete recipe, as `train` makes them."""
    network = NetworkSpec.of(recipe.model.name, pretrained=recipe.model.pretrained)
    file = Path(recipe.model.weights) if recipe.model.weights else None
    weights = find_weights(network, file) if network.pretrained else None
    data = open_dataset(
        samples, recipe.data, default_side=network.default_side, default_resize=network.default_resize, seed=recipe.seed
    )
    color, images = data.store.input_size[0] == 3, len(data.split.train)
    recipe = complete(recipe, color=color, images=images, resize=network.default_resize)
    return build_classifier(data, recipe, network, weights, CPU), data, recipe


@pytest.fixture
def recipe_for(backbone):
    return lambda **choices: Recipe.of(**{"model": backbone.name, "weights": str(backbone.file), **choices})


@pytest.fixture(scope="module")
def color(some_digits):
    """Digits as red on blue, 8 x 8."""
    images, labels = some_digits
    return load_data((np.stack([images, images // 2, 255 - images], axis=3), labels))


def test_the_published_weights_are_in_place_under_a_head_that_follows_from_the_seed(recipe_for, color, backbone):
    classifier, _, recipe = built(color, recipe_for(img_size=32))
    published = load_file(backbone.file)
    assert all(torch.equal(published[name], tensor) for name, tensor in classifier.network.body.state_dict().items())
    again, *_ = built(color, recipe)
    other, *_ = built(color, recipe_for(img_size=32, seed=1))
    assert torch.equal(again.network.head.weight, classifier.network.head.weight)
    assert not torch.equal(other.network.head.weight, classifier.network.head.weight)


def test_colors_are_normalized_as_the_weights_expect_and_not_as_these_images_are(color, some_digits, tmp_path):
    from torchvision.models import squeezenet1_1

    save_file(squeezenet1_1(num_classes=120).state_dict(), tmp_path / "squeezed.safetensors")
    recipe = Recipe.of(model="torchvision:squeezenet1_1", weights=str(tmp_path / "squeezed.safetensors"), img_size=32)
    classifier, *_ = built(color, recipe)
    assert classifier.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert classifier.std.tolist() == pytest.approx([0.229, 0.224, 0.225])
    gray, *_ = built(load_data(some_digits), recipe)
    assert gray.mean.tolist() == pytest.approx([(0.485 + 0.456 + 0.406) / 3])


@pytest.mark.parametrize(
    ("choices", "size", "side"),
    [({}, 8, 160), ({"img_size": 48}, 48, None), ({"img_size": 200}, 200, None)],
)
def test_only_images_that_kept_a_small_size_of_their_own_are_enlarged(choices, size, side, recipe_for, color):
    classifier, data, _ = built(color, recipe_for(**choices))
    assert data.store.input_size == classifier.input_size == (3, size, size)
    assert classifier.architecture.get("side") == side
    assert [type(step).__name__ for step in classifier.network.entrance.children()] == (["Enlarge"] if side else [])


def test_large_images_get_the_size_that_the_backbone_was_made_for(recipe_for, digits):
    images, labels = digits
    large = np.kron(images[:40], np.ones((1, 9, 10), np.uint8))  # 72 x 80
    classifier, *_ = built(load_data((large, labels[:40] % 2)), recipe_for())
    assert classifier.input_size == (1, 160, 160)
    assert "side" not in classifier.architecture


def test_what_was_built_is_saved_and_built_again_from_its_file(recipe_for, color, tmp_path):
    classifier, *_ = built(color, recipe_for())
    save_model(tmp_path / "model.safetensors", classifier)
    again = load_model(tmp_path / "model.safetensors")
    assert again.architecture == classifier.architecture
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(again.eval()(images), classifier.eval()(images))


def test_the_recipe_is_complete_and_the_defaults_suit_the_images(recipe_for, color, some_digits):
    for samples in (color, load_data(some_digits)):
        _, data, recipe = built(samples, recipe_for())
        assert recipe.augmentation.flip is (data.store.input_size[0] == 3)
        assert recipe.augmentation.shift < 8, "a picture is never shifted out of itself by a default"
        assert recipe.optimization.epochs
        assert recipe.data.resize == "crop:0.95"
