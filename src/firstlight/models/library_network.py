"""A network of timm or torchvision as a `Network`: its own head is replaced by a linear one.

Everything before the head is the `body`. Before that stands an `entrance`, which brings small and gray images to what
the body takes.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstlight.errors import RecipeError
from firstlight.models.libraries import Published, Size, find_network, published
from firstlight.models.network import Network

MAX_SIDE = 8192  # pixels


class LibraryNetwork(Network):
    """A network in three parts: `entrance`, `body`, `head`.

    Args:
        entrance: maps normalized images to what the body takes.
        body: maps float `[B, C, H, W]` to features, float `[B, D]`.
        head: maps features to logits.
        replaced: the name that the body's own head had in it, such as `classifier.1`.
    """

    def __init__(self, entrance: nn.Module, body: nn.Module, head: nn.Linear, replaced: str) -> None:
        super().__init__()
        self.entrance = entrance
        self.body = body
        self.head = head
        self.replaced = replaced

    def features(self, images: Tensor) -> Tensor:
        """Map normalized float `[B, C, H, W]` to features, float `[B, D]`."""
        features: Tensor = self.body(self.entrance(images))
        return features


class Enlarge(nn.Module):
    """Resize images to `side` by `side` pixels, bilinearly."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Map float `[B, C, H, W]` to `[B, C, side, side]`."""
        return functional.interpolate(images, size=(self.side, self.side), mode="bilinear")


class GrayToColor(nn.Module):
    """Turn a gray channel, normalized by one mean and deviation, into three, each normalized by its own."""

    scale: Tensor
    shift: Tensor

    def __init__(self, record: Published) -> None:
        super().__init__()
        (gray_mean,), (gray_std,) = record.normalization(1)
        own = list(zip(record.mean, record.std, strict=True))
        self.register_buffer("scale", torch.tensor([gray_std / std for _, std in own]))
        self.register_buffer("shift", torch.tensor([(gray_mean - mean) / std for mean, std in own]))

    def forward(self, images: Tensor) -> Tensor:
        """Map float `[B, 1, H, W]` to `[B, 3, H, W]`."""
        return torch.addcmul(self.shift[:, None, None], images, self.scale[:, None, None])


def build_library_network(
    name: str, input_size: Size, num_classes: int, *, side: int | None = None, channels: int = 3
) -> LibraryNetwork:
    """Build a network by name, with random weights and a linear head in place of its own.

    It is first tried on the `meta` device, which has shapes but no numbers, so that a wrong size costs neither time nor
    memory.

    Args:
        name: `timm:NAME` or `torchvision:NAME`.
        input_size: channels, height and width of an image. One channel is to be normalized by
            `Published.normalization(1)`; the body then gets three, normalized as published.
        num_classes: number of logits.
        side: pixels; images are enlarged to `side` by `side` for the body. Without it they stay as they are.
        channels: what the body takes: 3, or 1 for a body of its own kind that takes gray images as they are.

    Raises:
        RecipeError: if there is no such network, it has not exactly one head, or cannot take images of this size.
    """
    library, model = find_network(name)
    given, height, width = input_size
    if side is not None and not (type(side) is int and max(height, width) <= side <= MAX_SIDE):
        raise RecipeError(
            f"pictures of {height} x {width} pixels cannot be enlarged to {side} x {side}; "
            f"choose {max(height, width)} to {MAX_SIDE}",
            field="model",
            value=name,
        )
    if channels != 3 and (type(channels) is not int or channels != given):
        raise RecipeError(f"it takes 3 channels, or 1 for gray pictures, not {channels}", field="model", value=name)
    body_size = (channels, side or height, side or width)
    with trying_out(name, body_size):
        trial = library.build(model, body_size, 2)
        replaced = name_of_head(name, trial, library.build(model, body_size, 3))
        trial.set_submodule(replaced, nn.Identity())
        shape = _shape_of_answer(trial, body_size)
    if len(shape) != 1:
        raise RecipeError(
            f"its features have the shape {shape}, not one row; choose another network", field="model", value=name
        )
    body = trial if _only_shapes_are_wanted() else library.build(model, body_size, 2)
    body.set_submodule(replaced, nn.Identity())
    entrance = _entrance(input_size, body_size, library.published(model))
    network = LibraryNetwork(entrance, body, nn.Linear(shape[0], num_classes), replaced)
    return network.to(memory_format=torch.channels_last)


def name_of_head(name: str, network: nn.Module, with_other_classes: nn.Module) -> str:
    """Return the path of the head inside a network: the layer whose shapes follow the number of classes.

    Args:
        name: of the network, for messages.
        network: on any device.
        with_other_classes: the same network, built for another number of classes.

    Raises:
        RecipeError: if there is no such layer, or more than one.
    """
    shapes = {path: weights.shape for path, weights in with_other_classes.named_parameters()}
    changed = [path for path, weights in network.named_parameters() if weights.shape != shapes[path]]
    heads = sorted({path.rpartition(".")[0] for path in changed})
    if not heads:
        raise RecipeError(
            "it is not a classifier: it has no head to replace; choose another network", field="model", value=name
        )
    if len(heads) > 1:
        raise RecipeError(
            f"it has {len(heads)} heads ({', '.join(heads)}), not one; choose another network",
            field="model",
            value=name,
        )
    return heads[0]


@contextmanager
def trying_out(name: str, input_size: Size) -> Iterator[None]:
    """Build on the `meta` device inside the block; any failure there becomes a `RecipeError` about the images' size."""
    try:
        with torch.device("meta"):
            yield
    except RecipeError:
        raise
    except Exception as error:  # some 1,400 networks, and each fails in its own way
        channels, height, width = input_size
        side = published(name).input_size[1]
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RecipeError(
            f"it cannot take pictures of {height} x {width} pixels and {channels} channels "
            f"({reason}); it was made for {side} x {side}: set `img_size` to {side}",
            field="model",
            value=name,
        ) from error


def _shape_of_answer(network: nn.Module, input_size: Size) -> tuple[int, ...]:
    """Return the shape of a network's answer for one image, on the `meta` device; it is left in training mode."""
    with torch.no_grad():
        answer = network.eval()(torch.zeros(1, *input_size))
    network.train()
    return tuple(answer.shape[1:])


def _only_shapes_are_wanted() -> bool:
    """Return whether the caller builds on the `meta` device, to learn what a file must hold."""
    return torch.get_default_device().type == "meta"


def _entrance(images: Size, body_size: Size, record: Published) -> nn.Module:
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    if images[1:] != body_size[1:]:
        steps["enlarge"] = Enlarge(body_size[1])
    if images[0] != body_size[0]:
        steps["color"] = GrayToColor(record)  # last: one channel is enlarged sooner than three
    return nn.Sequential(steps) if steps else nn.Identity()
