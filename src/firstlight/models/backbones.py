"""Networks of timm and torchvision by name, made to fit our pictures: size, channels, number of classes.

Each library takes seconds to import, so it is imported only when one of its networks is asked for. Nothing here
touches the network: weights are random.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from firstlight.errors import RecipeError

Size = tuple[int, int, int]


def build_backbone(name: str, input_size: Size, num_classes: int) -> nn.Module:
    """Build a network by name, with fresh weights and one logit a class, in training as in evaluation.

    It is tried out first on the `meta` device, which knows shapes but holds no numbers, so that a wrong size costs
    neither time nor memory.

    Args:
        name: `timm:NAME` or `torchvision:NAME`.
        input_size: channels (1 or 3), height and width of a picture.
        num_classes: how many logits come out.

    Raises:
        RecipeError: if there is no such network, or if it cannot take pictures of this size.
    """
    library, model = _find(name)
    try:
        with torch.device("meta"):
            trial = library.build(model, input_size, num_classes)
            with torch.no_grad():
                shape = tuple(trial.eval()(torch.zeros(1, *input_size)).shape)
    except Exception as error:  # some 1,400 networks, and each fails in its own way
        channels, height, width = input_size
        side = recommended_input_size(name)[1]
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RecipeError(
            f"--model {name} cannot take pictures of {height} x {width} pixels and {channels} channels "
            f"({reason}); it was made for {side} x {side}: take --img-size {side}"
        ) from error
    if shape != (1, num_classes):
        raise RecipeError(f"--model {name} is no classifier: it gives {shape[1:]} numbers a picture; take another")
    wants_shapes_only = torch.get_default_device().type == "meta"
    network = trial.train() if wants_shapes_only else library.build(model, input_size, num_classes)
    return network.to(memory_format=torch.channels_last)


def recommended_input_size(name: str) -> Size:
    """Give the channels, height and width that the published weights of `timm:NAME` or `torchvision:NAME` expect.

    Raises:
        RecipeError: if there is no such network.
    """
    library, model = _find(name)
    return library.record(model).input_size


def recommended_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the mean and standard deviation per channel, in units of 0..1, that the published weights expect.

    Raises:
        RecipeError: if there is no such network.
    """
    library, model = _find(name)
    record = library.record(model)
    return record.mean, record.std


@dataclass(frozen=True, slots=True)
class _Record:
    """What the published weights say about the pictures they were trained on."""

    input_size: Size
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Library:
    """One source of networks: their names, how one is built, and what its weights recommend."""

    names: Callable[[], list[str]]
    build: Callable[[str, Size, int], nn.Module]
    record: Callable[[str], _Record]


def _find(name: str) -> tuple[_Library, str]:
    """Give the library and the name inside it; only names that the library lists get any further."""
    prefix, _, model = name.partition(":")
    if prefix not in _LIBRARIES:
        raise RecipeError(f"--model {name}: there is no library {prefix}; take timm:NAME or torchvision:NAME")
    library = _LIBRARIES[prefix]
    names = library.names()
    if model not in names:
        close = difflib.get_close_matches(model, names, n=3)
        advice = f"did you mean {', '.join(f'{prefix}:{one}' for one in close)}?" if close else "check the name"
        raise RecipeError(f"--model {name}: {prefix} has no image classifier of that name; {advice}")
    return library, model


def _timm_names() -> list[str]:
    import timm

    return [*timm.list_models(), *timm.list_pretrained()]  # `resnet18`, and `resnet18.a1_in1k` with its weights' tag


def _build_timm(model: str, input_size: Size, num_classes: int) -> nn.Module:
    import timm

    channels, *size = input_size
    config = timm.get_pretrained_cfg(model)
    assert config is not None, "every listed network has one"
    # Transformers hold one position a patch: they must hear of another size when they are built.
    resized = config.fixed_input_size and list(config.input_size[1:]) != size
    options: dict[str, Any] = {"img_size": tuple(size)} if resized else {}
    network: nn.Module = timm.create_model(
        model, pretrained=False, in_chans=channels, num_classes=num_classes, **options
    )
    return network


def _timm_record(model: str) -> _Record:
    import timm

    config = timm.get_pretrained_cfg(model)
    assert config is not None, "every listed network has one"
    channels, height, width = config.input_size
    return _Record((channels, height, width), tuple(config.mean), tuple(config.std))


def _torchvision_names() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models))  # leaves out detection, segmentation and video


def _build_torchvision(model: str, input_size: Size, num_classes: int) -> nn.Module:
    from torchvision import models

    channels, height, width = input_size
    options: dict[str, Any] = {}
    if model in ("inception_v3", "googlenet"):
        # Their auxiliary heads would make training give a tuple; the old initialisation is said so as not to be warned.
        options = {"aux_logits": False, "init_weights": True}
    elif model.startswith("vit_"):
        options = {"image_size": height}
    elif model.startswith("maxvit_"):
        options = {"input_size": (height, width)}
    target = torch.get_default_device()
    # A regnet computes its widths with tensors, which need numbers, so it cannot be built on `meta`.
    with torch.device("cpu" if model.startswith("regnet_") else target):
        network: nn.Module = models.get_model(model, weights=None, num_classes=num_classes, **options).to(target)
    if channels == 1:
        _make_grey(network)
    return network


def _make_grey(network: nn.Module) -> None:
    """Let a network take one channel, such that a grey picture gives what it gave as three equal channels."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    first.weight = nn.Parameter(first.weight.detach().sum(dim=1, keepdim=True))
    first.in_channels = 1


def _torchvision_record(model: str) -> _Record:
    from torchvision import models

    transforms = models.get_model_weights(model)["DEFAULT"].transforms()
    side = transforms.crop_size[0]
    return _Record((3, side, side), tuple(transforms.mean), tuple(transforms.std))


_LIBRARIES = {
    "timm": _Library(_timm_names, _build_timm, _timm_record),
    "torchvision": _Library(_torchvision_names, _build_torchvision, _torchvision_record),
}
