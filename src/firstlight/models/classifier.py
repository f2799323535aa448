"""The Classifier: a network with its classes, normalization and temperature; uint8 images in, logits out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from firstlight.errors import RecipeError, require_type
from firstlight.models.network import Network
from firstlight.models.networks import build_network, whiten
from firstlight.models.trust import Trust
from firstlight.models.views import VIEWS, views_of
from firstlight.white import MAX_PIXELS, TYPES_WHITE, White

MAX_WHITENING_PIXELS = 6_000_000  # the covariance of patches is stable with far fewer; more would only take memory


class Classifier(nn.Module):
    """Map uint8 images to logits: normalize, then run the network. An ordinary `nn.Module`.

    Args:
        architecture: the network by name, with its choices; see `networks.build_network`. With `"tta"`, one of
            `views.VIEWS`, the answer in evaluation mode is the mean over these views of an image.
        classes: the classes' names, in the order of the logits.
        input_size: channels, height and width of an image.
        resize: how an image of another size is brought to this one: `crop`, `crop:FRACTION`, `pad` or `squash`.
        mean: per channel, in units of 0..1; subtracted inside `forward`.
        std: per channel, in units of 0..1; divided by inside `forward`.
        max_pixels: image files with more pixels are not decoded.
        white: which value of more than 8 bits is white in image files and arrays.

    Attributes:
        file: the model file that it was loaded from, or last saved to; None if there is none.
        trust: when it is unsure; None if it cannot tell.

    Raises:
        RecipeError: if there is no such network, or no such `tta`.
    """

    file: Path | None = None
    trust: Trust | None = None
    mean: Tensor
    std: Tensor
    temperature: Tensor

    def __init__(
        self,
        *,
        architecture: dict[str, Any],
        classes: tuple[str, ...],
        input_size: tuple[int, int, int],
        resize: str = "crop",
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        max_pixels: int = MAX_PIXELS,
        white: White = TYPES_WHITE,
    ) -> None:
        super().__init__()
        require_type(architecture, dict, "architecture", 'a dict such as {"name": "mlp"}')
        self.architecture = architecture
        self.classes = tuple(classes)
        self.input_size = input_size
        self.resize = resize
        self.max_pixels = max_pixels
        self.white = white
        self.register_buffer("mean", torch.tensor(mean or (0.5,) * input_size[0]))
        self.register_buffer("std", torch.tensor(std or (0.5,) * input_size[0]))
        self.register_buffer("temperature", torch.tensor(1.0))
        choices = dict(architecture)
        self.tta: str | None = choices.pop("tta", None)
        if self.tta is not None and self.tta not in VIEWS:
            raise RecipeError(f"there are no such views; choose {', '.join(VIEWS)}", field="tta", value=self.tta)
        self.network: Network = build_network(choices, input_size, len(classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 `[B, C, H, W]` to logits, float32 `[B, K]`."""
        images = self.normalize(images)
        if self.training or self.tta is None:
            logits: Tensor = self.network(images)
            return logits.float()
        return torch.stack([self.network(view).float() for view in views_of(images, self.tta)]).mean(dim=0)

    def features(self, images: Tensor) -> Tensor:
        """Map uint8 `[B, C, H, W]` to what the head gets, float32 `[B, D]`; never averaged over views."""
        return self.network.features(self.normalize(images)).float()

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 `[B, C, H, W]` to features and logits, float32 `[B, D]` and `[B, K]`, in one pass."""
        images = self.normalize(images)
        if self.training or self.tta is None:
            features, logits = self.network.features_and_logits(images)
            return features.float(), logits.float()
        found = [self.network.features_and_logits(view) for view in views_of(images, self.tta)]
        features, _ = found[0]  # of the images as they are, which come first
        return features.float(), torch.stack([logits.float() for _, logits in found]).mean(dim=0)

    def probabilities(self, images: Tensor) -> Tensor:
        """Map uint8 `[B, C, H, W]` to calibrated probabilities, float32 `[B, K]`, each row summing to 1."""
        return self.calibrated(self(images))

    def calibrated(self, logits: Tensor) -> Tensor:
        """Map logits to calibrated probabilities, float32 `[B, K]`, each row summing to 1."""
        return torch.softmax(logits / self.temperature, dim=1)

    def normalize(self, images: Tensor) -> Tensor:
        """Map uint8 0..255 to float with about zero mean and unit variance, the same shape and layout."""
        scale = 1 / (255 * self.std)
        shift = -self.mean / self.std
        return torch.addcmul(shift[:, None, None], images.float(), scale[:, None, None])

    def fit_normalization(self, images: Tensor) -> None:
        """Compute mean and standard deviation from images, and the whitening filters where the network has any.

        Args:
            images: uint8 `[B, C, H, W]`, training images only.
        """
        # note: counts of the 256 levels are exact, and take no more memory than the images
        counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)])
        fractions = counts.double() / counts.sum(dim=1, keepdim=True)
        levels = torch.arange(256, device=images.device).double() / 255
        mean = fractions @ levels
        variance = (fractions * (levels - mean[:, None]).square()).sum(dim=1)
        self.mean.copy_(mean)
        self.std.copy_(variance.sqrt().clamp_min(1 / 255))
        if isinstance(layer := getattr(self.network, "whitening", None), nn.Conv2d):
            some = images[:: max(1, images[:, 0].numel() // MAX_WHITENING_PIXELS)]
            whiten(layer, self.normalize(some))

    def normalize_as(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Set mean and standard deviation per channel, in units of 0..1, such as published weights expect."""
        self.mean.copy_(torch.tensor(mean))
        self.std.copy_(torch.tensor(std))

    def summary(self) -> str:
        """Return a table of the layers: name, kind, output shape for one image, number of parameters.

        A layer that does nothing has no row, and a norm with its activation inside has one.
        """
        rows: list[tuple[str, str, str, str]] = []
        layers = _layers_of(self.network)
        hooks = [layer.register_forward_hook(_row_writer(name, rows)) for name, layer in layers.items()]
        try:
            with evaluating(self), torch.inference_mode():
                black = torch.zeros(1, *self.input_size, dtype=torch.uint8, device=self.mean.device)
                self.network(self.normalize(black))
        finally:
            for hook in hooks:
                hook.remove()
        called = {row[0] for row in rows}
        for name, layer in layers.items():  # attention of torch reads the weights of a layer without calling it
            if name not in called and (count := _own_parameters(layer)):
                rows.append((name, type(layer).__name__, "", f"{count:,}"))
        counted = list(self.parameters())
        total = sum(weights.numel() for weights in counted)
        learned = sum(weights.numel() for weights in counted if weights.requires_grad)
        table = [("layer", "kind", "output", "parameters"), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}"
            for row in table
        ]
        return "\n".join([*lines, f"{total:,} parameters, {learned:,} of them learned"])


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode inside the block; afterwards each submodule has its own mode again."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that get a row in a table: those with parameters of their own, and those without parts."""
    found: dict[str, nn.Module] = {}
    parts_of_layers: set[nn.Module] = set()
    for name, layer in network.named_modules():
        if layer in parts_of_layers or isinstance(layer, nn.Identity):
            continue
        parts, own = [part for part in layer.modules() if part is not layer], _own_parameters(layer)
        if own and not any(map(_own_parameters, parts)):
            parts_of_layers.update(parts)
        if own or not parts:
            found[name] = layer
    return found


def _own_parameters(layer: nn.Module) -> int:
    return sum(weights.numel() for weights in layer.parameters(recurse=False))


def _row_writer(name: str, rows: list[tuple[str, str, str, str]]) -> Any:
    def write_row(layer: nn.Module, _inputs: Any, output: Any) -> None:
        shape = " x ".join(map(str, output.shape[1:])) if isinstance(output, Tensor) else ""
        rows.append((name, type(layer).__name__, shape, f"{_own_parameters(layer):,}"))

    return write_row
