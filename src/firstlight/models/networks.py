"""Our own small networks: plain `nn.Module`s that turn normalized float images into logits."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstlight.errors import RecipeError

INITS = ("default", "zero", "normal")
WHITENED = 2  # pixels a side of the patches that the cnn whitens
TINY = 16  # pixels; halving a smaller image rounds up, so that something is left of it


def build_network(architecture: dict[str, Any], input_size: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Build the network that `architecture` names, with fresh weights.

    Args:
        architecture: `{"name": "mlp", "hidden": [512, 256], "dropout": 0.2}`, `{"name": "cnn", "width": 64}`,
            `{"name": "timm:NAME"}` / `{"name": "torchvision:NAME"}` with its own head, or the same with
            `"head": "linear"` for a `probe.LinearProbe`, where `"side": 224` enlarges the images.
        input_size: channels, height and width of an image.
        num_classes: how many logits come out.

    Raises:
        RecipeError: if there is no such network.
    """
    name = str(architecture.get("name"))
    choices = {key: value for key, value in architecture.items() if key != "name"}
    if name in NETWORKS:
        return NETWORKS[name](input_size, num_classes, **choices)
    if ":" in name and choices.get("head") == "linear":
        from firstlight.models.library_network import build_library_network

        del choices["head"]
        return build_library_network(name, input_size, num_classes, **choices)
    if ":" in name:
        from firstlight.models.backbones import build_backbone

        return build_backbone(name, input_size, num_classes, **choices)
    raise RecipeError(f"--model {name}: there is no such network; choose mlp, cnn, timm:NAME or torchvision:NAME")


def mlp(
    input_size: tuple[int, int, int],
    num_classes: int,
    hidden: Sequence[int] = (512, 256, 128),
    dropout: float = 0.2,
) -> nn.Sequential:
    """Fully connected layers: flatten, then `fc1`, `relu1`, `dropout1`, `fc2` ... `output`.

    Every layer can be reached by its name: `network.fc1.weight` is float `[hidden[0], C * H * W]`.
    """
    channels, height, width = input_size
    sizes = [channels * height * width, *hidden]
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, (wide_in, wide_out) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
        layers[f"fc{number}"] = nn.Linear(wide_in, wide_out)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"dropout{number}"] = Dropout(dropout)
    layers["output"] = nn.Linear(sizes[-1], num_classes)
    return nn.Sequential(layers)


class Dropout(nn.Dropout):
    """PyTorch's dropout with cheaper dice: one random number of 64 bits decides about eight units.

    On a processor the original draws a number for each unit, one after another, which takes longer than the matrix
    products of the mlp. Here the share of silenced units is a multiple of 1/256. Elsewhere the original is quick.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that nn.Dropout gives it
        """Silence a share `p` of the units in training, and scale the others up so that their mean stays."""
        if not self.training or not self.p:
            return input
        if input.device.type != "cpu":
            return super().forward(input)
        silenced = max(1, round(256 * self.p))
        words = torch.empty(-(-input.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: input.numel()].view(input.shape) >= silenced
        return input * kept.to(input.dtype).mul_(256 / (256 - silenced))


class Block(nn.Module):
    """Widen the image, halve it, and refine it once around a shortcut."""

    def __init__(self, wide_in: int, wide_out: int, *, round_up: bool) -> None:
        super().__init__()
        self.widen = nn.Conv2d(wide_in, wide_out, 3, padding=1, bias=False)
        self.halve = nn.MaxPool2d(2, ceil_mode=round_up)
        self.norm1 = nn.BatchNorm2d(wide_out)
        self.refine = nn.Conv2d(wide_out, wide_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide_out)

    def forward(self, images: Tensor) -> Tensor:
        """Map float `[B, wide_in, H, W]` to `[B, wide_out, H / 2, W / 2]`."""
        widened = functional.gelu(self.norm1(self.halve(self.widen(images))))
        return widened + functional.gelu(self.norm2(self.refine(widened)))


class Cnn(nn.Sequential):
    """A small convolutional network for images of 28 to 64 pixels, after airbench's CIFAR-10 network.

    Its first layer is not learned: it whitens 2x2 patches, with filters computed from the training images
    (`whiten`), so that learning starts from decorrelated inputs. Source: K. Jordan, arXiv:2404.00498.

    Args:
        input_size: channels, height and width of an image.
        num_classes: how many logits come out.
        width: of the first block; the second is three times, the third six times as wide.
    """

    def __init__(self, input_size: tuple[int, int, int], num_classes: int, width: int = 32) -> None:
        channels, *sides = input_size
        if min(sides) < WHITENED:
            raise RecipeError(
                f"--model cnn needs pictures of {WHITENED} pixels a side or more; take a larger --img-size"
            )
        patches = 2 * channels * WHITENED**2  # every whitening filter and its negative
        round_up = min(sides) < TINY
        super().__init__(
            OrderedDict(
                whitening=nn.Conv2d(channels, patches, WHITENED),
                activation=nn.GELU(),
                block1=Block(patches, width, round_up=round_up),
                block2=Block(width, 3 * width, round_up=round_up),
                block3=Block(3 * width, 6 * width, round_up=round_up),
                pool=nn.AdaptiveMaxPool2d(1),
                flatten=nn.Flatten(),
                output=nn.Linear(6 * width, num_classes),
            )
        )
        self.get_submodule("whitening").get_parameter("weight").requires_grad_(False)
        self.to(memory_format=torch.channels_last)


def whiten(layer: nn.Conv2d, images: Tensor, epsilon: float = 5e-4) -> None:
    """Set the filters of `layer` to the whitening directions of the patches of `images`, and their negatives.

    Args:
        layer: a frozen convolution with `2 * C * k * k` filters of `k` by `k` pixels.
        images: normalized float `[B, C, H, W]`.
        epsilon: added to each variance, so that flat directions are not blown up to noise.
    """
    size = layer.kernel_size[0]
    patches = functional.unfold(images.double(), size).transpose(1, 2).flatten(0, 1)
    patches = patches - patches.mean(dim=0)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (directions / (variances + epsilon).sqrt()).T.reshape(-1, *layer.weight.shape[1:])
    with torch.no_grad():
        layer.weight.copy_(torch.cat([filters, -filters]))
        if layer.bias is not None:
            layer.bias.zero_()


def initialize(network: nn.Module, init: str, generator: torch.Generator) -> None:
    """Set the weights and biases of every linear and convolutional layer anew, in place.

    Args:
        network: any module.
        init: `default` is PyTorch's own (uniform, scaled by fan-in); `zero` the same with every bias at zero;
            `normal` has biases at zero and weights from a normal distribution with standard deviation 0.01.
        generator: where the random numbers come from.
    """
    assert init in INITS, init
    for layer in network.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        fan_in = layer.weight[0].numel()
        with torch.no_grad():
            if init == "normal":
                layer.weight.normal_(std=0.01, generator=generator)
            else:
                layer.weight.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
            if layer.bias is not None and init == "default":
                layer.bias.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
            elif layer.bias is not None:
                layer.bias.zero_()


NETWORKS: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "cnn": Cnn}
