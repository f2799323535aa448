"""Networks of timm and torchvision by name, made to fit our images: size, channels, number of classes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from firstlight.errors import RecipeError
from firstlight.models.libraries import Size, find_network, published


def build_backbone(name: str, input_size: Size, num_classes: int) -> nn.Module:
    """Build a network by name, with fresh weights and one logit a class, in training as in evaluation.

    It is tried out first on the `meta` device, which knows shapes but holds no numbers, so that a wrong size costs
    neither time nor memory.

    Args:
        name: `timm:NAME` or `torchvision:NAME`.
        input_size: channels (1 or 3), height and width of an image.
        num_classes: how many logits come out.

    Raises:
        RecipeError: if there is no such network, or if it cannot take images of this size.
    """
    library, model = find_network(name)
    with trying_out(name, input_size):
        trial = library.build(model, input_size, num_classes)
        shape = shape_of_answer(trial, input_size)
    if shape != (num_classes,):
        raise RecipeError(f"--model {name} is no classifier: it gives {shape} numbers a picture; take another")
    network = trial if only_shapes_are_wanted() else library.build(model, input_size, num_classes)
    return network.to(memory_format=torch.channels_last)


@contextmanager
def trying_out(name: str, input_size: Size) -> Iterator[None]:
    """Build on the `meta` device inside; whatever fails there is told as images that do not fit."""
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
            f"{name} cannot take pictures of {height} x {width} pixels and {channels} channels "
            f"({reason}); it was made for {side} x {side}: take --img-size {side}"
        ) from error


def shape_of_answer(network: nn.Module, input_size: Size) -> tuple[int, ...]:
    """Tell the shape of what a network on the `meta` device gives for one image; it is left in training mode."""
    with torch.no_grad():
        answer = network.eval()(torch.zeros(1, *input_size))
    network.train()
    return tuple(answer.shape[1:])


def only_shapes_are_wanted() -> bool:
    """Whether the caller builds on the `meta` device, as one does to learn what a file must hold."""
    return torch.get_default_device().type == "meta"
