"""Test-time augmentation: the views are those that NumPy makes by hand, and the answer is their mean."""

import numpy as np
import pytest
import torch

from firstlight.errors import ModelFileError, RecipeError
from firstlight.models.classifier import Classifier
from firstlight.models.model_file import load_model, save_model
from firstlight.models.recipe import ModelRecipe
from firstlight.models.spec import NetworkSpec, architecture
from firstlight.models.views import VIEWS, views_of


def by_hand(image: np.ndarray, kinds: str) -> list[np.ndarray]:
    """The views of a picture [H, W], by repeating its border and cutting the window out."""
    wider = np.pad(image, 1, mode="reflect" if min(image.shape) > 1 else "edge")
    height, width = image.shape
    moved = [wider[1 + step : 1 + step + height, 1 + step : 1 + step + width] for step in (0, -1, 1)]
    views = moved if "move" in kinds else moved[:1]
    return [side for view in views for side in ((view, view[:, ::-1]) if "mirror" in kinds else (view,))]


def build(tta: str | None, name: str = "mlp", size: tuple[int, int, int] = (1, 8, 8)) -> Classifier:
    torch.manual_seed(0)
    architecture = {"name": name} | ({"tta": tta} if tta else {})
    return Classifier(architecture=architecture, classes=("a", "b", "c"), input_size=size).eval()


@pytest.fixture
def images(digits) -> torch.Tensor:
    """Real digits, uint8 [N, 1, 8, 8]."""
    return torch.from_numpy(digits[0][:60, :, :, None]).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kinds", VIEWS)
@pytest.mark.parametrize("shape", [(4, 6), (1, 5), (5, 1), (1, 1)])
def test_the_views_are_those_made_by_hand(kinds, shape):
    image = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    found = [view[0, 0].numpy() for view in views_of(torch.from_numpy(image)[None, None], kinds)]
    expected = by_hand(image, kinds)
    assert len(found) == {"mirror": 2, "move": 3, "mirror+move": 6}[kinds]
    for ours, hand in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, hand)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("kinds", VIEWS)
def test_the_answer_is_the_mean_over_the_views(kinds, name, images):
    plain, averaged = build(None, name), build(kinds, name)
    seen = images.numpy()[:, 0]
    views = np.stack([by_hand(image, kinds) for image in seen], axis=1)
    each = [plain(torch.from_numpy(np.ascontiguousarray(view))[:, None]) for view in views]
    torch.testing.assert_close(averaged(images), torch.stack(each).mean(0), atol=2e-6, rtol=0)
    assert not torch.allclose(averaged(images), plain(images), atol=1e-3)


def test_a_mirrored_image_gets_the_same_answer(images):
    averaged = build("mirror")
    torch.testing.assert_close(averaged(images), averaged(images.flip(3)), atol=1e-6, rtol=0)


def test_training_sees_the_image_alone(images):
    plain, averaged = build(None, "cnn").train(), build("mirror+move", "cnn").train()
    assert torch.equal(plain(images), averaged(images))


def test_the_file_keeps_the_views_and_refuses_others(tmp_path, images):
    averaged = build("mirror+move")
    save_model(tmp_path / "model.safetensors", averaged)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.tta == "mirror+move"
    assert torch.equal(loaded(images), averaged(images))
    averaged.architecture["tta"] = "mirror+mirror"
    save_model(tmp_path / "odd.safetensors", averaged)
    with pytest.raises(ModelFileError, match=r"odd\.safetensors: .*there are no such views; choose mirror, move"):
        load_model(tmp_path / "odd.safetensors")


def test_a_summary_names_each_layer_once():
    assert build("mirror+move", "cnn").summary() == build(None, "cnn").summary()


def of_training(name: str = "cnn", *, pretrained: bool = True, **shown) -> dict:
    recipe = ModelRecipe(name=name, pretrained=pretrained, tta=True)
    spec = NetworkSpec.of(recipe.name, pretrained=recipe.pretrained)
    return architecture(spec, recipe, input_size=(1, 28, 28), **shown)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [({"flip": True}, "mirror"), ({"shift": 2}, "move"), ({"flip": True, "shift": 2}, "mirror+move")],
)
def test_the_views_are_those_that_training_shows(shown, expected):
    assert of_training(**shown)["tta"] == expected
    assert of_training("timm:test_resnet", pretrained=False, **shown)["tta"] == expected


def test_without_other_views_or_with_pretrained_weights_it_is_refused():
    with pytest.raises(RecipeError, match="training uses no other views") as raised:
        of_training()
    assert (raised.value.field, raised.value.value) == ("tta", True)
    with pytest.raises(RecipeError, match="only for networks trained from scratch"):
        of_training("timm:test_resnet", flip=True)
