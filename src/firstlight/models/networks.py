"""The mlp and the cnn, which need no library, and how every network is built and initialized."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstlight.errors import RecipeError
from firstlight.models.network import Network
from firstlight.models.recipe import LIBRARY_PREFIXES, unknown_network

INITS = ("default", "zero", "normal")
WHITENING_SIDE = 2  # pixels a side of the patches that the cnn whitens
ROUND_UP_BELOW = 16  # pixels; halving the sides of a smaller image rounds up, so that something is left of it


def build_network(architecture: dict[str, Any], input_size: tuple[int, int, int], num_classes: int) -> Network:
    """Build the network that `architecture` describes, with random weights.

    Args:
        architecture: `{"name": "mlp", "hidden": [512, 256], "dropout": 0.2}`, `{"name": "cnn", "width": 64}`, or
            `{"name": "timm:NAME", "head": "linear"}` and the same of torchvision, where `"side": 224` enlarges the
            images, and `"channels": 1` builds a body that takes gray images as they are.
        input_size: channels, height and width of an image.
        num_classes: number of logits.

    Raises:
        RecipeError: if there is no such network.
    """
    choices = dict(architecture)
    name = str(choices.pop("name", None))
    if name in NETWORKS:
        return NETWORKS[name](input_size, num_classes, **choices)
    if not name.startswith(LIBRARY_PREFIXES):
        raise unknown_network(name)
    from firstlight.models.library_network import build_library_network

    if (head := choices.pop("head", None)) != "linear":
        raise RecipeError(f"its head can only be 'linear', not {head!r}", field="model", value=name)
    return build_library_network(name, input_size, num_classes, **choices)


class LayerChain(Network):
    """Layers that images pass one after another, each reachable by its name, and the head.

    Args:
        layers: by name, in order.
        head: maps what the last layer returns to logits.
    """

    def __init__(self, layers: Mapping[str, nn.Module], head: nn.Linear) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = head

    def features(self, images: Tensor) -> Tensor:
        """Map normalized float `[B, C, H, W]` to features, float `[B, D]`."""
        for name, layer in self.named_children():
            if name != "head":
                images = layer(images)
        return images


def mlp(
    input_size: tuple[int, int, int],
    num_classes: int,
    hidden: Sequence[int] = (512, 256, 128),
    dropout: float = 0.2,
) -> LayerChain:
    """Return fully connected layers: flatten, then `fc1`, `relu1`, `dropout1`, `fc2` ... `head`.

    Every layer can be reached by its name: `network.fc1.weight` is float `[hidden[0], C * H * W]`.

    Args:
        input_size: channels, height and width of an image.
        num_classes: number of logits.
        hidden: widths of the hidden layers.
        dropout: fraction of each hidden layer's units that are zeroed at each training step.
    """
    channels, height, width = input_size
    sizes = [channels * height * width, *hidden]
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, (wide_in, wide_out) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
        layers[f"fc{number}"] = nn.Linear(wide_in, wide_out)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"dropout{number}"] = nn.Dropout(dropout)
    return LayerChain(layers, nn.Linear(sizes[-1], num_classes))


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


class Cnn(LayerChain):
    """A small convolutional network for images of 28 to 64 pixels, after airbench's CIFAR-10 network.

    Its first layer is not learned: it whitens 2x2 patches, with filters computed from the training images
    (`whiten`), so that learning starts from decorrelated inputs. Source: K. Jordan, arXiv:2404.00498.

    Args:
        input_size: channels, height and width of an image.
        num_classes: number of logits.
        width: of the first block; the second is three times, the third six times as wide.

    Raises:
        RecipeError: if the images are smaller than a patch.
    """

    def __init__(self, input_size: tuple[int, int, int], num_classes: int, width: int = 32) -> None:
        channels, *sides = input_size
        if min(sides) < WHITENING_SIDE:
            raise RecipeError(
                f"it needs pictures of at least {WHITENING_SIDE} x {WHITENING_SIDE} pixels; use a larger `img_size`",
                field="model",
                value="cnn",
            )
        patches = 2 * channels * WHITENING_SIDE**2  # every whitening filter and its negative
        round_up = min(sides) < ROUND_UP_BELOW
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            whitening=nn.Conv2d(channels, patches, WHITENING_SIDE),
            activation=nn.GELU(),
            block1=Block(patches, width, round_up=round_up),
            block2=Block(width, 3 * width, round_up=round_up),
            block3=Block(3 * width, 6 * width, round_up=round_up),
            pool=nn.AdaptiveMaxPool2d(1),
            flatten=nn.Flatten(),
        )
        super().__init__(layers, nn.Linear(6 * width, num_classes))
        self.get_submodule("whitening").get_parameter("weight").requires_grad_(False)
        self.to(memory_format=torch.channels_last)


def whiten(layer: nn.Conv2d, images: Tensor, epsilon: float = 5e-4) -> None:
    """Set the filters of `layer` to the whitening directions of the patches of `images`, and their negatives.

    Args:
        layer: a frozen convolution with `2 * C * k * k` filters of `k` by `k` pixels.
        images: normalized float `[B, C, H, W]`.
        epsilon: added to each variance, so that directions without variance do not become noise.
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
    """Draw new weights and biases for every linear and convolutional layer, in place.

    Args:
        network: any module.
        init: `default` is PyTorch's own (uniform, scaled by fan-in); `zero` the same with every bias at zero;
            `normal` has biases at zero and weights from a normal distribution with standard deviation 0.01.
        generator: source of the random numbers.
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


NETWORKS: dict[str, Callable[..., Network]] = {"mlp": mlp, "cnn": Cnn}
