"""What tests of exports share: a model on colored digits with all that goes into a graph, and one exported file."""

import numpy as np
import pytest
import torch

from firstlight.models.classifier import Classifier


@pytest.fixture(scope="session")
def colored(digits):
    """128 images of three digits each, one in every channel, uint8 [128, 8, 8, 3]."""
    images = digits[0][:384]
    return np.stack([images[:128], images[128:256], images[256:]], axis=-1)


@pytest.fixture
def model():
    """A model in no file, with random weights, views and a temperature."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Classifier(
            architecture={"name": "mlp", "hidden": [16], "tta": "mirror"},
            classes=("ant", "bee", "cat", "dog"),
            input_size=(3, 8, 8),
            mean=(0.3, 0.4, 0.5),
            std=(0.3, 0.2, 0.4),
        )
        torch.nn.init.normal_(made.network.head.weight)
    made.temperature.fill_(1.7)
    return made.eval()
