"""Attention maps against the published formula in loops, with gradients by finite differences."""

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.inference.heatmaps.explainer import Explainer
from firstlight.models.classifier import Classifier

SIZE = (3, 32, 32)  # two by two patches
STEP = 1e-5


class Changed(nn.Module):
    """Adds to the attention of each image of a batch, and keeps what it got."""

    def __init__(self):
        super().__init__()
        self.delta = 0.0

    def forward(self, attention):
        self.seen = attention
        return attention + self.delta


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    architecture = {"name": "timm:test_vit", "head": "linear"}
    made = Classifier(architecture=architecture, classes=("a", "b", "c"), input_size=SIZE).double()
    with torch.no_grad():
        made.network.head.weight.normal_()
    return made.eval()


def changeable(classifier):
    """The network with attention that can be changed, block by block."""
    import copy

    network = copy.deepcopy(classifier.network)
    for block in network.body.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop = Changed()
    return network, [block.attn.attn_drop for block in network.body.blocks]


def test_a_heatmap_is_the_formula_with_gradients_by_finite_differences(classifier):
    image = torch.randint(0, 256, (1, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    number = 2
    explainer = Explainer(classifier)
    assert explainer.method == "attention"
    found = explainer(image, torch.tensor([number]))[0]

    network, changes = changeable(classifier)
    normalized = classifier.normalize(image).double()
    with torch.no_grad():
        network(normalized)
        attentions = [change.seen[0] for change in changes]
        heads, count, _ = attentions[0].shape
        relevance = np.eye(count)
        for change, attention in zip(changes, attentions, strict=True):
            steps = STEP * torch.eye(attention.numel(), dtype=torch.float64).reshape(-1, *attention.shape)
            ends = []
            for sign in (1, -1):
                change.delta = sign * steps
                ends.append(network(normalized.expand(len(steps), -1, -1, -1))[:, number])
            change.delta = 0.0
            gradient = ((ends[0] - ends[1]) / (2 * STEP)).reshape(attention.shape)
            passed = np.zeros((count, count))
            for head, query, key in np.ndindex(heads, count, count):
                passed[query, key] += max((gradient * attention)[head, query, key].item(), 0) / heads
            relevance = relevance + passed @ relevance
    cells = torch.tensor(relevance[0, 1:].reshape(2, 2))  # of the class token, without itself
    wanted = nn.functional.interpolate(cells[None, None], SIZE[1:], mode="bilinear")[0, 0]
    assert np.allclose(found, wanted / wanted.max(), atol=1e-5)
    assert found.max() == 1


def test_answers_stay_the_same_where_attention_is_computed_step_by_step(classifier):
    images = torch.randint(0, 256, (2, *SIZE), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(Explainer(classifier).probabilities(images), classifier.probabilities(images))


@pytest.mark.parametrize("pooled", [False, True])
def test_a_network_that_averages_its_tokens_is_read_from_all_rows(pooled, classifier):
    explainer = Explainer(classifier)
    explainer.model.network.body.global_pool = "avg" if pooled else "token"
    again = Explainer(explainer.model)
    assert again.tokens.pooled == pooled
    assert (again.tokens.grid, again.tokens.prefix) == ((2, 2), 1)
