"""The score of strangers that a run leaves in its model: digits are kept, and what is no digit is refused."""

import numpy as np

from firstlight.inference.predictor import Predictor
from firstlight.models.model_file import load_model
from firstlight.training.novelty import some_of


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
