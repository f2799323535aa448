"""What `show_batch` shows is what gradient descent gets."""

import numpy as np
import pytest
import torch

import firstlight as fl
from firstlight.errors import RecipeError


def test_what_is_shown_is_what_training_gets(some_digits, tmp_path, monkeypatch):
    seen = []
    augment = fl.Augment.__call__

    def watched(self, images, labels, rows, **choices):
        changed, targets = augment(self, images, labels, rows, **choices)
        seen.append((choices["epoch"], changed.clone(), targets.clone()))
        return changed, targets

    monkeypatch.setattr(fl.Augment, "__call__", watched)
    recipe = fl.Recipe.of(model="mlp", hidden=(8,), epochs=2, batch_size=32, shift=2, rotate=20.0)
    fl.train(some_digits, recipe, out=tmp_path / "run")
    trained = [next(entry for entry in seen if entry[0] == epoch) for epoch in (1, 2)]
    seen.clear()
    for epoch, (_, images, targets) in enumerate(trained, 1):
        axes = fl.show_batch(some_digits, recipe, count=9, epoch=epoch)
        assert len(axes) == 9
        for ax, image, label in zip(axes, images, targets, strict=False):
            assert np.array_equal(np.asarray(ax.images[0].get_array()), image[0].numpy())
            assert ax.get_title() == str(int(label))
    assert not torch.equal(trained[0][1], trained[1][1])


def test_mixed_images_are_named_by_both_classes(some_digits):
    axes = fl.show_batch(some_digits, model="mlp", mixup=1.0, batch_size=32)
    titles = [ax.get_title() for ax in axes]
    assert any("\n" in title and "%" in title for title in titles)


def test_wrong_choices_are_refused(some_digits):
    for choices in ({"count": 0}, {"epoch": "1"}, {"rotation": 3}):
        with pytest.raises(RecipeError):
            fl.show_batch(some_digits, model="mlp", **choices)
