"""The score of strangers that a run leaves in its model: digits are kept, and what is no digit is refused."""

import numpy as np
import torch

from firstlight.data.sources import load_data
from firstlight.inference.predictor import Predictor
from firstlight.models.model_file import load_model
from firstlight.progress import announcements_to
from firstlight.runs.outputs import read_outputs
from firstlight.training.novelty import made_strange, some_of, strangeness_of
from firstlight.training.recipe import Recipe
from firstlight.training.train import train


def strangers():
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:8, 0:8]
    return {
        "noise": list(random.integers(0, 256, (30, 8, 8), dtype=np.uint8)),
        "blank pages": [np.full((8, 8), gray, np.uint8) for gray in range(40, 256, 8)],
        "checkerboards": [
            (255 * ((y // size + x // size + odd) % 2)).astype(np.uint8) for size in (1, 2) for odd in (0, 1)
        ],
        "gradients": [(x * 255 // 7).astype(np.uint8), (y * 255 // 7).astype(np.uint8)],
    }


def unsure(model, images):
    return np.mean([prediction.reason == "unlike anything in training" for prediction in Predictor(model)(images)])


def test_a_run_leaves_a_model_that_refuses_what_is_no_digit_and_keeps_digits(digit_run, digits):
    model = load_model(digit_run.folder / "model.safetensors")
    refused = {name: unsure(model, images) for name, images in strangers().items()}
    assert min(refused.values()) >= 0.9, refused
    kept = 1 - unsure(model, list((digits[0][:300]).astype(np.uint8)))
    assert kept >= 0.85


def test_evenly_spread_rows_begin_and_end_with_the_first_and_the_last():
    rows = np.arange(100, 1100)
    assert some_of(rows, 5).tolist() == [0, 249, 499, 749, 999]
    assert some_of(rows[:3], 5).tolist() == [0, 1, 2]
    assert some_of(rows[:0], 5).tolist() == []


def test_made_up_outliers_keep_their_shape_and_no_longer_show_the_same():
    images = torch.randint(0, 256, (3, 3, 7, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inverted, flat, pixels, rows = made_strange(images, seed=0).split(3)
    assert torch.equal(inverted, 255 - images)
    assert flat.flatten(2).unique(dim=2).shape[2] == 1
    for mixed in (pixels, rows):
        assert torch.equal(mixed.flatten(2).sort(dim=2).values, images.flatten(2).sort(dim=2).values)
        assert not torch.equal(mixed, images)
    assert torch.equal(made_strange(images, seed=0), made_strange(images, seed=0))
    assert not torch.equal(made_strange(images, seed=0), made_strange(images, seed=1))


def test_a_frozen_network_is_judged_by_all_pictures_that_its_heads_did_not_see(tmp_path, digit_folder, backbone):
    recipe = Recipe.of(model=backbone.name, weights=str(backbone.file), seed=1)
    run = train(load_data(digit_folder), recipe, tmp_path / "run", score_test=False)
    assert run.model.trust.strangeness.kept[3] == run.record.n["train"] + run.record.n["valid"]


def test_features_that_are_no_numbers_leave_a_model_that_cannot_tell_and_one_line(digit_run):
    outputs = read_outputs(digit_run.folder, "valid")
    outputs.features[0, 0] = np.nan
    lines = []
    with announcements_to(lines.append):
        assert strangeness_of(digit_run.model, digit_run.data, outputs, None, seed=0) is None
    assert [line for line in lines if "not finite, so it cannot tell strangers" in line] == lines[-1:]
