"""Occlusion against a loop over windows, and on a network that looks at one corner only."""

import numpy as np
import torch
from torch import nn

from firstlight.inference.heatmaps.explainer import Explainer
from firstlight.inference.heatmaps.occlusion import log_odds, occlusion, windows_of
from firstlight.models.classifier import Classifier


class Corner(nn.Module):
    """Says `a` for what is bright in the lower left corner, whatever the rest."""

    def forward(self, images):
        corner = images[:, :, -6:, :6].mean(dim=(1, 2, 3))
        return torch.stack([corner, -corner, torch.zeros_like(corner)], dim=1)


def test_it_points_at_the_only_part_that_matters():
    images = 1 + torch.rand(2, 3, 28, 21, generator=torch.Generator().manual_seed(0))
    found = occlusion(Corner(), images, torch.tensor([0, 0]))
    for heat in found:
        row, column = np.unravel_index(heat.numpy().argmax(), (28, 21))
        assert row >= 22
        assert column < 6
        assert heat[:14].max() < 1e-6, "nothing above matters"
    assert occlusion(Corner(), images, torch.tensor([1, 1])).max() == 0, "nothing there speaks for another class"


def test_it_is_a_loop_over_windows():
    torch.manual_seed(0)
    made = Classifier(architecture={"name": "mlp", "hidden": [16]}, classes=("a", "b", "c"), input_size=(1, 10, 14))
    images = torch.randint(0, 256, (2, 1, 10, 14), dtype=torch.uint8)
    explainer = Explainer(made)
    assert explainer.method == "occlusion"
    found = explainer(images, torch.tensor([1, 2]))
    for image, number, heat in zip(images, (1, 2), found, strict=True):
        wanted, counts = np.zeros((10, 14)), np.zeros((10, 14))
        for rows, columns in windows_of(10, 14):
            odds = []
            for covered in (False, True):
                pixels = made.eval().normalize(image[None])
                if covered:
                    pixels[:, :, rows, columns] = 0
                shares = made.network(pixels).double().softmax(dim=1)[0, number].item()
                odds.append(np.log(shares / (1 - shares)))
            wanted[rows, columns] += odds[0] - odds[1]
            counts[rows, columns] += 1
        wanted = np.maximum(wanted / counts, 0)
        assert np.allclose(heat, wanted / wanted.max(), atol=1e-4)


def test_every_pixel_is_in_four_windows():
    for height, width in [(1, 1), (2, 3), (8, 8), (28, 28), (224, 224), (31, 224), (5, 100)]:
        counts = np.zeros((height, width), int)
        for rows, columns in windows_of(height, width):
            counts[rows, columns] += 1
        assert set(counts.ravel()) == {4}


def test_log_odds_change_where_a_probability_is_already_1():
    sure = torch.tensor([[60.0, 0.0, 0.0], [80.0, 0.0, 0.0]])
    assert (sure.softmax(dim=1)[:, 0] == 1).all()
    first, second = log_odds(sure, torch.tensor(0)).tolist()
    assert second - first == 20
    assert log_odds(torch.tensor([[3.0]]), torch.tensor(0)).tolist() == [3.0], "of one class there are no odds"
