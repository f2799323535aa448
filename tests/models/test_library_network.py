"""Library networks: only the head is replaced, and small or gray images reach the body as published."""

import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import resize

from firstlight.errors import ModelFileError, RecipeError
from firstlight.inference import optimized as optimized_module
from firstlight.inference.optimized import optimized
from firstlight.models.classifier import Classifier
from firstlight.models.libraries import find_network, published
from firstlight.models.library_network import build_library_network
from firstlight.models.model_file import load_model, save_model
from firstlight.models.networks import build_network

# The smallest pictures worth giving it, how many features there are, and where its own head was.
FAMILIES = {
    "torchvision:alexnet": (64, 4096, "classifier.6"),
    "torchvision:vgg11_bn": (32, 4096, "classifier.6"),
    "torchvision:resnet18": (32, 512, "fc"),
    "torchvision:squeezenet1_0": (32, 512, "classifier.1"),
    "torchvision:squeezenet1_1": (32, 512, "classifier.1"),
    "torchvision:densenet121": (32, 1024, "classifier"),
    "torchvision:inception_v3": (299, 2048, "fc"),
    "torchvision:googlenet": (32, 1024, "fc"),
    "torchvision:mobilenet_v2": (32, 1280, "classifier.1"),
    "torchvision:mobilenet_v3_small": (32, 1024, "classifier.3"),
    "torchvision:efficientnet_b0": (32, 1280, "classifier.1"),
    "torchvision:convnext_tiny": (32, 768, "classifier.2"),
    "torchvision:vit_b_32": (64, 768, "heads.head"),
    "torchvision:swin_t": (32, 768, "head"),
    "torchvision:maxvit_t": (224, 512, "classifier.5"),
    "torchvision:regnet_y_400mf": (32, 440, "fc"),
    "torchvision:shufflenet_v2_x0_5": (32, 1024, "fc"),
    "torchvision:mnasnet0_5": (32, 1280, "classifier.1"),
    "timm:resnet18.a1_in1k": (32, 512, "fc"),
    "timm:resnetv2_18": (32, 512, "head.fc"),  # a convolution of one pixel
    "timm:dpn68": (32, 832, "classifier"),  # the same
    "timm:mobilenetv3_large_100": (32, 1280, "classifier"),
    "timm:mobilenetv4_conv_small": (32, 1280, "classifier"),
    "timm:efficientnet_b0": (32, 1280, "classifier"),
    "timm:convnext_nano": (32, 640, "head.fc"),
    "timm:vit_tiny_patch16_224": (64, 192, "head"),
    "timm:vit_small_patch14_dinov2": (56, 384, "head"),
    "timm:swin_tiny_patch4_window7_224": (64, 768, "head.fc"),
    "timm:test_convnext": (32, 64, "head.fc"),
    "timm:test_vit": (64, 64, "head"),
}

# One of each kind: a linear head, a convolution before or after the pooling, auxiliary heads, tokens.
QUICK = {
    "torchvision:resnet18",
    "torchvision:squeezenet1_1",
    "torchvision:googlenet",
    "torchvision:mobilenet_v3_small",
    "timm:resnetv2_18",
    "timm:test_convnext",
    "timm:test_vit",
}


def with_the_rest_slow(names):
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


# Small enough to be built for real in no time, with a linear head right behind the features.
LINEAR = {
    "torchvision:resnet18": 32,
    "torchvision:googlenet": 32,
    "torchvision:mobilenet_v2": 32,
    "torchvision:mobilenet_v3_small": 32,
    "torchvision:mnasnet0_5": 32,
    "timm:mobilenetv4_conv_small": 32,
    "timm:convnext_atto": 32,
    "timm:vit_tiny_patch16_224": 64,
    "timm:vit_small_patch14_dinov2": 56,
    "timm:test_convnext": 32,
    "timm:test_vit": 64,
}


def build(name="torchvision:mnasnet0_5", input_size=(3, 32, 32), **choices):
    torch.manual_seed(0)
    return build_network({"name": name, "head": "linear", **choices}, input_size, 5).eval()


