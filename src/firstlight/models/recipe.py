"""The choices of a run about its network, as one dataclass."""

from dataclasses import dataclass
from typing import Literal

from firstlight.choices import check_choices, nearest
from firstlight.errors import RecipeError

OWN_NETWORKS = ("mlp", "cnn")
BACKBONE_WORDS = ("auto", "fast", "balanced", "best")
LIBRARY_PREFIXES = ("timm:", "torchvision:")
# How the names of widely known networks begin, all of which timm has.
LIBRARY_FAMILIES = (
    "beit", "convmixer", "convnext", "deit", "densenet", "efficientnet", "efficientvit", "eva02", "ghostnet", "hrnet",
    "inception", "maxvit", "mixnet", "mobilenet", "mobilevit", "nfnet", "regnet", "repvgg", "resmlp", "resnest",
    "resnet", "resnext", "seresnet", "swin", "tf_", "vgg", "vit", "wide_resnet", "xception",
)  # fmt: skip  # a table reads best with few lines
# What is suggested for the bare name of a family, which is no network's name.
MEMBERS = {
    "convnext": "convnext_nano", "deit": "deit_tiny_patch16_224", "densenet": "densenet121",
    "efficientnet": "efficientnet_b0", "inception": "inception_v3", "mobilenet": "mobilenetv3_large_100",
    "mobilenetv2": "mobilenetv2_100", "mobilenetv3": "mobilenetv3_large_100", "regnet": "regnety_008",
    "resnet": "resnet18", "resnext": "resnext50_32x4d", "swin": "swin_tiny_patch4_window7_224", "vgg": "vgg16",
    "vit": "vit_base_patch14_dinov2",
}  # fmt: skip

WIDEST_LAYER = 65_536
RANGES: dict[str, tuple[float, float]] = {"dropout": (0, 0.95), "width": (1, 4096)}


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """Which network a run trains, and what it starts from."""

    name: str = "auto"
    """The network. auto takes the cnn for small pictures and a pretrained network for photographs, and downloads
    nothing. Or name one: mlp, cnn, timm:NAME, torchvision:NAME; or fast, balanced, best: pretrained networks that are
    downloaded if needed."""
    pretrained: bool = True
    """Start from published weights. The mlp and the cnn have none and are always trained from scratch."""
    weights: str | None = None
    """Start from the weights in this file: a firstlight model.safetensors, or a .safetensors or .pth state dict of
    the same network. By default, the network's published weights are used."""
    weights_license: Literal["any", "permissive"] = "any"
    """With permissive, refuse weights unless their license is known to allow any use."""
    hidden: tuple[int, ...] = (512, 256, 128)
    """Widths of the mlp's hidden layers."""
    width: int = 32
    """Width of the cnn's first block; the second is three times, the third six times as wide."""
    dropout: float = 0.2
    """Fraction of the mlp's hidden units that are zeroed at each training step."""
    init: Literal["default", "zero", "normal"] = "default"
    """Initial weights: PyTorch's own, the same with zero biases, or normal with standard deviation 0.01."""
    tta: bool = False
    """Test-time augmentation: average the answers for a picture, its mirror image, and versions shifted by a pixel, as
    far as training uses mirrored and shifted pictures. More accurate, but each answer takes up to six times as long,
    also during validation after each epoch."""

    def __post_init__(self) -> None:
        """Check every choice.

        Raises:
            RecipeError: carries the field, its value, and what it may be.
        """
        if not isinstance(self.name, str):
            raise unknown_network(self.name)
        check_choices(self, RANGES)
        object.__setattr__(self, "hidden", tuple(self.hidden))  # a list passes too
        if self.name not in (*OWN_NETWORKS, *BACKBONE_WORDS) and not self.name.startswith(LIBRARY_PREFIXES):
            raise unknown_network(self.name)
        if not self.hidden or not 1 <= min(self.hidden) <= max(self.hidden) <= WIDEST_LAYER:
            raise RecipeError(
                f"choose a width from 1 to {WIDEST_LAYER:,} for each layer", field="hidden", value=self.hidden
            )

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from published weights, or from a file in their place; for `auto`, whether it may."""
        return self.pretrained and self.name not in OWN_NETWORKS


def unknown_network(name: object) -> RecipeError:
    """Return the error about an unknown network name."""
    known = (*OWN_NETWORKS, *BACKBONE_WORDS)
    if str(name).lower().startswith(LIBRARY_FAMILIES):
        near: str | None = f"timm:{MEMBERS.get(str(name).lower(), str(name).lower())}"
    else:
        near = nearest(str(name), known)
    advice = f"did you mean {near}? Otherwise " if near else ""
    return RecipeError(
        f"there is no such network; {advice}choose {', '.join(known)}, timm:NAME or torchvision:NAME",
        field="model",
        value=name,
    )
