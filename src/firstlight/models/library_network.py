"""A published network without its own head, under a new linear one: what a few images can teach.

The published part is the `body`. Before it stands an `entrance`, which brings small and gray images to what the
body was trained on; behind it the `head`, which gives one logit a class.
"""

from collections import OrderedDict
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from firstlight.errors import RecipeError
from firstlight.models.backbones import only_shapes_are_wanted, shape_of_answer, trying_out
from firstlight.models.libraries import Published, Size, find_network

MAX_SIDE = 8192  # pixels


class LibraryNetwork(nn.Module):
    """A network in three parts: `entrance`, `body`, `head`.

    Args:
        entrance: maps normalized images to what the body takes.
        body: maps float `[B, 3, side, side]` to features, float `[B, D]`.
        head: maps features to logits.
        replaced: the name that the body's own head had in it, as in `classifier.1`.
    """

    def __init__(self, entrance: nn.Module, body: nn.Module, head: nn.Linear, replaced: str) -> None:
        super().__init__()
        self.entrance = entrance
        self.body = body
        self.head = head
        self.replaced = replaced

    def train(self, mode: bool = True) -> Self:
        """Change the mode of what learns; frozen layers stay in evaluation mode, with the statistics they came with."""
        super().train(mode)
        for layer in self.modules():
            weights = list(layer.parameters())
            if weights and not any(one.requires_grad for one in weights):
                layer.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Map normalized float `[B, C, H, W]` to what the head sees, float `[B, D]`."""
        features: Tensor = self.body(self.entrance(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized float `[B, C, H, W]` to logits `[B, K]`."""
        logits: Tensor = self.head(self.features(images))
        return logits


class Enlarge(nn.Module):
    """Bring images to `side` by `side` pixels, bilinearly."""

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


def build_library_network(name: str, input_size: Size, num_classes: int, side: int | None = None) -> LibraryNetwork:
    """Build a network by name, with fresh weights and a linear head in place of its own.

    Like every backbone it is tried out on the `meta` device first.

    Args:
        name: `timm:NAME` or `torchvision:NAME`.
        input_size: channels, height and width of an image. One channel is to be normalized by
            `Published.normalization(1)`; the body then sees three, normalized as published.
        num_classes: how many logits come out.
        side: pixels; images are enlarged to `side` by `side` for the body. Without it they stay as they are.

    Raises:
        RecipeError: if there is no such network, it has not exactly one head, or cannot take images of this size.
    """
    library, model = find_network(name)
    _, height, width = input_size
    if side is not None and not (type(side) is int and max(height, width) <= side <= MAX_SIDE):
        raise RecipeError(
            f"--backbone {name}: pictures of {height} x {width} pixels cannot be enlarged to {side} pixels a side; "
            f"take {max(height, width)} to {MAX_SIDE}"
        )
    seen = (3, side or height, side or width)
    with trying_out(name, seen):
        trial = library.build(model, seen, 2)
        replaced = _name_of_head(name, trial, library.build(model, seen, 3))
        trial.set_submodule(replaced, nn.Identity())
        shape = shape_of_answer(trial, seen)
    if len(shape) != 1:
        raise RecipeError(f"--backbone {name} gives features of the shape {shape}, not a row of them; take another")
    body = trial if only_shapes_are_wanted() else library.build(model, seen, 2)
    body.set_submodule(replaced, nn.Identity())
    entrance = _entrance(input_size, seen, library.published(model))
    network = LibraryNetwork(entrance, body, nn.Linear(shape[0], num_classes), replaced)
    return network.to(memory_format=torch.channels_last)


def _name_of_head(name: str, network: nn.Module, of_another_size: nn.Module) -> str:
    """Find the head by what it does: its weights are the ones whose shapes follow the number of classes."""
    shapes = {path: weights.shape for path, weights in of_another_size.named_parameters()}
    changed = [path for path, weights in network.named_parameters() if weights.shape != shapes[path]]
    heads = sorted({path.rpartition(".")[0] for path in changed})
    if not heads:
        raise RecipeError(f"--backbone {name} is no classifier: it has no head to replace; take another")
    if len(heads) > 1:
        raise RecipeError(
            f"--backbone {name} has {len(heads)} heads ({', '.join(heads)}), not one to replace; take another"
        )
    return heads[0]


def _entrance(images: Size, seen: Size, record: Published) -> nn.Module:
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    if images[1:] != seen[1:]:
        steps["enlarge"] = Enlarge(seen[1])
    if images[0] != seen[0]:
        steps["color"] = GrayToColor(record)  # last: one channel is enlarged sooner than three
    return nn.Sequential(steps) if steps else nn.Identity()