def awake(network: nn.Module, images):
    """Give its norms the statistics of pictures: a deep network without any gives nearly the same for all pictures."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    for path, weights in network.named_parameters():
        if path.endswith("gamma"):  # of layer scale, which lets next to nothing through at first
            nn.init.ones_(weights)
    with torch.no_grad():
        network.train()(images)
        assert network.eval()(images).std(0).min() > 0.005
    return network


def classifier(channels=3, name="torchvision:mnasnet0_5", **choices):
    """One for pictures of 28 x 28 pixels, normalized as published."""
    torch.manual_seed(0)
    mean, std = published(name).normalization(channels)
    made = Classifier(
        architecture={"name": name, "head": "linear", **choices},
        classes=tuple("abcde"),
        input_size=(channels, 28, 28),
        mean=mean,
        std=std,
    )
    return awake(made, pictures(channels=channels))


def pictures(count=6, channels=3):
    rng = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, 28, 28), dtype=torch.uint8, generator=rng)


@pytest.mark.parametrize("name", with_the_rest_slow(FAMILIES))
def test_of_every_family_the_head_alone_is_replaced(name):
    side, features, head = FAMILIES[name]
    library, model = find_network(name)
    with torch.device("meta"):
        network = build_library_network(name, (3, side, side), 5)
        assert network.training
        assert network.features(torch.zeros(2, 3, side, side)).shape == (2, features)
        assert network.eval()(torch.zeros(2, 3, side, side)).shape == (2, 5)
        whole = library.build(model, (3, side, side), 5)
    kept = {path: weights.shape for path, weights in whole.state_dict().items() if not path.startswith(f"{head}.")}
    assert {path: weights.shape for path, weights in network.body.state_dict().items()} == kept
    assert len(whole.state_dict()) - len(kept) == (1 if name == "torchvision:maxvit_t" else 2), "weight and bias"
    assert network.replaced == head
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    with torch.device("meta"):
        gray = build_library_network(name, (1, side, side), 7, channels=1)
        assert gray.training
        assert gray.eval()(torch.zeros(2, 1, side, side)).shape == (2, 7)


@pytest.mark.parametrize("name", with_the_rest_slow(LINEAR))
def test_the_old_head_on_the_features_gives_the_old_logits(name):
    side = LINEAR[name]
    library, model = find_network(name)
    network = build(name, (3, side, side)).double()
    torch.manual_seed(1)
    images = torch.rand(4, 3, side, side, dtype=torch.float64)
    whole = awake(library.build(model, (3, side, side), 5).double(), images)
    for path, weights in network.body.state_dict().items():
        weights.copy_(whole.state_dict()[path])
    network.head = whole.get_submodule(network.replaced)
    with torch.inference_mode():
        truth = whole(images)
        torch.testing.assert_close(network(images), truth)


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_0", "torchvision:squeezenet1_1"])
def test_features_of_a_squeezenet_are_what_its_last_convolution_sees_averaged(name):
    network = build(name, (3, 64, 64))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        maps = network.body.features(images)
        assert maps.ndim == 4
        torch.testing.assert_close(network.features(images), maps.mean((2, 3)))


def test_dropout_before_the_old_head_stays():
    network = build()
    assert [type(layer) for layer in network.body.classifier] == [nn.Dropout, nn.Identity]
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(network.features(images), network.features(images))
    network.body.classifier.train()
    assert not torch.equal(network.features(images), network.features(images))


def test_small_images_are_enlarged_as_torchvision_enlarges_them():
    images = torch.rand(2, 3, 28, 28)
    network = build("torchvision:resnet18", (3, 28, 28), side=64)
    plain = build("torchvision:resnet18", (3, 64, 64))
    with torch.inference_mode():
        truth = plain(resize(images, [64, 64]))
        torch.testing.assert_close(network(images), truth, rtol=1e-4, atol=1e-5)
    assert isinstance(plain.entrance, nn.Identity)
    assert isinstance(build("torchvision:resnet18", (3, 64, 64), side=64).entrance, nn.Identity)


@pytest.mark.parametrize(
    ("name", "side"),
    [("torchvision:mobilenet_v3_small", 64), pytest.param("timm:vit_small_patch14_dinov2", 56, marks=pytest.mark.slow)],
)
def test_gray_images_give_the_logits_of_three_equal_channels(name, side):
    gray, color = classifier(1, name=name, side=side), classifier(3, name=name, side=side)
    color.network.load_state_dict(
        {path: tensor for path, tensor in gray.network.state_dict().items() if not path.startswith("entrance.")}
    )
    images = pictures(channels=1)
    with torch.inference_mode():
        truth = color(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(gray(images), truth, rtol=1e-3, atol=1e-4 * truth.abs().max().item())


def test_the_body_sees_gray_images_normalized_channel_by_channel():
    gray = classifier(1)
    record = published("torchvision:mnasnet0_5")
    images = pictures(channels=1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (record.mean, record.std))
    seen = gray.network.entrance(gray.normalize(images))
    torch.testing.assert_close(seen, (images / 255 - mean) / std, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "choices", "words"),
    [
        ("timm:levit_128", {}, r"has 2 heads \(head.linear, head_dist.linear\)"),
        ("timm:gemma4_vit_167m_enc", {}, "is not a classifier: it has no head"),
        ("torchvision:resnet18", {"side": 27}, "28 x 28 pixels cannot be enlarged to 27 x 27; choose 28 to"),
        ("torchvision:resnet18", {"side": 10**9}, "cannot be enlarged to 1000000000 x"),
        ("torchvision:resnet18", {"side": True}, "cannot be enlarged to True x True"),
        ("torchvision:resnet18", {"side": [64]}, "cannot be enlarged"),
        ("torchvision:alexnet", {}, "cannot take pictures of 28 x 28 pixels"),
        ("torchvision:vit_b_32", {"side": 50}, "cannot take pictures of 50 x 50 pixels"),
        ("torchvision:resnet18", {"channels": 1}, "it takes 3 channels, or 1 for gray pictures, not 1"),
        ("torchvision:resnet18", {"channels": "3"}, "it takes 3 channels"),
        ("torchvision:resnet81", {}, "did you mean"),
    ],
)
def test_what_cannot_be_built_is_one_clear_line(name, choices, words):
    with pytest.raises(RecipeError, match=words) as raised:
        build(name, (3, 28, 28), **choices)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("head", [None, "conic", ["linear"]])
def test_other_heads_are_refused(head):
    with pytest.raises(RecipeError, match="its head can only be 'linear', not"):
        build_network({"name": "torchvision:resnet18", "head": head, "side": 64}, (3, 32, 32), 5)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        pytest.param("torchvision:mobilenet_v2", 3, marks=pytest.mark.slow),
        ("torchvision:mnasnet0_5", 1),
        ("timm:test_vit", 1),
        # its table of positions is in no file
        pytest.param("timm:swin_tiny_patch4_window7_224", 3, marks=pytest.mark.slow),
    ],
)
def test_a_saved_one_answers_the_same_to_the_last_bit(name, channels, tmp_path):
    made = classifier(channels, name=name, side=64)
    save_model(tmp_path / "model.safetensors", made)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.architecture == {"name": name, "head": "linear", "side": 64}
    with torch.inference_mode():
        assert torch.equal(loaded(pictures(channels=channels)), made(pictures(channels=channels)))


def test_a_file_with_an_impossible_side_is_refused(tmp_path):
    made = classifier()
    for side in (4, 2**40, "64"):
        made.architecture = {"name": "torchvision:mnasnet0_5", "head": "linear", "side": side}
        save_model(tmp_path / "model.safetensors", made)
        with pytest.raises(ModelFileError, match="its network cannot be built"):
            load_model(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "channels"),
    [("torchvision:mnasnet0_5", 1), ("torchvision:resnet18", 3), ("timm:test_vit", 1)],
)
def test_optimized_it_gives_the_same_logits(name, channels):
    plain = classifier(channels, name=name, side=64)
    with torch.inference_mode():
        truth = plain(pictures(channels=channels))
        answers = optimized(plain)(pictures(channels=channels))
    torch.testing.assert_close(answers, truth, rtol=1e-3, atol=1e-4 * truth.abs().max().item())


def test_optimized_its_norms_are_folded_behind_any_entrance():
    layers = [type(layer) for layer in optimized(classifier(1, side=64)).modules()]
    assert nn.Conv2d in layers
    assert nn.BatchNorm2d not in layers


def test_the_images_at_once_follow_from_the_pixels_that_the_body_gets(monkeypatch):
    monkeypatch.setattr(optimized_module, "MAX_PIXELS_AT_ONCE", 3 * 64 * 64)
    seen = []
    quick = optimized(classifier(side=64))
    quick.network.body.register_forward_hook(lambda _layer, inputs, _output: seen.append(len(inputs[0])))
    with torch.inference_mode():
        quick(pictures(8))
    assert seen == [3, 3, 2]


@pytest.mark.parametrize(
    "name", with_the_rest_slow(["torchvision:inception_v3", "torchvision:googlenet", "timm:inception_v3"])
)
def test_auxiliary_heads_never_turn_logits_into_a_tuple(name: str) -> None:
    network = build_library_network(name, (3, 96, 96), 5)
    images = torch.rand(2, 3, 96, 96)
    for mode in (True, False):
        logits = network.train(mode)(images)
        assert isinstance(logits, torch.Tensor)
        assert logits.shape == (2, 5)
        assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["torchvision:mnasnet0_5", "timm:mobilenetv3_small_050"])
def test_a_real_network_is_random_trainable_and_channels_last(name: str) -> None:
    first, second = (build_library_network(name, (3, 32, 32), 4) for _ in range(2))
    assert not any(tensor.is_meta for tensor in first.state_dict().values())
    convolution = next(layer for layer in first.modules() if isinstance(layer, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    first(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(weight.grad is not None for weight in first.parameters())
    assert not torch.equal(convolution.weight, next(iter(second.parameters())))


def test_a_body_of_one_channel_answers_as_for_three_equal_ones() -> None:
    torch.manual_seed(3)
    color = build_library_network("torchvision:resnet18", (3, 64, 64), 5).eval()
    torch.manual_seed(3)
    gray = build_library_network("torchvision:resnet18", (1, 64, 64), 5, channels=1).eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(gray(images), color(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "input_size", "words"),
    [
        ("torchvision:alexnet", (3, 28, 28), "set `img_size` to 224"),
        ("torchvision:inception_v3", (1, 28, 28), "set `img_size` to 299"),
        ("torchvision:vit_b_16", (3, 50, 50), "set `img_size` to 224"),
        ("torchvision:vit_b_16", (3, 32, 64), "cannot take pictures of 32 x 64"),
        ("timm:inception_v3", (3, 32, 32), "set `img_size` to 299"),
        ("torchvision:resnet18", (3, 0, 0), "cannot take pictures of 0 x 0"),
        ("timm:gemma4_vit_167m_enc", (3, 768, 768), "not a classifier"),
    ],
)
def test_images_that_do_not_fit_are_one_clear_line(name: str, input_size: tuple[int, int, int], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as raised:
        build_library_network(name, input_size, 10)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet81", "did you mean timm:resnet18"),
        ("torchvision:mobilnet_v2", "did you mean torchvision:mobilenet_v2"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no image classifier"),
        ("torchvision:ResNet", "no image classifier"),
        ("timm:resnet18.no_such_tag", "no image classifier"),
        ("timm:hf-hub:someone/something", "no image classifier"),
        ("timm:local-dir:/tmp", "no image classifier"),
        ("timm:", "no image classifier"),
        ("torchhub:resnet18", "no library torchhub"),
        ("resnet18", "timm:NAME or torchvision:NAME"),
    ],
)
def test_unknown_names_are_one_clear_line(name: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as raised:
        published(name)
    assert "\n" not in str(raised.value)
    with pytest.raises(RecipeError, match=words):
        build_library_network(name, (3, 64, 64), 10)
