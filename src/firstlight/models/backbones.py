"""Choose the pretrained network that `auto`, `fast`, `balanced`, or `best` means for this device and image count.

The weights of `auto`'s network are embedded. Those of the others are fetched once, if they are not in a cache.
"""

from firstlight.models.recipe import BACKBONE_WORDS, unknown_network

MAX_FEW_IMAGES = 2_000  # images; above it, a processor gets smaller networks

EMBEDDED = "timm:tf_efficientnet_lite0"  # its weights are installed with this package

# Weights that everyone may use, fastest first, with billions of multiplications per image.
TINY = "timm:mobilenetv3_small_100.lamb_in1k"  # 0.06
SMALL = "timm:mobilenetv3_large_100.ra_in1k"  # 0.2
MEDIUM = "timm:convnext_nano.in12k_ft_in1k"  # 2.5
LARGE = "timm:convnext_tiny.in12k_ft_in1k"  # 4.5
DINOV2 = "timm:vit_base_patch14_dinov2.lvd142m"  # 152 at its 518 pixels; trained without labels, on 142 million images

CHOICES = {
    # word: (processor, few images), (processor, many images), accelerator
    "fast": (SMALL, TINY, MEDIUM),
    "balanced": (MEDIUM, SMALL, LARGE),
    "best": (LARGE, MEDIUM, DINOV2),
}


# Better than the embedded ones on the same images, and no slower than what `balanced` means; best first.
BETTER: tuple[tuple[str, ...], ...] = ((MEDIUM,), (), (LARGE, MEDIUM))


def choose_backbone(word: str, device_type: str, num_images: int) -> str:
    """Return the name of a network whose published weights are good for learning new classes, and free for any use.

    Every image goes through the network at least once, and that takes most of the time. A processor therefore gets
    smaller networks, and much smaller ones for more than 2,000 images; an accelerator can afford a large one.

    Args:
        word: `fast`, `balanced`, `best`, or `auto`, which means the embedded one.
        device_type: `cpu`, or an accelerator's, such as `cuda` or `mps`.
        num_images: how many images there are to learn from.

    Raises:
        RecipeError: if there is no such word.
    """
    if word not in BACKBONE_WORDS:
        raise unknown_network(word)
    return EMBEDDED if word == "auto" else CHOICES[word][_column(device_type, num_images)]


def better_backbones(device_type: str, num_images: int) -> tuple[str, ...]:
    """Return the networks that are worth using instead of the embedded one if their weights are here, best first."""
    return BETTER[_column(device_type, num_images)]


def _column(device_type: str, num_images: int) -> int:
    if device_type != "cpu":
        return 2
    return 0 if num_images <= MAX_FEW_IMAGES else 1
