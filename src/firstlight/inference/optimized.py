"""A faster copy of a classifier with a large network, which gives the same answers."""

import copy
import itertools
import sys

import torch
from torch import Tensor, nn

from firstlight.models.classifier import Classifier
from firstlight.models.library_network import LibraryNetwork
from firstlight.models.network import Network

MAX_PIXELS_AT_ONCE = 2**18  # of images that a large network takes together on a processor; more leave its caches

TRIAL_SIDE = 64  # pixels of the image by which it is checked that folding changes nothing
TOLERANCE = 1e-4  # of the largest feature; float32 leaves 1e-6 or so


def optimized(classifier: Classifier) -> Classifier:
    """Return a copy of a classifier in evaluation mode; the original and its mode stay as they are.

    In a network of timm or torchvision batch norms are folded into the convolutions before them, weights are
    channels-last, and a processor takes a few images at a time. Our own small networks are copied as they are. All is
    float32: bfloat16 would take two thirds of the time on some processors, but it changes answers of which the
    network is unsure (LOG.md).
    """
    network = classifier.network
    made = copy.copy(classifier)
    made._modules = {**classifier._modules}
    made._buffers = {name: None if one is None else one.clone() for name, one in classifier._buffers.items()}
    if isinstance(network, LibraryNetwork):
        _, height, width = classifier.input_size
        side = classifier.architecture.get("side")  # images are enlarged to this before they cost the most
        pixels = side * side if side else height * width
        made.network = OptimizedNetwork(network, max(1, MAX_PIXELS_AT_ONCE // pixels))
    else:
        made.network = copy.deepcopy(network)
    return made.eval()


class OptimizedNetwork(Network):
    """A library network without batch norms, as far as they can be folded, that a processor runs in small parts.

    Args:
        network: it is copied.
        images_at_once: how many images a processor takes through the network together.
    """

    def __init__(self, network: LibraryNetwork, images_at_once: int) -> None:
        super().__init__()
        copied = copy.deepcopy(network).eval()
        self.entrance = copied.entrance
        self.body = folded(copied.body)
        self.head = copied.head
        self.images_at_once = images_at_once
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Map normalized float `[B, C, H, W]` to features, float `[B, D]`."""
        return torch.cat([self.body(self.entrance(part)) for part in self._parts(images)])

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalized float `[B, C, H, W]` to features `[B, D]` and logits `[B, K]`, in one pass."""
        features = [self.body(self.entrance(part)) for part in self._parts(images)]
        return torch.cat(features), torch.cat([self.head(part) for part in features])

    def _parts(self, images: Tensor) -> tuple[Tensor, ...]:
        return torch.split(images, self.images_at_once) if images.device.type == "cpu" else (images,)


def folded(network: nn.Module) -> nn.Module:
    """Return a network, in evaluation mode, with its batch norms folded into the convolutions before them.

    Where its code cannot be traced, only the norms are folded that timm joins with an activation.
    """
    from torch.fx.experimental.optimization import fuse

    network = _with_activations_alone(network)
    try:
        return fuse(network)
    except Exception:  # a network whose path depends on its input stops the tracer, each in its own way
        return network


def _with_activations_alone(network: nn.Module) -> nn.Module:
    """Return a network in which timm's `BatchNormAct2d`, a norm and an activation, are activations, where that is safe.

    Tracing does not see such norms. One is folded into the convolution that stands before it in the same block, if
    the network's answers to random images stay the same; else the network is returned as it is.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    timm_norms = sys.modules.get("timm.layers.norm_act")  # timm takes seconds to import; without it there are none
    if timm_norms is None:
        return network
    made = copy.deepcopy(network)
    count = 0
    for block in list(made.modules()):
        parts = list(block.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(parts):
            if not (isinstance(conv, nn.Conv2d) and isinstance(norm, timm_norms.BatchNormAct2d)):
                continue
            if conv.out_channels != norm.num_features or not norm.track_running_stats:
                continue
            setattr(block, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(block, norm_name, nn.Sequential(norm.drop, norm.act))
            count += 1
    return made if count and _agree(network, made) else network


def _agree(network: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks give the same answer for an image of random numbers, as far as float32 tells."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    size = (1, first.in_channels, TRIAL_SIDE, TRIAL_SIDE)
    noise = torch.rand(size, generator=torch.Generator().manual_seed(0)).to(first.weight)
    try:
        with torch.inference_mode():
            expected, found = network(noise), other(noise)
    except Exception:  # a network that takes no images of this size
        return False
    return torch.allclose(found, expected, rtol=0, atol=TOLERANCE * expected.abs().max().item())
