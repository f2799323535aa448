"""Choose the pretrained network that `auto`, `fast`, `balanced`, or `best` means for this device and image count."""

from firstlight.models.recipe import BACKBONE_WORDS, unknown_network

MAX_FEW_IMAGES = 2_000  # images; above it, a processor gets smaller networks

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


def choose_backbone(word: str, device_type: str, num_images: int) -> str:
    """Return the name of a network whose published weights are good for learning new classes, and free for any use.

    Every image goes through the network at least once, and that takes most of the time. A processor therefore gets
    smaller networks, and much smaller ones for more than 2,000 images; an accelerator can afford a large one.

    Args:
        word: `fast`, `balanced`, `best`, or `auto`, which is `balanced`.
        device_type: `cpu`, or an accelerator's, such as `cuda` or `mps`.
        num_images: how many images there are to learn from.

    Raises:
        RecipeError: if there is no such word.
    """
    if word not in BACKBONE_WORDS:
        raise unknown_network(word)
    few, many, accelerated = CHOICES["balanced" if word == "auto" else word]
    if device_type != "cpu":
        return accelerated
    return few if num_images <= MAX_FEW_IMAGES else many
