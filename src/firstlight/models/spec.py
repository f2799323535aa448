"""`NetworkSpec`: the kind of network that a name means, decided once, and the architecture that follows."""

from dataclasses import dataclass
from typing import Any, Self

from firstlight.errors import RecipeError
from firstlight.models.backbones import EMBEDDED
from firstlight.models.libraries import Published, published
from firstlight.models.recipe import OWN_NETWORKS, ModelRecipe

OWN_DEFAULT_SIDE = 64  # pixels; what images of mixed sizes are brought to for the mlp and the cnn


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """What is known of a network before it is built.

    Attributes:
        name: `mlp`, `cnn`, `timm:NAME` or `torchvision:NAME`.
        published: what the library says of its weights; None for the mlp and the cnn.
        pretrained: whether it starts from published weights, or from a file in their place.
    """

    name: str
    published: Published | None = None
    pretrained: bool = False

    @classmethod
    def of(cls, name: str, *, pretrained: bool = True) -> Self:
        """Return the spec of a network by its name; `pretrained` means nothing for the mlp and the cnn.

        Raises:
            RecipeError: if there is no such network.
        """
        if name in OWN_NETWORKS:
            return cls(name=name)
        return cls(name=name, published=published(name), pretrained=pretrained)

    @property
    def is_library(self) -> bool:
        """Whether timm or torchvision builds it."""
        return self.published is not None

    @property
    def default_side(self) -> int:
        """Side of the square that images are resized to unless the recipe says otherwise, in pixels."""
        return OWN_DEFAULT_SIDE if self.published is None else self.published.input_size[1]

    @property
    def default_resize(self) -> str:
        """How images are resized unless the recipe says otherwise: pretrained, as the weights were made for.

        The embedded network keeps the border of the images, which did better on validation (LOG.md).
        """
        if self.published is None or not self.pretrained or self.published.crop == 1 or self.name == EMBEDDED:
            return "crop"
        return f"crop:{self.published.crop:.4g}"

    def normalization(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation per channel, in units of 0..1, as the published weights expect them.

        Args:
            channels: 1 or 3, of the images.
        """
        assert self.published is not None, f"nothing is published for {self.name}"
        return self.published.normalization(channels)


def architecture(
    spec: NetworkSpec,
    recipe: ModelRecipe,
    *,
    input_size: tuple[int, int, int],
    enlarge: bool = False,
    flip: bool = False,
    shift: int = 0,
) -> dict[str, Any]:
    """Return what `models.classifier.Classifier` takes as `architecture`; a model file holds the same.

    Args:
        spec: the network.
        recipe: the choices about the network.
        input_size: channels, height and width of an image.
        enlarge: let a pretrained network enlarge smaller images to the side that its weights were made for.
        flip: whether training shows mirror images.
        shift: by how many pixels training moves images.

    Raises:
        RecipeError: if `tta` is wanted of a pretrained network, or training shows no other views.
    """
    found: dict[str, Any] = {"name": spec.name}
    if spec.is_library:
        found["head"] = "linear"
        if spec.pretrained and enlarge and max(input_size[1:]) < spec.default_side:
            found["side"] = spec.default_side
        if not spec.pretrained and input_size[0] == 1:
            found["channels"] = 1
    elif spec.name == "mlp":
        found |= {"hidden": list(recipe.hidden), "dropout": recipe.dropout}
    else:
        found["width"] = recipe.width
    if recipe.tta:
        found["tta"] = _views(spec, flip=flip, shift=shift)
    return found


def _views(spec: NetworkSpec, *, flip: bool, shift: int) -> str:
    if spec.pretrained:
        raise RecipeError(
            "averaging over views works only for networks trained from scratch; leave out this or `pretrained`",
            field="tta",
            value=True,
        )
    shown = "+".join(kind for kind, is_shown in (("mirror", flip), ("move", shift)) if is_shown)
    if not shown:
        raise RecipeError(
            "training uses no other views to average over; turn `flip` on, or set `shift` to 1",
            field="tta",
            value=True,
        )
    return shown
