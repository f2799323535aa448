"""Networks that have already seen a million images: which to take, what their weights say, how they are loaded."""

from contextlib import suppress
from typing import Literal

from firstlight.errors import ModelFileError, RecipeError
from firstlight.models.downloads import Weights, find_weights
from firstlight.models.libraries import Published, State, find_network, published
from firstlight.models.library_network import LibraryNetwork
from firstlight.models.weights import load_state_dict_file, load_weights

__all__ = ["Published", "Weights", "choose_backbone", "find_weights", "load_pretrained", "published"]

Word = Literal["auto", "fast", "balanced", "best"]

FEW_IMAGES = 2_000  # images

# Weights that everyone may use, from the quickest to the ablest, with billions of multiplications an image.
TINY = "timm:mobilenetv3_small_100.lamb_in1k"  # 0.06
SMALL = "timm:mobilenetv3_large_100.ra_in1k"  # 0.2
MEDIUM = "timm:convnext_nano.in12k_ft_in1k"  # 2.5
LARGE = "timm:convnext_tiny.in12k_ft_in1k"  # 4.5
DINOV2 = "timm:vit_base_patch14_dinov2.lvd142m"  # 152 at its 518 pixels; it learned without labels, from 142 million

CHOICES = {
    # word: (processor, few images), (processor, many images), accelerator
    "fast": (SMALL, TINY, MEDIUM),
    "balanced": (MEDIUM, SMALL, LARGE),
    "best": (LARGE, MEDIUM, DINOV2),
}

# Heads that helped to train a network and are no part of it.
AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")


def choose_backbone(word: Word, device_type: str, images: int) -> str:
    """Choose a network whose published weights are good for learning new classes, and free for any use.

    Every image goes through the network at least once, which is what takes the time. A processor therefore gets
    smaller networks, and much smaller ones for more than 2,000 images; an accelerator can afford a large one.

    Args:
        word: `fast`, `balanced`, `best`, or `auto`, which is `balanced`.
        device_type: `cpu`, or an accelerator's, such as `cuda` or `mps`.
        images: how many there are to learn from.

    Raises:
        RecipeError: if there is no such word.
    """
    chosen = "balanced" if word == "auto" else word
    if chosen not in CHOICES:
        raise RecipeError(f"--backbone {word}: there is no such choice; take auto, {', '.join(CHOICES)}")
    few, many, accelerated = CHOICES[chosen]
    if device_type != "cpu":
        return accelerated
    return few if images <= FEW_IMAGES else many


def load_pretrained(network: LibraryNetwork, name: str, weights: Weights) -> None:
    """Copy weights into the body of a network, whatever classes they were trained for.

    The file's own head stays out, and auxiliary heads with it; a batch norm's count of batches may be missing, as it
    is in old files. Everything else must be there. Where the body depends on the images' size, as a transformer does
    by its positions, the weights are resampled to it.

    Args:
        network: as `build_network` gives it for `"head": "linear"`; the head stays as it is.
        name: `timm:NAME` or `torchvision:NAME`, as it was built.
        weights: as `find_weights` gives them.

    Raises:
        ModelFileError: if the file cannot be read or holds the weights of another network; nothing is then changed.
    """
    library, model = find_network(name)
    wanted = network.body.state_dict()
    state = _inside(load_state_dict_file(weights.path), wanted)
    with suppress(Exception):  # another network's weights stop the conversion; below it is told what they lack
        state = library.convert(model, network.body, state)
    left_out = (f"{network.replaced}.", *AUXILIARY)
    state = {path: tensor for path, tensor in state.items() if not path.startswith(left_out)}
    try:
        load_weights(network.body, state, source=weights.path)
    except ModelFileError as error:
        raise ModelFileError(f"{error}; {_what_it_may_be(name, weights, state, wanted)}") from None


def _inside(state: State, wanted: State) -> State:
    """Take off what a larger model has put before the names, as Lightning's `model.` or our own `network.body.`."""
    first = next(iter(wanted))
    before = min((path.removesuffix(first) for path in state if f".{path}".endswith(f".{first}")), key=len, default="")
    return {path.removeprefix(before): tensor for path, tensor in state.items() if path.startswith(before)}


def _what_it_may_be(name: str, weights: Weights, found: State, wanted: State) -> str:
    """Guess why weights differ: other images if only shapes do, else the network that the file is named for."""
    record = published(name)
    if all(path.endswith("num_batches_tracked") for path in found.keys() ^ wanted.keys()):
        height, width = record.input_size[1:]
        return f"it may be for pictures of another size ({name} was made for {height} x {width}), or for a variant"
    library, _ = find_network(name)
    named = max((one for one in library.names() if one in weights.path.name), key=len, default="")
    guess = f", by its name those of {name.partition(':')[0]}:{named}" if named else ""
    return f"it holds another network's weights than {name}'s{guess}"
