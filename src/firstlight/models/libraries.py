"""The networks of timm and torchvision by name, and what these libraries say about the weights published for each.

Each library takes seconds to import, so it is imported only when one of its networks is asked for. Nothing is
downloaded here: networks are built with random weights, and of published weights only the description is read.
"""

import difflib
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import nn

from firstlight.errors import RecipeError

Size = tuple[int, int, int]
State = dict[str, torch.Tensor]

UNKNOWN_LICENSE = "unknown"
TORCHVISION_LICENSE = "bsd-3-clause"
HUB_WEIGHTS_FILE = "model.safetensors"

# Published densenets have `denselayer1.norm.1.weight`, from before PyTorch refused dots in the names of layers.
_OLD_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")

# Licenses that torchvision gives as a link to their text.
_LICENSES_BY_LINK = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "cc-by-nc-4.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a library says about the weights published for a network: their images, their license, where they are.

    Attributes:
        input_size: channels, height and width of an image.
        mean: per channel, in units of 0..1.
        std: per channel, in units of 0..1.
        crop: the fraction of an image's short side that is kept, 0..1; the rest is its border.
        license: its SPDX identifier in lower case, or `unknown`.
        url: where the file is; empty if nothing was published.
        hub: the Hugging Face repository that holds it, or empty.
        file: its name; empty if nothing was published.
    """

    input_size: Size
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float
    license: str = UNKNOWN_LICENSE
    url: str = ""
    hub: str = ""
    file: str = ""

    def normalization(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation for images of 1 or 3 channels; for gray ones, the channels' average."""
        if channels == len(self.mean):
            return self.mean, self.std
        return (sum(self.mean) / len(self.mean),) * channels, (sum(self.std) / len(self.std),) * channels


@dataclass(frozen=True, slots=True)
class Library:
    """A source of networks: their names, how to build one, what is known of its weights, and how to convert them.

    Weight files may be older than the library: `convert` renames older tensors, and resamples what depends on the
    images' size, such as a transformer's positions, to the size of the network it is given.
    """

    names: Callable[[], list[str]]
    build: Callable[[str, Size, int], nn.Module]
    published: Callable[[str], Published]
    convert: Callable[[str, nn.Module, State], State]


def find_network(name: str) -> tuple[Library, str]:
    """Return the library of a network and its name there; only names that the library lists are accepted.

    Args:
        name: `timm:NAME` or `torchvision:NAME`; `.TAG` may follow, where there are several weights.

    Raises:
        RecipeError: if there is no such network.
    """
    prefix, _, model = name.partition(":")
    if prefix not in LIBRARIES:
        raise RecipeError(f"there is no library {prefix}; use timm:NAME or torchvision:NAME", field="model", value=name)
    library = LIBRARIES[prefix]
    names = library.names()
    if model not in names:
        close = difflib.get_close_matches(model, names, n=3)
        advice = f"did you mean {', '.join(f'{prefix}:{one}' for one in close)}?" if close else "check the name"
        raise RecipeError(f"{prefix} has no image classifier of that name; {advice}", field="model", value=name)
    return library, model


def published(name: str) -> Published:
    """Return what is known of the weights published for `timm:NAME` or `torchvision:NAME`.

    Raises:
        RecipeError: if there is no such network.
    """
    library, model = find_network(name)
    return library.published(model)


def _timm_names() -> list[str]:
    import timm

    return [*timm.list_models(), *timm.list_pretrained()]  # `resnet18`, and `resnet18.a1_in1k` with its weights' tag


def _build_timm(model: str, input_size: Size, num_classes: int) -> nn.Module:
    import timm

    channels, *size = input_size
    config = timm.get_pretrained_cfg(model)
    assert config is not None, "every listed network has one"
    # Transformers hold one position per patch: another size must be given when they are built.
    resized = config.fixed_input_size and list(config.input_size[1:]) != size
    options: dict[str, Any] = {"img_size": tuple(size)} if resized else {}
    network: nn.Module = timm.create_model(
        model, pretrained=False, in_chans=channels, num_classes=num_classes, **options
    )
    return network


