"""Choose the network of a run before any work starts, and say in one line which one it is and why.

`auto` goes by the size of the pictures (LOG.md has the measurements): where the shorter side is below 64 pixels, the
cnn is trained from scratch; larger pictures go through a pretrained network. That network is the embedded one, unless
better weights are in the caches; `auto` never downloads. A choice that only one kind of network has says which kind is
meant.
"""

from dataclasses import dataclass
from typing import Any

from firstlight.data.augment import Augment
from firstlight.data.samples import Samples
from firstlight.data.sizes import median_sides
from firstlight.errors import DownloadError, RecipeError
from firstlight.models.backbones import EMBEDDED, better_backbones, choose_backbone
from firstlight.models.downloads import Weights, find_here, find_weights
from firstlight.models.recipe import BACKBONE_WORDS, OWN_NETWORKS
from firstlight.models.spec import NetworkSpec
from firstlight.training.defaults import DEFAULTS
from firstlight.training.recipe import OptimizationRecipe, Recipe, TransferRecipe

MIN_PHOTOGRAPH_SIDE = 64  # pixels of the shorter side, from which on `auto` takes a pretrained network

SCRATCH, PRETRAINED = "a network trained from scratch", "a pretrained network"
# Choices that only one kind of network has.
ONLY_FOR = {
    "hidden": "mlp", "dropout": "mlp", "width": "cnn", "tta": SCRATCH, "init": SCRATCH, "pretrained": SCRATCH,
    "weights_license": PRETRAINED, **dict.fromkeys(vars(TransferRecipe()), PRETRAINED),
}  # fmt: skip  # a table reads best with few lines

