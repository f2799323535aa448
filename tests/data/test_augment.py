"""Augmentation as a whole: the same sample gets the same treatment, in the promised amounts, everywhere."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_digits, load_sample_image

from firstlight.data.augment import Augment
from firstlight.data.random_transforms import (
    beta_table,
    crop_boxes,
    jitter_factor,
    log_uniform_table,
    rotation_table,
)
from firstlight.data.randomness import SampleRandom
from firstlight.errors import RecipeError

CPU = torch.device("cpu")
LIGHT = Augment(flip=True, shift=2)
GEOMETRY = Augment(flip=True, shift=2, crop_scale=0.5, rotate=20)
ALONE = dataclasses.replace(GEOMETRY, color_jitter=0.4, erase=0.5)  # everything that needs no partner
EVERYTHING = dataclasses.replace(ALONE, mixup=0.4, cutmix=1.0)
KINDS = {"light": LIGHT, "geometry": GEOMETRY, "alone": ALONE}


@pytest.fixture(scope="module")
def digits():
    """Real handwritten digits, uint8 [N, 1, 8, 8], and their labels."""
    loaded = load_digits()
    pixels = torch.from_numpy((loaded.images[:600] * 15.9375).astype(np.uint8))
    return pixels[:, None], torch.from_numpy(loaded.target[:600])


@pytest.fixture(scope="module")
def photographs():
    """Tiles of a real photograph, uint8 [192, 3, 32, 32] channels-last, and labels."""
    photo = torch.from_numpy(load_sample_image("china.jpg").copy())[:384, :512]
    tiles = photo.reshape(12, 32, 16, 32, 3).transpose(1, 2).reshape(-1, 32, 32, 3)
    return tiles.permute(0, 3, 1, 2), torch.arange(len(tiles)) % 10


@pytest.fixture(params=["digits", "photographs"])
def pictures(request):
    return request.getfixturevalue(request.param)


def augmented(augment, pictures, rows=None, *, seed=0, epoch=0):
    """Augment the samples `rows` as one batch."""
    images, labels = pictures
    rows = torch.arange(len(images)) if rows is None else torch.as_tensor(rows)
    return augment(images[rows], labels[rows], rows, seed=seed, epoch=epoch, num_classes=10)


def test_nothing_chosen_gives_the_very_same_tensors(pictures):
    images, labels = pictures
    answer = Augment()(images, labels, torch.arange(len(images)), seed=0, epoch=0, num_classes=10)
    assert answer[0] is images
    assert answer[1] is labels


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_the_same_in_any_batch(pictures, kind):
    whole, _ = augmented(KINDS[kind], pictures)
    generator = torch.Generator().manual_seed(0)
    for size in (1, 2, 7, 63):
        rows = torch.randperm(len(whole), generator=generator)[:size]
        assert torch.equal(augmented(KINDS[kind], pictures, rows)[0], whole[rows])


@settings(max_examples=25)
@given(rows=st.lists(st.integers(0, 599), min_size=1, max_size=40))
def test_company_order_and_repetition_never_matter(digits, rows):
    whole, _ = augmented(ALONE, digits)
    assert torch.equal(augmented(ALONE, digits, rows)[0], whole[torch.tensor(rows)])


@pytest.mark.parametrize("augment", [LIGHT, EVERYTHING])
def test_the_same_batch_is_the_same_bits_whatever_the_threads_and_global_generators(pictures, augment):
    once = augmented(augment, pictures, seed=5, epoch=3)
    threads = torch.get_num_threads()
    torch.manual_seed(123)
    try:
        torch.set_num_threads(3)
        again = augmented(augment, pictures, seed=5, epoch=3)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(left, right) for left, right in zip(once, again, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_other_epochs_and_seeds_give_other_images(pictures, kind):
    here = augmented(KINDS[kind], pictures, seed=0, epoch=0)[0]
    for seed, epoch in ((0, 1), (1, 0)):
        there = augmented(KINDS[kind], pictures, seed=seed, epoch=epoch)[0]
        assert (here != there).flatten(1).any(1).float().mean() > 0.9


@pytest.mark.parametrize("augment", [LIGHT, GEOMETRY, Augment(color_jitter=0.3), Augment(erase=1), EVERYTHING])
def test_shape_type_and_channels_last_are_kept_and_the_input_untouched(pictures, augment):
    images, labels = pictures
    before = images.clone()
    given_rows = torch.arange(len(images))
    answer, _ = augment(images, labels, given_rows, seed=0, epoch=0, num_classes=10)
    assert answer.dtype == torch.uint8
    assert answer.shape == images.shape
    assert answer.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)
    contiguous = augment(images.contiguous(), labels, given_rows, seed=0, epoch=0, num_classes=10)[0]
    assert torch.equal(contiguous, answer)
    assert contiguous.is_contiguous(memory_format=torch.channels_last)


def test_half_of_the_images_are_flipped_and_the_rest_are_as_they_were(digits):
    images, _ = digits
    answer, _ = augmented(Augment(flip=True), digits)
    flips = SampleRandom(torch.arange(len(images)), 0, 0).chance("flip", 0.5)
    assert torch.equal(answer, torch.where(flips[:, None, None, None], images.flip(3), images))
    assert stats.binomtest(int(flips.sum()), len(flips), 0.5).pvalue > 0.01


def test_every_shift_is_as_likely_as_any_other():
    # A bright dot far from the border tells where the window went.
    images = torch.zeros(5000, 1, 11, 11, dtype=torch.uint8)
    images[:, :, 5, 5] = 255
    answer, _ = augmented(Augment(shift=2), (images, torch.zeros(5000, dtype=torch.int64)))
    places = answer.flatten(1).argmax(1).numpy()
    down, across = places // 11 - 5, places % 11 - 5
    assert set(down) == set(across) == {-2, -1, 0, 1, 2}
    counts = np.bincount((down + 2) * 5 + across + 2, minlength=25)
    assert stats.chisquare(counts).pvalue > 0.01


@given(
    scale=st.floats(0.01, 0.999),
    height=st.integers(2, 300),
    width=st.integers(2, 300),
)
@settings(max_examples=50)
def test_a_crop_box_covers_at_least_its_fraction_and_lies_inside(scale, height, width):
    rng = SampleRandom(torch.arange(200), 0, 0)
    boxes = crop_boxes(rng, scale, height=height, width=width)
    left, top, box_width, box_height = boxes.unbind(1)
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + box_width <= width).all()
    assert (top + box_height <= height).all()
    assert (box_width * box_height >= scale * height * width * (1 - 1e-6)).all()
    if min(height * scale, width * scale) > 50:
        ratio = (box_width / width) / (box_height / height)
        assert (ratio < 4 / 3 * 1.05).all()
        assert (ratio > 3 / 4 / 1.05).all()


def test_angles_are_uniform_and_aspects_log_uniform():
    rotations = rotation_table(30.0, CPU).double().numpy()
    angles = np.degrees(np.arctan2(rotations[:, 1], rotations[:, 0]))
    assert stats.kstest(angles, stats.uniform(-30, 60).cdf).statistic < 1e-3
    assert np.allclose(np.hypot(rotations[:, 0], rotations[:, 1]), 1)
    aspects = log_uniform_table(4 / 3, CPU).double().numpy()
    assert stats.kstest(np.log(aspects), stats.uniform(-math.log(4 / 3), 2 * math.log(4 / 3)).cdf).statistic < 1e-3


@pytest.mark.parametrize("parameter", [0.01, 0.1, 0.2, 0.5, 1.0, 2.0, 8.0, 100.0])
def test_the_beta_table_holds_scipys_quantiles(parameter):
    table = beta_table(parameter, CPU).double().numpy()
    levels = (np.arange(len(table)) + 0.5) / len(table)
    assert np.abs(stats.beta(parameter, parameter).ppf(levels) - table).max() < 1e-4


@pytest.mark.parametrize("parameter", [1e-6, 1e-3])
def test_a_tiny_beta_is_a_coin(parameter):
    table = beta_table(parameter, CPU)
    assert table.isfinite().all()
    assert ((table < 0.01) | (table > 0.99)).float().mean() > 0.98


def test_jittered_factors_stay_within_their_range_and_move_the_mean(photographs):
    images, _ = photographs
    for strength in (0.1, 0.5, 1.0):
        factors = jitter_factor(SampleRandom(torch.arange(10_000), 0, 0), "brightness", strength)
        assert 1 - strength <= factors.min() < 1 - 0.99 * strength
        assert 1 + 0.99 * strength < factors.max() <= 1 + strength
    answer, _ = augmented(Augment(color_jitter=0.4), photographs)
    assert (answer.float().mean((1, 2, 3)) - images.float().mean((1, 2, 3))).abs().mean() > 5


def test_erasing_hits_as_often_as_said_and_blanks_one_box_of_the_mean_color():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1000, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images = images // 2 * 2  # even levels; an odd one is paint
    answer, _ = augmented(Augment(erase=0.4), (images, torch.zeros(1000, dtype=torch.int64)))
    changed = (answer != images).any(1)
    hit = changed.flatten(1).any(1)
    assert stats.binomtest(int(hit.sum()), 1000, 0.4).pvalue > 0.01
    for image, result, mask in zip(images[hit], answer[hit], changed[hit], strict=True):
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        box = result[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert torch.equal(box, box[:, :1, :1].expand_as(box))
        assert (box[:, 0, 0] - image.float().mean((1, 2))).abs().max() <= 0.501
        assert 0.01 < box[0].numel() / 1024 < 0.37


@pytest.mark.parametrize("augment", [Augment(mixup=0.4), Augment(cutmix=1.0), Augment(mixup=0.4, cutmix=1.0)])
def test_soft_targets_are_the_fractions_of_the_pixels(augment, digits):
    # White pictures beside black ones: the mean gray level of a mixed picture is the white one's share.
    count = 64
    labels = torch.arange(count) % 10
    images = torch.where(torch.arange(count) % 2 == 0, 255, 0).to(torch.uint8)[:, None, None, None]
    images = images.expand(count, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    mixed, targets = augment(images, labels, torch.arange(count) * 31, seed=0, epoch=0, num_classes=10)
    assert targets.dtype == torch.float32
    assert torch.allclose(targets.sum(1), torch.ones(count), atol=1e-6)
    white = mixed.double().mean((1, 2, 3)) / 255
    for k in range(count):
        partner = (k + 1) % count
        own = float(targets[k, labels[k]])
        assert targets[k, labels[partner]] == pytest.approx(1 - own, abs=1e-6)
        assert (targets[k] > 0).sum() <= 2
        assert white[k] == pytest.approx(own if k % 2 == 0 else 1 - own, abs=0.5 / 255 + 1e-6)


def test_each_sample_takes_mixup_or_cutmix_by_a_fair_coin():
    count = 2000
    images = torch.where(torch.arange(count) % 2 == 0, 255, 0).to(torch.uint8)[:, None, None, None]
    images = images.expand(count, 1, 16, 16)
    mixed, _ = augmented(Augment(mixup=8.0, cutmix=8.0), (images, torch.arange(count) % 10))
    # A pasted picture of this pair has black and white alone, a blended one is one gray all over.
    flat = mixed.flatten(1)
    blended = (flat == flat[:, :1]).all(1)
    assert ((flat == 0) | (flat == 255))[~blended].all()
    assert stats.binomtest(int((~blended).sum()), count, 0.5).pvalue > 0.01


def test_the_fractions_of_cutmix_follow_itsbeta_table():
    count = 4000
    images = torch.zeros(count, 1, 64, 64, dtype=torch.uint8)
    labels = torch.arange(count) % 2
    _, targets = augmented(Augment(cutmix=2.0), (images, labels))
    own = targets.gather(1, labels[:, None])[:, 0].double().numpy()
    # Boxes of whole pixels know 65 shares only, so no test of the exact distribution would do.
    assert stats.kstest(own, stats.beta(2, 2).cdf).statistic < 0.04
    assert own.mean() == pytest.approx(0.5, abs=0.015)


def test_equal_labels_mixed_stay_certain(digits):
    images, labels = digits
    _, targets = augmented(Augment(mixup=1.0), (images, torch.full_like(labels, 3)))
    assert torch.allclose(targets[:, 3], torch.ones(len(labels)))


def test_hard_labels_come_back_as_they_were_without_mixing(pictures):
    images, labels = pictures
    targets = ALONE(images, labels, torch.arange(len(images)), seed=0, epoch=0, num_classes=10)[1]
    assert targets is labels


def test_turning_one_choice_on_leaves_the_random_numbers_of_the_others_alone(photographs):
    flips_alone, _ = augmented(Augment(flip=True), photographs)
    flips_and_colors, _ = augmented(Augment(flip=True, erase=0.3), photographs)
    untouched = (flips_alone == flips_and_colors).flatten(1).all(1)
    assert 0.55 < untouched.float().mean() < 0.85


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flip", 1),
        ("shift", -1),
        ("shift", 1.5),
        ("shift", True),
        ("crop_scale", 0),
        ("crop_scale", 1.2),
        ("crop_scale", math.nan),
        ("rotate", -5),
        ("rotate", 360),
        ("color_jitter", 1.5),
        ("erase", -0.1),
        ("erase", math.nan),
        ("mixup", -1),
        ("mixup", math.inf),
        ("cutmix", 1000),
    ],
)
def test_a_silly_value_is_refused_in_one_line_that_names_the_field(field, value):
    with pytest.raises(RecipeError, match=rf"^{field} = .*: .+") as caught:
        Augment(**{field: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("augment", [Augment(shift=8), Augment(shift=8, rotate=5)])
def test_a_shift_as_wide_as_the_image_is_refused(digits, augment):
    with pytest.raises(RecipeError, match="^shift = 8: choose less than the side of the pictures, 8 x 8"):
        augmented(augment, digits)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (3, 7, 1)])
def test_images_one_pixel_wide_survive(shape):
    images = torch.full((4, *shape), 77, dtype=torch.uint8)
    answer, _ = augmented(dataclasses.replace(ALONE, shift=0, color_jitter=0), (images, torch.zeros(4).long()))
    assert torch.equal(answer, images)


def test_a_batch_of_one_is_its_own_partner(digits):
    images, _ = digits
    answer, targets = augmented(Augment(mixup=1.0, cutmix=1.0), digits, [17])
    assert torch.equal(answer, images[17:18])
    assert float(targets.max()) == pytest.approx(1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to compare with")
def test_a_gpu_gives_the_same_images(photographs):
    images, labels = photographs
    rows = torch.arange(len(images))
    for augment, levels in ((LIGHT, 0), (EVERYTHING, 1)):
        here = augment(images, labels, rows, seed=0, epoch=0, num_classes=10)
        there = augment(images.cuda(), labels.cuda(), rows.cuda(), seed=0, epoch=0, num_classes=10)
        assert (here[0].int() - there[0].cpu().int()).abs().max() <= levels
        assert torch.equal(here[1], there[1].cpu())
