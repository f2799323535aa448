"""Grad-CAM and LayerCAM: heatmaps from the activations of one layer and the gradient of a class's logit there.

Both weigh activations by gradients, add up over the channels, and keep what is positive. Grad-CAM has one weight for
each channel, the mean of its gradient over all places (Selvaraju et al., arXiv:1610.02391); LayerCAM has one for each
place as well, the positive part of its gradient (Jiang et al., doi:10.1109/TIP.2021.3089943).
"""

import torch
from torch import Tensor, nn

from firstlight.inference.heatmaps.layers import channels_first, looking


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Map activations and gradients, float `[B, C, h, w]`, to a heatmap, float `[B, h, w]`, at least 0."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).clamp_min(0)


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Map activations and gradients, float `[B, C, h, w]`, to a heatmap, float `[B, h, w]`, at least 0."""
    return (gradients.clamp_min(0) * activations).sum(dim=1).clamp_min(0)


def activations_and_gradients(network: nn.Module, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the watched layer says about images, and the gradient of each image's logit of a class there.

    Args:
        network: with one watched layer; the last time that it is called counts.
        images: normalized float `[B, C, H, W]`.
        classes: int64 `[B]`.

    Returns:
        float `[B, C, h, w]` each.
    """
    with looking() as seen:
        logits = network(images.clone() if images.is_inference() else images)
        (gradients,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), seen[-1])
    return channels_first(seen[-1].detach()), channels_first(gradients)