# What matters only where weights are trained by gradient descent; the linear head is solved for, with these too.
OF_HEADS_TOO = {"balance", "dtype", "flip"}
ONLY_FOR_GRADIENTS = tuple(name for name in (*vars(OptimizationRecipe()), *vars(Augment())) if name not in OF_HEADS_TOO)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The network of a run.

    Attributes:
        network: what it is.
        weights: the pretrained ones that it starts from; None if it is trained from scratch.
        line: for people: which network it is, and why. Choices are named between backticks.
        notes: what else a person should know, such as choices that have no effect.
    """

    network: NetworkSpec
    weights: Weights | None
    line: str
    notes: tuple[str, ...] = ()


def choose_network(samples: Samples, recipe: Recipe, *, device_type: str) -> Choice:
    """Return the network that a recipe means for a set, with its weights, fetched if they were asked for by name.

    Args:
        samples: the set; of its images only headers are read, and only for `auto`.
        recipe: the choices.
        device_type: `cpu`, `cuda` or `mps`.

    Raises:
        RecipeError: if there is no such network, or choices contradict each other.
        ModelFileError: if the weights cannot be read or downloaded.
    """
    name = recipe.model.name
    if name == "auto":
        return _choose_by_size(samples, recipe, device_type)
    if name in BACKBONE_WORDS:
        return _choose_by_word(samples, recipe, device_type)
    network = NetworkSpec.of(name, pretrained=recipe.model.pretrained)
    if not network.pretrained:
        return Choice(network=network, weights=None, line=f"model: {name}, trained from scratch")
    return _pretrained(network, recipe)


def network_of(samples: Samples, recipe: Recipe, *, device_type: str) -> NetworkSpec:
    """Return the network alone, as `choose_network` does; of one that is named, no weights are looked for.

    Raises:
        RecipeError: if there is no such network, or choices contradict each other.
    """
    if recipe.model.name in BACKBONE_WORDS:
        return choose_network(samples, recipe, device_type=device_type).network
    return NetworkSpec.of(recipe.model.name, pretrained=recipe.model.pretrained)


def kind_wanted(recipe: Recipe) -> tuple[str, str] | None:
    """Return what kind of network the choices of a recipe are for, and one of these choices; None if they fit any.

    Raises:
        RecipeError: if they are for different kinds.
    """
    chosen, default = recipe.flat(), Recipe().flat()
    wanted = {ONLY_FOR[name]: name for name in ONLY_FOR if chosen[name] != default[name]}
    if wanted.keys() & {*OWN_NETWORKS}:
        wanted.pop(SCRATCH, None)
    if len(wanted) > 1:
        (kind, name), (other_kind, other) = list(wanted.items())[:2]
        raise RecipeError(
            f"this is only for {_named(kind)}, and `{other}` only for {_named(other_kind)}; leave one of them out",
            field=name,
            value=chosen[name],
        )
    return next(iter(wanted.items()), None)


def _choose_by_size(samples: Samples, recipe: Recipe, device_type: str) -> Choice:
    """Return what `auto` means."""
    wanted = kind_wanted(recipe)
    if recipe.model.weights is not None and (wanted is None or wanted[0] not in OWN_NETWORKS):
        raise RecipeError(
            "set `model` to the network of these weights, such as cnn or timm:resnet18",
            field="weights",
            value=recipe.model.weights,
        )
    if wanted is not None:
        kind, why = wanted[0], f"`{wanted[1]}` is only for {_named(wanted[0])}"
    else:
        kind, why = _kind_by_size(samples, recipe)
    if kind != PRETRAINED:
        name = kind if kind in OWN_NETWORKS else "cnn"
        line = f"model: {name}, trained from scratch, because {why}; for a pretrained network, use `model` balanced"
        return Choice(network=NetworkSpec.of(name), weights=None, line=line)
    reason = f"because {why}; to train a small network from scratch, use `model` cnn"
    for better in better_backbones(device_type, len(samples)):
        network = NetworkSpec.of(better)
        if (weights := find_here(network)) is not None:
            return _pretrained(network, recipe, reason, weights)
    return _pretrained(NetworkSpec.of(EMBEDDED), recipe, reason)


def _kind_by_size(samples: Samples, recipe: Recipe) -> tuple[str, str]:
    """Return what kind of network the size of the pictures asks for, and why."""
    sides = median_sides(samples)
    if sides is None:
        return SCRATCH, "the size of the pictures is unknown"
    found = f"median {sides.width} x {sides.height} pixels"
    if min(sides) < MIN_PHOTOGRAPH_SIDE:
        return SCRATCH, f"the pictures are small ({found})"
    if recipe.data.img_size is not None and recipe.data.img_size < MIN_PHOTOGRAPH_SIDE:
        return SCRATCH, f"`img_size` makes the pictures small ({recipe.data.img_size} pixels)"
    return PRETRAINED, f"the pictures are the size of photographs ({found})"


def _choose_by_word(samples: Samples, recipe: Recipe, device_type: str) -> Choice:
    """Return what `fast`, `balanced` or `best` means; offline, the embedded weights are used instead."""
    word = recipe.model.name
    network = NetworkSpec.of(choose_backbone(word, device_type, len(samples)), pretrained=recipe.model.pretrained)
    if not network.pretrained:
        line = f"model: {network.name}, trained from scratch, which {word} means here"
        return Choice(network=network, weights=None, line=line)
    try:
        return _pretrained(network, recipe, f"which {word} means here")
    except DownloadError as error:
        substitute = NetworkSpec.of(EMBEDDED)
        if (weights := find_here(substitute)) is None:
            raise
        reason = f"instead of {network.name}, which {word} means here: {error.why}"
        return _pretrained(substitute, recipe, reason, weights)


def _pretrained(network: NetworkSpec, recipe: Recipe, reason: str = "", weights: Weights | None = None) -> Choice:
    weights = weights or find_weights(network, recipe.model.weights, license=recipe.model.weights_license)
    line = f"model: {network.name}, pretrained" + (f", {reason}" if reason else "")
    return Choice(network=network, weights=weights, line=line, notes=_without_effect(recipe))


def _without_effect(recipe: Recipe) -> tuple[str, ...]:
    """Return a note about choices that have no effect if a head is solved for and nothing is fine-tuned."""
    if recipe.transfer.ladder or recipe.transfer.finetune != "none":
        return ()
    chosen, default = recipe.flat(), Recipe().flat()
    usual: dict[str, Any] = {**default, "ema": 0.0, **DEFAULTS["pretrained"]}
    idle = [f"`{name}`" for name in ONLY_FOR_GRADIENTS if chosen[name] not in (default[name], usual[name])]
    if not idle:
        return ()
    verb = "has" if len(idle) == 1 else "have"
    return (
        f"{', '.join(idle)} {verb} no effect: the linear head is solved for, not trained; add `ladder` to fine-tune",
    )


def _named(kind: str) -> str:
    return kind if kind in (SCRATCH, PRETRAINED) else f"the {kind}"
