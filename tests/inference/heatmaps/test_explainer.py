"""Heatmaps of a classifier: which method its network allows, and that the classifier stays as it was."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.errors import RecipeError
from firstlight.inference.heatmaps.explainer import METHODS, Explainer, heatmap
from firstlight.models.classifier import Classifier

CLASSES = ("cat", "dog", "owl")
NETWORKS = {
    "cnn": ("gradcam", "block3"),
    "timm:tf_efficientnet_lite0": ("gradcam", "body.bn2"),
    "torchvision:mobilenet_v2": ("gradcam", "body.features"),
    "timm:resnet18": ("gradcam", "body.layer4"),
    "torchvision:squeezenet1_1": ("gradcam", "body.classifier.2"),
    "timm:vit_tiny_patch16_224": ("attention", None),
    "mlp": ("occlusion", None),
}


def made_of(name, size=(3, 64, 64)):
    torch.manual_seed(0)
    architecture = {"name": name} | ({"head": "linear"} if ":" in name else {"width": 8} if name == "cnn" else {})
    return Classifier(architecture=architecture, classes=CLASSES, input_size=size)


def images_of(count, size=(3, 64, 64), seed=0):
    return torch.randint(0, 256, (count, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def cnn():
    return made_of("cnn", (1, 28, 28)).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_each_kind_of_network_gets_the_method_that_suits_it(name):
    explainer = Explainer(made_of(name, (3, 128, 128)))
    assert (explainer.method, explainer.layer) == NETWORKS[name]
    found = explainer(images_of(2, (3, 128, 128)), torch.tensor([0, 2]))
    assert (found.shape, found.dtype) == ((2, 128, 128), torch.float32)
    assert found.min() >= 0
    assert set(found.amax(dim=(1, 2)).tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "method", "message"),
    [
        ("mlp", "gradcam", "no layer that keeps places up to its end; choose occlusion"),
        ("timm:vit_tiny_patch16_224", "layercam", "no layer that keeps places"),
        ("cnn", "attention", "no attention that can be looked at; choose occlusion"),
        ("cnn", "gradcamm", "did you mean gradcam"),
    ],
)
def test_a_method_that_the_network_does_not_allow_is_refused_in_one_line(name, method, message):
    with pytest.raises(RecipeError, match=message) as refused:
        Explainer(made_of(name), method)
    assert refused.value.field == "method"
    assert "\n" not in str(refused.value)


def state_of(model):
    hooks = [
        len(found)
        for layer in model.modules()
        for found in (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks)
    ]
    return (
        [layer.training for layer in model.modules()],
        sum(hooks),
        [(weights.requires_grad, weights.grad is None, weights.clone()) for weights in model.parameters()],
        [buffer.clone() for buffer in model.buffers()],
    )


def same(one, other):
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else same(a, b) if isinstance(a, list | tuple) else a == b
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("method", [method for method in METHODS if method != "attention"])
def test_the_classifier_stays_as_it_was_even_after_an_error(method):
    model = made_of("cnn", (1, 28, 28))  # in training mode
    before = state_of(model)
    explainer = Explainer(model, method)
    explainer(images_of(2, (1, 28, 28)), torch.tensor([0, 1]))
    with pytest.raises((RuntimeError, IndexError)):
        explainer(images_of(2, (1, 28, 28)), torch.tensor([0, 9]))
    with pytest.raises(RuntimeError):
        explainer(images_of(2, (3, 28, 28)), torch.tensor([0, 1]))
    assert same(state_of(model), before)


def test_weights_are_shared_and_not_copied(cnn):
    explainer = Explainer(cnn)
    for own, other in zip(explainer.model.parameters(), cnn.parameters(), strict=True):
        assert own.data_ptr() == other.data_ptr()
        assert not own.requires_grad


@pytest.mark.parametrize("method", ["gradcam", "layercam", "occlusion"])
def test_frozen_weights_and_inference_mode_change_nothing(method, cnn):
    images, classes = images_of(3, (1, 28, 28)), torch.tensor([0, 1, 2])
    wanted = Explainer(cnn, method)(images, classes)
    frozen = pickle.loads(pickle.dumps(cnn)).requires_grad_(False)
    assert torch.equal(Explainer(frozen, method)(images, classes), wanted)
    with torch.inference_mode():
        born_there = pickle.loads(pickle.dumps(cnn))
        assert torch.equal(Explainer(born_there, method)(images.clone(), classes.clone()), wanted)
    with torch.no_grad():
        assert torch.equal(Explainer(cnn, method)(images, classes), wanted)


def test_where_the_last_layer_is_too_coarse_to_point_layer_cam_looks_at_an_earlier_one(cnn):
    for method, wanted in [
        ("auto", ("layercam", "block2")),
        ("layercam", ("layercam", "block2")),
        ("gradcam", ("gradcam", "block3")),
    ]:
        explainer = Explainer(cnn, method)
        assert (explainer.method, explainer.layer) == wanted
    chosen = Explainer(cnn, layer="block3")
    assert (chosen.method, chosen.layer) == ("gradcam", "block3")


def test_several_threads_get_what_each_would_get_alone(cnn):
    explainer = Explainer(cnn)
    batches = [images_of(4, (1, 28, 28), seed) for seed in range(12)]
    classes = torch.tensor([0, 1, 2, 0])
    alone = [explainer(batch, classes) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda batch: explainer(batch, classes), batches))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    for batch, heat in zip(batches, alone, strict=True):
        assert torch.equal(Explainer(cnn)(batch, classes), heat), "the same again"


def test_it_can_be_pickled(cnn):
    explainer = Explainer(cnn)
    images, classes = images_of(2, (1, 28, 28)), torch.tensor([0, 1])
    assert torch.equal(pickle.loads(pickle.dumps(explainer))(images, classes), explainer(images, classes))


def test_a_heatmap_does_not_depend_on_the_batch(cnn):
    images, classes = images_of(5, (1, 28, 28)), torch.tensor([0, 1, 2, 0, 1])
    together = Explainer(cnn)(images, classes)
    for place in range(5):
        alone = heatmap(cnn, images[place].permute(1, 2, 0).numpy(), int(classes[place]))
        assert np.allclose(alone, together[place], atol=1e-5)


def test_of_a_classifier_with_views_the_image_as_it_is_is_explained(cnn):
    architecture = {"name": "cnn", "width": 8, "tta": "mirror+move"}
    with_views = Classifier(architecture=architecture, classes=CLASSES, input_size=(1, 28, 28)).eval()
    with_views.load_state_dict(cnn.state_dict())
    images, classes = images_of(2, (1, 28, 28)), torch.tensor([0, 1])
    explainer = Explainer(with_views)
    assert torch.equal(explainer(images, classes), Explainer(cnn)(images, classes))
    with torch.no_grad():
        assert torch.equal(explainer.probabilities(images), with_views.probabilities(images)), "answers have all views"


def test_another_layer_can_be_looked_at(cnn):
    images, classes = images_of(2, (1, 28, 28)), torch.tensor([0, 1])
    assert not torch.equal(Explainer(cnn, layer="block2")(images, classes), Explainer(cnn, "gradcam")(images, classes))
    with pytest.raises(RecipeError, match="no such layer"):
        Explainer(cnn, layer="block9")


def test_a_network_that_changes_in_place_what_was_looked_at_gets_the_same_heatmap(cnn):
    class InPlace(nn.Module):
        def forward(self, activations):
            return activations.mul_(1.0).clamp_(min=-1e9)

    changed = pickle.loads(pickle.dumps(cnn))
    before = Explainer(cnn, layer="block3")(images_of(2, (1, 28, 28)), torch.tensor([0, 1]))
    changed.network.pool = nn.Sequential(InPlace(), changed.network.pool)
    after = Explainer(changed, layer="block3")(images_of(2, (1, 28, 28)), torch.tensor([0, 1]))
    assert torch.equal(before, after)


def test_a_class_goes_by_name_or_by_number(cnn):
    pixels = images_of(1, (1, 28, 28))[0].permute(1, 2, 0).numpy()
    assert np.array_equal(heatmap(cnn, pixels, "owl"), heatmap(cnn, pixels, 2))
    with pytest.raises(RecipeError, match="knows cat, dog, owl; did you mean owl") as refused:
        heatmap(cnn, pixels, "owls")
    assert refused.value.field == "class"
    for wrong in (3, -1, 1.0, None):
        with pytest.raises(RecipeError):
            heatmap(cnn, pixels, wrong)
