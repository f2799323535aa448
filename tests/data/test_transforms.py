"""The batched transforms against slow ones: NumPy slices, Pillow and torchvision, a picture at a time."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as oracle

from firstlight.data.transforms import adjust_colors, blend, erase, flip_and_shift, paste, resample


def photographs(count=40, height=32, width=32):
    """Tiles of two real photographs, uint8 [B, H, W, 3]."""
    tiles = []
    for name in ("china.jpg", "flower.jpg"):
        photo = load_sample_image(name)
        for top in range(0, photo.shape[0] - height, height * 2):
            tiles += [photo[top : top + height, left : left + width] for left in range(0, 600, 75)]
    return torch.from_numpy(np.stack(tiles[:: max(1, len(tiles) // count)][:count]))


def digits(count=40):
    """Real handwritten digits, uint8 [B, 8, 8, 1]."""
    return torch.from_numpy((load_digits().images[:count] * 15.9375).astype(np.uint8))[..., None]


@pytest.fixture(params=["photographs", "digits", "oblong photographs"])
def pixels(request):
    return {
        "photographs": photographs,
        "digits": digits,
        "oblong photographs": lambda: photographs(height=24, width=40),
    }[request.param]()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def planes(image):
    return image.permute(2, 0, 1)


def still(pixels):
    """Parameters of `resample` that change nothing."""
    count, height, width, _ = pixels.shape
    nothing = torch.zeros(count, dtype=torch.int64)
    return {
        "flips": nothing.bool(),
        "across": nothing,
        "down": nothing,
        "boxes": torch.tensor([[0, 0, width, height]]).repeat(count, 1),
        "rotations": torch.tensor([[1.0, 0.0]]).repeat(count, 1),
    }


def moves(pixels, rng, reach=4):
    count = len(pixels)
    return {
        "flips": torch.from_numpy(rng.random(count) < 0.5),
        "across": torch.from_numpy(rng.integers(-reach, reach + 1, count)),
        "down": torch.from_numpy(rng.integers(-reach, reach + 1, count)),
    }


def gap(left, right):
    """The largest difference in gray levels."""
    return int((left.int() - right.int()).abs().max())


def test_flip_and_shift_are_numpy_slices_of_the_reflected_image(pixels, rng):
    drawn = moves(pixels, rng)
    _, height, width, _ = pixels.shape
    moved = flip_and_shift(pixels, **drawn).numpy()
    for k, image in enumerate(pixels.numpy()):
        mirrored = image[:, ::-1] if drawn["flips"][k] else image
        padded = np.pad(mirrored, ((4, 4), (4, 4), (0, 0)), mode="reflect")
        top, left = 4 + int(drawn["down"][k]), 4 + int(drawn["across"][k])
        assert np.array_equal(moved[k], padded[top : top + height, left : left + width])


def test_the_farthest_shift_still_reflects(pixels):
    count, height, width, _ = pixels.shape
    far = torch.full((count,), width - 1)
    moved = flip_and_shift(pixels, torch.zeros(count, dtype=torch.bool), far, torch.full((count,), 1 - height))
    assert torch.equal(moved, pixels.flip(1, 2))


def test_resampling_agrees_with_the_integer_road(pixels, rng):
    drawn = moves(pixels, rng)
    assert torch.equal(resample(pixels, **(still(pixels) | drawn)), flip_and_shift(pixels, **drawn))


def test_resampling_nothing_changes_nothing(pixels):
    assert torch.equal(resample(pixels, **still(pixels)), pixels)


@pytest.mark.parametrize("degrees", [-180, -90, -37, 5, 15, 90, 123])
def test_rotation_is_torchvisions_inside_the_image(pixels, degrees):
    radians = torch.tensor(np.radians(degrees))
    rotations = torch.stack([radians.cos(), radians.sin()]).float().repeat(len(pixels), 1)
    turned = resample(pixels, **(still(pixels) | {"rotations": rotations}))
    for image, result in zip(pixels, turned, strict=True):
        expected = oracle.rotate(planes(image), degrees, interpolation=InterpolationMode.BILINEAR, fill=0)
        # Where torchvision found a whole picture under the pixel: a white one keeps its white there.
        white = torch.full_like(planes(image), 255)
        inside = oracle.rotate(white, degrees, interpolation=InterpolationMode.BILINEAR, fill=0) == 255
        assert inside.float().mean() > 0.4
        assert gap(planes(result)[inside], expected[inside]) <= 1


def test_outside_a_turned_image_is_its_reflection(pixels):
    # An eighth of a turn of the reflected mosaic, as SciPy sees it ("mirror": the outermost pixel is not repeated).
    from scipy import ndimage

    degrees, (_, height, width, _) = 45, pixels.shape
    angle = np.radians(degrees)
    rotations = torch.tensor([[np.cos(angle), np.sin(angle)]], dtype=torch.float32).repeat(len(pixels), 1)
    turned = resample(pixels, **(still(pixels) | {"rotations": rotations}))
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    for image, result in zip(pixels[:10].numpy(), turned[:10], strict=True):
        for channel in range(image.shape[2]):
            expected = ndimage.affine_transform(
                image[..., channel].astype(float), matrix, middle - matrix @ middle, order=1, mode="mirror"
            )
            assert np.abs(expected - result[..., channel].numpy()).max() <= 0.51


def test_resized_crop_is_torchvisions_inside_the_box(pixels, rng):
    count, height, width, _ = pixels.shape
    box_width = rng.integers(width // 2, width + 1, count)
    box_height = rng.integers(height // 2, height + 1, count)
    left, top = rng.integers(0, width - box_width + 1), rng.integers(0, height - box_height + 1)
    boxes = torch.from_numpy(np.stack([left, top, box_width, box_height], axis=1))
    cropped = resample(pixels, **(still(pixels) | {"boxes": boxes}))
    for k, image in enumerate(pixels):
        expected = oracle.resized_crop(
            planes(image),
            int(top[k]),
            int(left[k]),
            int(box_height[k]),
            int(box_width[k]),
            [height, width],
            interpolation=InterpolationMode.BILINEAR,
            antialias=False,
        )
        # At the rim torchvision repeats the box's last pixel where ours still sees its neighbor outside the box.
        assert gap(planes(cropped[k])[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2]) <= 1


def test_turn_crop_flip_and_shift_come_in_this_order(rng):
    # One step after the other rounds and blurs more often, so the pictures must be smooth for the two to agree.
    coarse = photographs(20, height=8, width=8).permute(0, 3, 1, 2)
    smooth = oracle.resize(coarse, [48, 48], interpolation=InterpolationMode.BICUBIC, antialias=False)
    pixels = smooth.permute(0, 2, 3, 1)
    count = len(pixels)
    drawn = moves(pixels, rng)
    angles = torch.from_numpy(rng.uniform(-0.5, 0.5, count)).float()
    drawn |= {"rotations": torch.stack([angles.cos(), angles.sin()], dim=1)}
    drawn |= {"boxes": torch.tensor([[12, 9, 24, 27]]).repeat(count, 1)}
    turned = resample(pixels, **(still(pixels) | {"rotations": drawn["rotations"]}))
    cropped = resample(turned, **(still(pixels) | {"boxes": drawn["boxes"]}))
    moved = flip_and_shift(cropped, drawn["flips"], drawn["across"], drawn["down"])
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert gap(resample(pixels, **drawn)[inner], moved[inner]) <= 6


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_each_color_change_is_torchvisions(pixels, rng, kind):
    factors = torch.from_numpy(rng.uniform(0, 2, len(pixels))).float()
    ones = torch.ones_like(factors)
    changed = adjust_colors(pixels, **({"brightness": ones, "contrast": ones, "saturation": ones} | {kind: factors}))
    for image, result, factor in zip(pixels, changed, factors.tolist(), strict=True):
        # In float: on uint8 torchvision rounds down, twice. Its luma weights (0.2989 ...) sum to 0.9999.
        expected = 255 * getattr(oracle, f"adjust_{kind}")(planes(image) / 255, factor)
        assert (planes(result) - expected).abs().max() < 0.55


def test_all_color_changes_are_torchvisions_contrast_then_brightness_then_saturation(pixels, rng):
    brightness, contrast, saturation = torch.from_numpy(rng.uniform(0.4, 1.6, (3, len(pixels)))).float()
    changed = adjust_colors(pixels, brightness, contrast, saturation)
    for k, image in enumerate(pixels):
        expected = planes(image) / 255
        expected = oracle.adjust_contrast(expected, float(contrast[k]))
        expected = oracle.adjust_brightness(expected, float(brightness[k]))
        expected = oracle.adjust_saturation(expected, float(saturation[k]))
        assert (planes(changed[k]) - 255 * expected).abs().max() < 0.6


def test_factors_of_one_change_no_color(pixels):
    ones = torch.ones(len(pixels))
    assert torch.equal(adjust_colors(pixels, ones, ones, ones), pixels)


def test_erasing_paints_the_box_in_the_mean_color_and_nothing_else(pixels):
    boxes = torch.tensor([[1, 2, 4, 3], [0, 0, 0, 0], [5, 5, 3, 3]]).repeat(len(pixels), 1)[: len(pixels)]
    erased = erase(pixels, boxes).numpy()
    for k, (left, top, width, height) in enumerate(boxes.tolist()):
        expected = pixels[k].numpy().copy()
        mean = np.floor(expected.reshape(-1, expected.shape[2]).mean(axis=0) + 0.5)
        expected[top : top + height, left : left + width] = mean
        assert np.array_equal(erased[k], expected)


def test_pasting_is_a_slice_of_the_other_image(pixels):
    others = pixels.flip(0)
    pasted = paste(pixels, others, torch.tensor([[1, 2, 4, 3]]).repeat(len(pixels), 1))
    expected = pixels.clone()
    expected[:, 2:5, 1:5] = others[:, 2:5, 1:5]
    assert torch.equal(pasted, expected)


def test_blending_is_the_rounded_weighted_mean(pixels, rng):
    fraction = torch.from_numpy(rng.random(len(pixels))).float()
    blended = blend(pixels, pixels.flip(0), fraction)
    weights = fraction.double().numpy()[:, None, None, None]
    expected = weights * pixels.numpy() + (1 - weights) * pixels.numpy()[::-1]
    assert np.abs(blended.numpy() - expected).max() < 0.5001
