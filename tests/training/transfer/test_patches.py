"""Features by filters made of patches: finite, the same for the same seed, and alike for images of a class."""

import numpy as np

from firstlight.training.transfer.patches import FILTERS, patch_features


def test_patch_features_are_the_same_for_the_same_seed_and_tell_digits_apart(digits):
    images, labels = digits[0][:300, :, :, None], digits[1][:300]
    rows = np.arange(0, 300, 2)
    features = patch_features(images, rows, seed=1)
    assert features.shape == (150, 8 * FILTERS)
    assert np.array_equal(features, patch_features(images, rows, seed=1))
    assert not np.array_equal(features, patch_features(images, rows, seed=2))
    centered = features - features.mean(axis=0)
    near = centered @ centered.T / np.outer(*[np.linalg.norm(centered, axis=1)] * 2) - 2 * np.eye(150)
    assert (labels[rows][near.argmax(axis=1)] == labels[rows]).mean() > 0.85


def test_blank_and_tiny_images_have_finite_features():
    for shape in ((5, 8, 8, 3), (5, 2, 3, 1), (5, 1, 1, 1)):
        assert np.isfinite(patch_features(np.zeros(shape, np.uint8), np.arange(5))).all()
