"""Each library is imported only when it is needed: looking at folders and at a model's card takes no torch."""

import json
import subprocess
import sys

import pytest
import torch

from firstlight.models.classifier import Classifier
from firstlight.models.model_file import save_model

PROGRAM = """
import json, sys

SLOW = {"torch._dynamo", "scipy.stats"}

def tell():
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} | SLOW & set(sys.modules))))

import firstlight.data.sources
tell()
from firstlight.models.model_file import load_model, read_model_card
read_model_card(sys.argv[1])
tell()
load_model(sys.argv[1])
from firstlight.models.library_network import build_library_network
tell()
build_library_network("torchvision:squeezenet1_1", (3, 64, 64), 3)
tell()
import firstlight.api.train
tell()
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> list[set[str]]:
    """The libraries that a fresh interpreter has imported after each of five steps."""
    path = tmp_path_factory.mktemp("lazy") / "model.safetensors"
    with torch.random.fork_rng():
        save_model(path, Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 4, 4)))
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True)
    return [set(json.loads(line)) for line in done.stdout.splitlines()]


def test_looking_at_folders_needs_no_heavy_library(imported):
    assert "firstlight" in imported[0]
    assert not imported[0] & {"torch", "torchvision", "timm", "sklearn", "pyarrow"}


def test_reading_a_card_needs_no_torch(imported):
    assert not imported[1] & {"torch", "torchvision", "timm"}


def test_loading_our_own_network_needs_no_library_of_networks(imported):
    assert "torch" in imported[2]
    assert not imported[2] & {"timm", "torchvision", "torch._dynamo"}


def test_only_the_library_that_is_asked_for_is_imported(imported):
    assert "torchvision" in imported[3]
    assert "timm" not in imported[3]


def test_training_needs_no_library_of_distributions(imported):
    assert "firstlight" in imported[4] and "scipy.stats" not in imported[4]
