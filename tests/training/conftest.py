"""A backbone for tests: a real architecture of timm's, tiny, with random weights in a file; it tells digits apart."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

BACKBONE = "timm:test_resnet"  # half a million weights, 15 batch norms


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """Its `name`, and `file`, which is not to be changed."""
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(BACKBONE.partition(":")[2])
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(network.state_dict(), file)
    return SimpleNamespace(name=BACKBONE, file=file)


@pytest.fixture(scope="session")
def some_digits(digits):
    """300 digits, as 8 x 8 grey arrays, with their labels."""
    images, labels = digits
    return images[:300], labels[:300]
