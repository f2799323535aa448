"""A classifier made ready to answer: the same numbers, sooner, where a large network gains from it."""

import copy
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from firstlight.models.classifier import Classifier

HANDFUL_PIXELS = 2**18  # of images that go through a large network together: what it makes of them stays in caches

_READY: "WeakKeyDictionary[Classifier, tuple[tuple[int, ...], Classifier]]" = WeakKeyDictionary()


def ready(classifier: Classifier) -> Classifier:
    """Give a classifier in evaluation mode that answers as this one does.

    A network of timm or torchvision gets its batch norms folded into the convolutions before them, channels last, and
    on a processor it sees few images at a time. Our own small networks stay as they are. All is float32: bfloat16
    would be half as fast again on some processors, but changes the answers about which a network is in doubt (LOG.md).

    What is made is kept as long as the classifier and its weights stay the same. The original is not changed, but put
    in evaluation mode.
    """
    classifier.eval()
    if ":" not in classifier.architecture["name"]:
        return classifier
    weights = classifier.state_dict(keep_vars=True).values()
    as_they_are = tuple(number for tensor in weights for number in (tensor.data_ptr(), tensor._version))
    if (kept := _READY.get(classifier)) is None or kept[0] != as_they_are:
        kept = as_they_are, _made_ready(classifier)
        _READY[classifier] = kept
    return kept[1]


def _made_ready(classifier: Classifier) -> Classifier:
    network = folded(classifier.network).to(memory_format=torch.channels_last)
    _, height, width = classifier.input_size
    side = classifier.architecture.get("side")  # what the images are enlarged to, before they cost the most
    pixels = side * side if side else height * width
    made = copy.copy(classifier)
    made._modules = {**classifier._modules, "network": Handfuls(network, max(1, HANDFUL_PIXELS // pixels))}
    return made


def folded(network: nn.Module) -> nn.Module:
    """Give a copy whose batch norms are folded into the convolutions before them, as far as its code can be traced."""
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(network)
    except Exception:  # some networks decide by their input what to do, and each stops the tracer in its own way
        return copy.deepcopy(network)


class Handfuls(nn.Module):
    """A network that a processor takes through a batch `count` images at a time."""

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network = network
        self.count = count

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized float `[B, C, H, W]` to logits `[B, K]`."""
        parts = torch.split(images, self.count) if images.device.type == "cpu" else [images]
        return torch.cat([self.network(part) for part in parts])
