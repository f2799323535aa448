"""Test-time augmentation: the versions of an image (views) over which a classifier's logits are averaged."""

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional

VIEWS = ("mirror", "move", "mirror+move")  # kinds of views, besides the image as it is


def views_of(images: Tensor, kinds: str) -> Iterator[Tensor]:
    """Yield the images as they are, moved by one pixel up left and down right, and the mirror image of each.

    Pixels that enter at a border are reflected, as in training; an image one pixel wide is continued. After the views
    of K. Jordan, arXiv:2404.00498, which give the image itself more weight.

    Args:
        images: float `[B, C, H, W]`.
        kinds: one of `VIEWS`; without `move` nothing is moved, without `mirror` nothing is mirrored.

    Yields:
        float `[B, C, H, W]`: two, three or six times.
    """
    assert kinds in VIEWS, kinds
    _, _, height, width = images.shape
    moved = [images]
    if "move" in kinds:
        wider = functional.pad(images, (1, 1, 1, 1), mode="reflect" if min(height, width) > 1 else "replicate")
        moved += [wider[:, :, :height, :width], wider[:, :, 2:, 2:]]
    for view in moved:
        yield view
        if "mirror" in kinds:
            yield view.flip(3)
