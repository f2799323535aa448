"""Planted copies are found, similar images are not merged, and nothing depends on order or batch."""

import gzip
import importlib
import io
import tarfile
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from firstlight.data.duplicates import (
    FINGERPRINT,
    Duplicates,
    candidates,
    find_duplicates,
    fingerprint,
    fingerprints,
    group_ids,
    groups,
    separate_exact_copies,
)

module = importlib.import_module("firstlight.data.duplicates.fingerprints")  # a function of the same name hides it

ALL_WAYS = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


@pytest.fixture(scope="module")
def mnist(shared_data):
    return np.concatenate([idx_images(shared_data / "mnist" / f"{part}-images-idx3-ubyte.gz") for part in SPLIT_NAMES])


SPLIT_NAMES = ("train", "t10k")


def idx_images(path):
    raw = gzip.decompress(path.read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28, 1)


@pytest.fixture(scope="module")
def mnist_ones(shared_data, mnist):
    labels = [
        gzip.decompress((shared_data / "mnist" / f"{part}-labels-idx1-ubyte.gz").read_bytes()) for part in SPLIT_NAMES
    ]
    return mnist[np.concatenate([np.frombuffer(raw, np.uint8, offset=8) for raw in labels]) == 1]


@pytest.fixture(scope="module")
def photos(shared_data):
    """20 photographs, of every kind of clothing."""
    with tarfile.open(shared_data / "clothing10.tar") as archive:
        members = [member for member in archive.getmembers() if member.isfile() and member.name.endswith(".jpg")]
        return [decoded(archive.extractfile(member).read()) for member in members[:: len(members) // 20]][:20]


@pytest.fixture(scope="module")
def cifar(shared_data):
    """1,000 pictures of 32x32."""
    with tarfile.open(shared_data / "cifar10-jpeg.tar.gz") as archive:
        images = []
        for member in archive:
            if member.isfile():
                images.append(decoded(archive.extractfile(member).read()))
            if len(images) == 1000:
                return np.stack(images)
    raise AssertionError("the archive is too short")


def decoded(data):
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def as_image(pixels):
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def encoded(pixels, kind, **options):
    file = io.BytesIO()
    as_image(pixels).save(file, kind, **options)
    read = decoded(file.getvalue())
    return read if read.shape[2] == pixels.shape[2] else read.mean(axis=2, keepdims=True).round().astype(np.uint8)


def resized(pixels, factor, resample=Image.Resampling.BICUBIC):
    image = as_image(pixels)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    small = np.asarray(image.resize(size, resample))
    return small[:, :, None] if small.ndim == 2 else small


def laid(pixels, turns, mirrored):
    turned = np.rot90(pixels, turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def prints_of(images):
    return np.stack([fingerprint(image) for image in images])


COPIES = {
    "PNG": lambda pixels: encoded(pixels, "PNG"),
    "JPEG 90": lambda pixels: encoded(pixels, "JPEG", quality=90),
    "JPEG 60": lambda pixels: encoded(pixels, "JPEG", quality=60),
    "WebP 75": lambda pixels: encoded(pixels, "WEBP", quality=75),
    "0.8 times": lambda pixels: resized(pixels, 0.8),
    "half, bilinear": lambda pixels: resized(pixels, 0.5, Image.Resampling.BILINEAR),
    "1.3 times": lambda pixels: resized(pixels, 1.3),
    "twice": lambda pixels: resized(pixels, 2),
    "0.8 times as JPEG": lambda pixels: encoded(resized(pixels, 0.8), "JPEG", quality=85),
    "brighter": lambda pixels: np.clip(pixels * 1.1 + 5, 0, 255).astype(np.uint8),
}


def found_of_planted(originals, copy, seed):
    """Plant a copy of up to 40 originals, each laid down at random; give the share found, and how many else merge."""
    draw = np.random.default_rng(seed)
    chosen = draw.choice(len(originals), min(40, len(originals)), replace=False)
    copies = [laid(copy(originals[row]), draw.integers(4), draw.integers(2)) for row in chosen]
    prints = fingerprints(originals) if isinstance(originals, np.ndarray) else prints_of(originals)
    before = group_ids(len(prints), find_duplicates(prints))
    after = group_ids(len(prints) + len(copies), find_duplicates(np.concatenate([prints, prints_of(copies)])))
    return np.mean(after[len(prints) :] == after[chosen]), np.count_nonzero(after[: len(prints)] != before)


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_photographs_are_found_and_nothing_else_is(photos, kind):
    assert found_of_planted(photos, COPIES[kind], seed=1) == (1, 0)


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_tiny_color_images_are_found_and_nothing_else_is(cifar, kind):
    fraction, others = found_of_planted(cifar, COPIES[kind], seed=2)
    assert fraction >= (0.95 if kind == "brighter" else 1)  # a pale picture made brighter loses what was clipped
    assert others == 0


@pytest.mark.parametrize("kind", COPIES)
def test_copies_among_handwritten_digits_are_found_and_nothing_else_is(mnist, kind):
    assert found_of_planted(mnist[::20], COPIES[kind], seed=3) == (1, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG 90", "twice"])
def test_copies_of_eight_pixel_digits_are_found_and_nothing_else_is(digits, kind):
    images = digits[0][..., None]
    fraction, others = found_of_planted(images, COPIES[kind], seed=4)
    assert fraction >= (1 if kind == "PNG" else 0.8)  # in 64 pixels, strangers come as close as a spoilt copy
    assert others == 0


def test_no_two_handwritten_ones_merge(mnist_ones):
    assert len(mnist_ones) == 7877
    assert find_duplicates(fingerprints(mnist_ones)) == Duplicates([], [])


@pytest.fixture
def comparisons(monkeypatch):
    """How many pairs of hashes and how many pairs of images are compared, each time that copies are looked for."""
    counted = {"hashes": [], "images": []}
    leaves, verify = candidates._leaves, groups.verify

    def watched_leaves(hashes):
        sizes = []
        for rows in leaves(hashes):
            sizes.append(len(rows) ** 2)
            yield rows
        counted["hashes"].append(sum(sizes))

    def watched_verify(prints, spectra, pairs, is_dense):
        counted["images"].append(len(pairs))
        return verify(prints, spectra, pairs, is_dense)

    monkeypatch.setattr(candidates, "_leaves", watched_leaves)
    monkeypatch.setattr(groups, "verify", watched_verify)
    return counted


def assert_linear(comparisons, count):
    """A search of all pairs would compare `count ** 2` hashes."""
    assert max(comparisons["hashes"]) <= min(count**2 // 2, 2 * candidates.MAX_LEAF_HASHES * count)
    assert max(comparisons["images"]) <= 8 * count


@pytest.mark.slow
def test_no_two_of_the_seventy_thousand_digits_merge_and_few_of_all_pairs_are_compared(mnist, comparisons):
    assert find_duplicates(fingerprints(mnist)) == Duplicates([], [])
    assert_linear(comparisons, 70_000)


def test_eight_pixel_digits_hold_no_copies(digits):
    assert find_duplicates(fingerprints(digits[0][..., None])) == Duplicates([], [])


@pytest.mark.parametrize(("turns", "mirrored"), ALL_WAYS[1:])
def test_a_image_laid_down_another_way_is_a_near_copy(photos, turns, mirrored):
    both = [photos[0], laid(photos[0], turns, mirrored), photos[1]]
    assert find_duplicates(prints_of(both)) == Duplicates([], [[0, 1]])


def test_a_gray_file_and_its_color_copy_are_near_copies(mnist):
    both = [mnist[0], np.repeat(mnist[0], 3, axis=2)]
    assert find_duplicates(prints_of(both)) == Duplicates([], [[0, 1]])


def test_the_same_image_in_another_color_is_another_image(photos):
    plain = photos[0] // 2 + 60
    painted = plain + np.array([20, 0, -52])  # as bright as before: 0.299 * 20 = 0.114 * 52
    assert find_duplicates(prints_of([plain, painted.astype(np.uint8)])).near == []


def test_a_different_print_on_the_same_garment_is_another_image(photos):
    height, width, _ = photos[0].shape
    printed = photos[0].copy()
    print_ = printed[height * 5 // 12 : height * 7 // 12, width * 5 // 12 : width * 7 // 12]
    print_[...] = (255 - print_) // 2
    difference = np.abs(printed.astype(int) - photos[0]).max()
    assert difference > 60
    assert find_duplicates(prints_of([photos[0], printed])).near == []


def test_a_batch_gives_the_same_bits_as_single_images(cifar, mnist, digits):
    for images in (cifar[:50], mnist[:50], digits[0][:50, :, :, None], cifar[:20, :31, :17]):
        np.testing.assert_array_equal(fingerprints(images), prints_of(images))


def test_the_thumbnail_is_the_area_average(photos):
    pixels = photos[0]
    height, width, _ = pixels.shape
    fine = pixels.astype(np.float64) @ [0.299, 0.587, 0.114]
    rows = np.add.reduce(np.repeat(fine, 32, axis=0).reshape(32, height, width), axis=1) / height
    cells = np.add.reduce(np.repeat(rows, 32, axis=1).reshape(32, 32, width), axis=2) / width
    assert np.abs(fingerprint(pixels)["luma"] - cells).max() <= 0.51


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (5, 7, 1), (33, 31, 3), (64, 128, 3), (91, 91, 3), (10, 2000, 3), (2000, 10, 1), (8193, 40, 3)]
)
def test_sums_are_exact_whichever_way_they_are_taken(shape):
    pixels = np.random.default_rng(8).integers(0, 256, shape, dtype=np.uint8)
    cuts = [np.repeat(np.eye(32, dtype=np.int64), n, axis=1).reshape(32, n, 32).sum(axis=2) for n in shape[:2]]
    expected = np.einsum("ih,jw,hwc->cij", *cuts, pixels.astype(np.int64), optimize=True)
    np.testing.assert_array_equal(module._cell_sums_by_line(pixels), expected)
    if shape[0] * shape[1] <= module.MAX_BLAS_AREA:
        np.testing.assert_array_equal(module._cell_sums(pixels[None])[0], expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 8, 1), (31, 17, 3), (128, 128, 3), (400, 301, 3)])
def test_a_digest_tells_any_changed_pixel_and_any_other_shape(shape):
    draw = np.random.default_rng(9)
    pixels = draw.integers(0, 256, shape, dtype=np.uint8)
    changed = [pixels, pixels.reshape(1, -1, shape[2]), np.zeros(shape, np.uint8), np.zeros((9, 9, 3), np.uint8)]
    for _ in range(20):
        changed.append(pixels.copy())
        changed[-1].reshape(-1)[draw.integers(pixels.size)] ^= np.uint8(1 << draw.integers(8))
    digests = {(image.shape, image.tobytes()): fingerprint(image)["digest"].tobytes() for image in changed}
    assert len(set(digests.values())) == len(digests)
    assert fingerprint(pixels.copy())["digest"] == fingerprint(pixels)["digest"]


def test_equal_pixels_in_different_files_are_told_from_near_copies():
    found = Duplicates(exact=[[0, 1], [2, 3], [8, 9]], near=[[0, 1, 4], [2, 3, 5, 6]])
    digests = {0: b"a", 1: b"a", 4: b"a", 2: b"b", 3: b"b", 5: b"c", 6: b"c"}
    assert separate_exact_copies(found, digests) == Duplicates([[0, 1, 4], [2, 3], [5, 6], [8, 9]], [[2, 3, 5, 6]])


def test_a_fingerprint_is_small():
    assert FINGERPRINT.itemsize <= 4096


def test_exact_groups_hold_equal_pixels_and_near_groups_hold_their_exact_copies_too(photos):
    images = [photos[0], photos[1], photos[0].copy(), encoded(photos[0], "JPEG", quality=80), photos[1].copy()]
    assert find_duplicates(prints_of(images)) == Duplicates([[0, 2], [1, 4]], [[0, 2, 3]])


def test_equal_bytes_of_another_shape_are_not_exact_copies():
    pixels = np.arange(64 * 16, dtype=np.uint8)
    assert find_duplicates(prints_of([pixels.reshape(64, 16, 1), pixels.reshape(16, 64, 1)])).exact == []


def test_groups_follow_the_images_when_their_order_changes(cifar):
    draw = np.random.default_rng(5)
    copies = [encoded(image, "JPEG", quality=70) for image in cifar[:60]]
    prints = np.concatenate([fingerprints(cifar), prints_of(copies), fingerprints(cifar[60:70])])
    order = draw.permutation(len(prints))
    straight, shuffled = find_duplicates(prints), find_duplicates(prints[order])
    for before, after in ((straight.exact, shuffled.exact), (straight.near, shuffled.near)):
        assert {frozenset(group) for group in before} == {frozenset(order[group].tolist()) for group in after}


def test_images_of_one_color_are_copies_only_when_the_color_is_equal():
    grays = [np.full((20, 30, 3), level, np.uint8) for level in range(100, 110)]
    larger = np.full((40, 50, 3), 105, np.uint8)
    assert find_duplicates(prints_of([*grays, larger])) == Duplicates([], [[5, 10]])


def test_fine_patterns_that_average_to_the_same_gray_stay_apart():
    rows, columns = np.mgrid[:128, :128]
    stripes, checks = (rows % 2 * 255).astype(np.uint8), ((rows + columns) % 2 * 255).astype(np.uint8)
    assert find_duplicates(prints_of([stripes[..., None], checks[..., None]])) == Duplicates([], [])


def test_images_that_all_look_the_same_are_not_all_compared_with_each_other(mnist, comparisons):
    count = 3 * candidates.MAX_LEAF_HASHES // 2
    draw = np.random.default_rng(6)
    wobble = draw.integers(-1, 2, (count, 28, 28, 1), dtype=np.int16)
    blank = np.clip(wobble, 0, 255).astype(np.uint8)
    alike = np.clip(mnist[0] + wobble, 0, 255).astype(np.uint8)
    assert len(find_duplicates(fingerprints(blank)).near) == 0
    assert find_duplicates(fingerprints(alike)).near == [list(range(count))]
    assert_linear(comparisons, count)


def test_a_larger_set_is_not_compared_more_often_for_each_image():
    """This deviation is the worst: each cut leaves two thirds of the images on both sides."""
    numbers = np.random.default_rng(7).normal(0, 0.04, (40_000, candidates.CUT_TERMS)).astype(np.float32)
    compared = sum(len(rows) ** 2 for rows in candidates._leaves(numbers)) / len(numbers)
    assert compared < 6 * candidates.LEAF_HASHES, "without a limit 21 for 40,000 images, and 44 for 80,000"


def test_nothing_and_one_image_have_no_copies():
    assert find_duplicates(np.zeros(0, FINGERPRINT)) == Duplicates([], [])
    assert find_duplicates(fingerprints(np.zeros((1, 1, 1, 3), np.uint8))) == Duplicates([], [])


def test_images_of_a_few_pixels_are_never_near_copies_by_chance():
    draw = np.random.default_rng(7)
    sides = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (2, 40), (40, 1)] * 20
    images = [draw.integers(0, 256, (height, width, 1), dtype=np.uint8) for height, width in sides]
    found = find_duplicates(prints_of(images))
    assert all(len({images[index].mean() for index in group}) == 1 for group in found.near)


def naive_group_ids(count, groups):
    """The oracle: spread the smallest number along shared groups until nothing changes."""
    ids = list(range(count))
    while True:
        before = list(ids)
        for group in groups:
            for index in group:
                ids[index] = min(ids[other] for other in group)
        if ids == before:
            return ids


@given(
    st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.lists(st.integers(0, n - 1), max_size=5))))
)
def test_group_ids_are_the_smallest_index_of_all_that_is_joined(case):
    count, groups = case
    exact, near, own = groups[::3], groups[1::3], groups[2::3]
    found = group_ids(count, Duplicates(exact, near), own)
    assert found.dtype == np.int64
    assert found.tolist() == naive_group_ids(count, groups)


def test_a_long_chain_is_one_group():
    chain = [list(pair) for pair in pairwise(range(50_000))]
    assert not group_ids(50_000, Duplicates([], chain[::-1])).any()
