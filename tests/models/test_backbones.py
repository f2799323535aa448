import subprocess
import sys

import pytest
import torch
from torch import nn

from firstlight.errors import RecipeError
from firstlight.models.backbones import build_backbone
from firstlight.models.libraries import published

# One network of each family, each with the smallest pictures that are worth giving it.
FAMILIES = {
    "torchvision:alexnet": 64,
    "torchvision:vgg11_bn": 32,
    "torchvision:resnet18": 32,
    "torchvision:squeezenet1_1": 32,
    "torchvision:densenet121": 32,
    "torchvision:inception_v3": 80,
    "torchvision:googlenet": 32,
    "torchvision:mobilenet_v2": 32,
    "torchvision:mobilenet_v3_small": 32,
    "torchvision:efficientnet_b0": 32,
    "torchvision:convnext_tiny": 32,
    "torchvision:vit_b_32": 64,
    "torchvision:swin_t": 32,
    "torchvision:maxvit_t": 224,
    "torchvision:regnet_y_400mf": 32,
    "torchvision:shufflenet_v2_x0_5": 32,
    "torchvision:mnasnet0_5": 32,
    "timm:resnet18": 32,
    "timm:resnet18.a1_in1k": 32,
    "timm:mobilenetv4_conv_small": 32,
    "timm:efficientnet_b0": 32,
    "timm:inception_v3": 96,
    "timm:vit_tiny_patch16_224": 64,
    "timm:vit_small_patch14_dinov2": 56,
    "timm:swin_tiny_patch4_window7_224": 64,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_one_logit_a_class(name: str, channels: int) -> None:
    with torch.device("meta"):
        network = build_backbone(name, (channels, FAMILIES[name], FAMILIES[name]), 7)
        assert network.training
        assert network.eval()(torch.zeros(2, channels, FAMILIES[name], FAMILIES[name])).shape == (2, 7)


@pytest.mark.parametrize("name", ["torchvision:inception_v3", "torchvision:googlenet", "timm:inception_v3"])
def test_auxiliary_heads_never_turn_logits_into_a_tuple(name: str) -> None:
    network = build_backbone(name, (3, 96, 96), 5)
    images = torch.rand(2, 3, 96, 96)
    for mode in (True, False):
        logits = network.train(mode)(images)
        assert isinstance(logits, torch.Tensor)
        assert logits.shape == (2, 5)
        assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v2", "timm:mobilenetv3_small_050"])
def test_a_real_network_is_random_trainable_and_channels_last(name: str) -> None:
    first, second = (build_backbone(name, (3, 32, 32), 4) for _ in range(2))
    assert not any(tensor.is_meta for tensor in first.state_dict().values())
    convolution = next(layer for layer in first.modules() if isinstance(layer, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    first(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(weight.grad is not None for weight in first.parameters())
    assert not torch.equal(convolution.weight, next(iter(second.parameters())))


def test_a_gray_image_gives_what_three_equal_channels_would_give() -> None:
    torch.manual_seed(3)
    color = build_backbone("torchvision:resnet18", (3, 64, 64), 5).eval()
    torch.manual_seed(3)
    gray = build_backbone("torchvision:resnet18", (1, 64, 64), 5).eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(gray(images), color(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "input_size", "words"),
    [
        ("torchvision:alexnet", (3, 28, 28), "take --img-size 224"),
        ("torchvision:inception_v3", (1, 28, 28), "take --img-size 299"),
        ("torchvision:vit_b_16", (3, 50, 50), "take --img-size 224"),
        ("torchvision:vit_b_16", (3, 32, 64), "cannot take pictures of 32 x 64"),
        ("timm:inception_v3", (3, 32, 32), "take --img-size 299"),
        ("timm:crossvit_9_240", (3, 64, 64), "take --img-size 240"),
        ("torchvision:resnet18", (3, 0, 0), "cannot take pictures of 0 x 0"),
        ("timm:gemma4_vit_167m_enc", (3, 768, 768), "no classifier"),
    ],
)
def test_images_that_do_not_fit_are_one_clear_line(name: str, input_size: tuple[int, int, int], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as raised:
        build_backbone(name, input_size, 10)
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
        build_backbone(name, (3, 64, 64), 10)


def test_recommendations_are_the_weights_own() -> None:
    assert published("torchvision:inception_v3").input_size == (3, 299, 299)
    assert published("torchvision:efficientnet_v2_s").input_size == (3, 384, 384)
    assert published("timm:vit_small_patch14_dinov2").input_size == (3, 518, 518)
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert published("torchvision:mobilenet_v2").normalization(3) == imagenet
    assert published("timm:resnet18").normalization(3) == imagenet
    assert published("timm:vit_tiny_patch16_224").normalization(3) == ((0.5,) * 3, (0.5,) * 3)


def test_only_the_library_that_is_asked_for_is_imported() -> None:
    program = (
        "import sys; from firstlight.models.backbones import build_backbone\n"
        "assert not {'timm', 'torchvision'} & set(sys.modules)\n"
        "build_backbone('torchvision:squeezenet1_1', (3, 64, 64), 3)\n"
        "assert 'timm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
