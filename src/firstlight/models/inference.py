"""A classifier made ready to answer: the same numbers, sooner, where a large network gains from it."""

import copy
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from firstlight.models.classifier import Classifier
from firstlight.runtime import pick_dtype

_READY: "WeakKeyDictionary[Classifier, tuple[tuple[int, ...], Classifier]]" = WeakKeyDictionary()


def ready(classifier: Classifier) -> Classifier:
    """Give a classifier in evaluation mode that answers as this one does.

    A network of timm or torchvision gets its batch norms folded into the convolutions before them, and bfloat16
    weights where `runtime.pick_dtype` says that this machine gains from it; its logits are float32 all the same. Our
    own small networks stay as they are: they are quick enough in float32.

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
    device = classifier.mean.device
    dtype = pick_dtype(device)
    network = folded(classifier.network).to(device, dtype).to(memory_format=torch.channels_last)
    made = copy.copy(classifier)
    made._modules = {**classifier._modules, "network": Sandwich(network, dtype)}
    return made


def folded(network: nn.Module) -> nn.Module:
    """Give a copy whose batch norms are folded into the convolutions before them, as far as its code can be traced."""
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(network)
    except Exception:  # some networks decide by their input what to do, and each stops the tracer in its own way
        return copy.deepcopy(network)


class Sandwich(nn.Module):
    """A network that calculates in another number type than its input and its output have."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised float `[B, C, H, W]` to logits, float32 `[B, K]`."""
        logits: Tensor = self.network(images.to(self.dtype))
        return logits.float()