def _published_by_timm(model: str) -> Published:
    import timm

    config = timm.get_pretrained_cfg(model)
    assert config is not None, "every listed network has one"
    channels, height, width = config.input_size
    hub = config.hf_hub_id or ""
    url = f"https://huggingface.co/{hub}/resolve/main/{HUB_WEIGHTS_FILE}" if hub else str(config.url or "")
    return Published(
        input_size=(channels, height, width),
        mean=tuple(config.mean),
        std=tuple(config.std),
        crop=min(1.0, config.crop_pct),  # above 1 an image would get a frame
        license=(config.license or UNKNOWN_LICENSE).lower(),
        url=url,
        hub=hub,
        file=PurePosixPath(url).name,
    )


def _convert_for_timm(model: str, network: nn.Module, state: State) -> State:
    import timm

    # By timm's custom the file that defines a family has a function of this name, if old files need one.
    family = sys.modules[timm.model_entrypoint(model).__module__]
    convert = getattr(family, "checkpoint_filter_fn", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how it resamples
        return dict(convert(state, network)) if convert else state


def _torchvision_names() -> list[str]:
    from torchvision import models

    names = models.list_models(module=models)  # without detection, segmentation and video
    return [*names, *(f"{name}.{weights.name}" for name in names for weights in models.get_model_weights(name))]


def _build_torchvision(model: str, input_size: Size, num_classes: int) -> nn.Module:
    from torchvision import models

    channels, height, width = input_size
    kind = model.partition(".")[0]
    options: dict[str, Any] = {}
    if kind in ("inception_v3", "googlenet"):
        # Auxiliary heads would make the network return a tuple in training; `init_weights` is given to avoid a warning.
        # Their weights expect another normalization than the record says; with `transform_input` the network does it.
        options = {"aux_logits": False, "init_weights": True, "transform_input": channels == 3}
    elif kind.startswith("vit_"):
        options = {"image_size": height}
    elif kind.startswith("maxvit_"):
        options = {"input_size": (height, width)}
    target = torch.get_default_device()
    # A regnet computes its widths with tensors, which need numbers, so it cannot be built on `meta`.
    with torch.device("cpu" if kind.startswith("regnet_") else target):
        network: nn.Module = models.get_model(kind, weights=None, num_classes=num_classes, **options).to(target)
    if channels == 1:
        _make_gray(network)
    return network


def _make_gray(network: nn.Module) -> None:
    """Make a network take one channel; a gray image then gives the same answer as its three equal channels did."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    first.weight = nn.Parameter(first.weight.detach().sum(dim=1, keepdim=True))
    first.in_channels = 1


def _published_by_torchvision(model: str) -> Published:
    from torchvision import models

    kind, _, tag = model.partition(".")
    weights = models.get_model_weights(kind)[tag or "DEFAULT"]
    transforms = weights.transforms()
    side = transforms.crop_size[0]
    link = weights.meta.get("license", "")
    return Published(
        input_size=(3, side, side),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        crop=side / transforms.resize_size[0],
        license=_LICENSES_BY_LINK.get(link, UNKNOWN_LICENSE) if link else TORCHVISION_LICENSE,
        url=weights.url,
        file=PurePosixPath(weights.url).name,
    )


def _convert_for_torchvision(model: str, network: nn.Module, state: State) -> State:
    from torchvision.models import vision_transformer

    if isinstance(network, vision_transformer.VisionTransformer):
        ordered = OrderedDict(state)
        return dict(vision_transformer.interpolate_embeddings(network.image_size, network.patch_size, ordered))
    if model.startswith("densenet"):
        return {_OLD_DENSENET_NAME.sub(r"\1\2", name): tensor for name, tensor in state.items()}
    return state


LIBRARIES = {
    "timm": Library(_timm_names, _build_timm, _published_by_timm, _convert_for_timm),
    "torchvision": Library(_torchvision_names, _build_torchvision, _published_by_torchvision, _convert_for_torchvision),
}
