"""Outputs come back bit for bit, with any name that a file can have; damage is an error of one line."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from firstlight.errors import RunError
from firstlight.runs.outputs import Outputs, read_outputs, read_thumbnails, write_outputs, write_thumbnails

NAMES = ("cat/é.png", "", "dog/\udcff\udc80.png", "a\nb,c\x00d", "ж" * 300, "\udcc3", "\udca9 apart")


def outputs_of(names=NAMES, classes=3, dim=5, scale=1.0):
    rng = np.random.default_rng(0)
    return Outputs(
        tuple(names),
        rng.integers(0, classes, len(names)),
        rng.standard_normal((len(names), classes), np.float32),
        scale * rng.standard_normal((len(names), dim), np.float32) if dim else None,
        rng.integers(0, 2**64, len(names), np.uint64) if dim else None,
        rng.standard_normal(len(names), np.float32) if dim else None,
    )


def same(one, other):
    return one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_outputs_are_read_back_as_they_were_written(tmp_path, split):
    written = outputs_of()
    file = write_outputs(tmp_path, split, written)
    assert file == tmp_path / "outputs" / f"{split}.safetensors"
    read = read_outputs(tmp_path, split)
    assert read.names == NAMES and len(read) == len(NAMES)
    assert same(read.labels, written.labels)
    assert same(read.logits, written.logits)
    assert same(read.features, written.features.astype(np.float16).astype(np.float32))
    assert same(read.digests, written.digests)
    assert same(read.strangeness, written.strangeness)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_outputs_without_features_or_images_are_outputs_too(tmp_path):
    write_outputs(tmp_path, "test", outputs_of(dim=0))
    assert read_outputs(tmp_path, "test").features is None and read_outputs(tmp_path, "test").digests is None
    write_outputs(tmp_path, "test", outputs_of(names=()))
    empty = read_outputs(tmp_path, "test")
    assert (empty.names, empty.logits.shape, empty.features.shape) == ((), (0, 3), (0, 5))


def test_features_take_half_the_space_unless_they_are_too_large_for_it(tmp_path):
    file = write_outputs(tmp_path, "test", outputs_of())
    assert load_file(file)["features"].dtype == np.float16
    large = outputs_of(scale=1e5)
    file = write_outputs(tmp_path, "test", large)
    assert load_file(file)["features"].dtype == np.float32
    assert same(read_outputs(tmp_path, "test").features, large.features)


def test_arrays_in_another_order_of_memory_are_written_as_they_read(tmp_path):
    written = outputs_of()
    turned = Outputs(NAMES, written.labels[::-1], np.asfortranarray(written.logits), written.features[:, ::-1])
    write_outputs(tmp_path, "test", turned)
    read = read_outputs(tmp_path, "test")
    assert same(read.labels, turned.labels) and same(read.logits, turned.logits)
    assert same(read.features, turned.features.astype(np.float16).astype(np.float32))


def test_a_million_names_are_read_back_one_by_one(tmp_path):
    names = tuple(f"{row % 100}/é{row}.jpg" for row in range(1_000_000))
    count = len(names)
    write_outputs(tmp_path, "train", Outputs(names, np.zeros(count, np.int64), np.zeros((count, 2), np.float32)))
    assert read_outputs(tmp_path, "train").names == names


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": np.zeros(6, np.int64)},
        {"labels": np.zeros(7, np.int32)},
        {"logits": np.zeros((7, 3))},
        {"logits": np.zeros(7, np.float32)},
        {"features": np.zeros((6, 5), np.float32)},
        {"digests": np.zeros(6, np.uint64)},
        {"digests": np.zeros(7, np.int64)},
    ],
)
def test_outputs_that_do_not_go_together_are_our_own_mistake(wrong):
    made = outputs_of()
    with pytest.raises(AssertionError):
        Outputs(**{"names": NAMES, "labels": made.labels, "logits": made.logits, "features": made.features} | wrong)


def test_outputs_that_are_not_there_are_an_error_that_says_so(tmp_path):
    with pytest.raises(RunError, match="this run has no outputs of its valid split"):
        read_outputs(tmp_path, "valid")
    with pytest.raises(RunError, match="this run kept no pictures"):
        read_thumbnails(tmp_path)


def damaged(file, **tensors):
    save_file({**load_file(file), **tensors}, file)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": np.zeros(6, np.int64)},
        {"labels": np.zeros(7, np.float32)},
        {"logits": np.zeros((7, 3))},
        {"logits": np.zeros((7, 3, 1), np.float32)},
        {"features": np.zeros((7, 5), np.int64)},
        {"digests": np.zeros(7, np.int64)},
        {"digests": np.zeros((7, 2), np.uint64)},
        {"names": np.zeros(3, np.uint8)},
        {"names": np.zeros(3, np.float32)},
        {"name_ends": np.zeros(7, np.int64)},
        {"name_ends": np.zeros(7, np.int32)},
        {"name_ends": np.arange(7)[::-1].copy()},
        {"name_ends": np.zeros((7, 1), np.int64)},
        {"name_ends": np.array(3)},
        {"name_ends": np.array([-5, 0, 1, 2, 3, 4, 5])},
        {"name_ends": np.zeros(0, np.int64)},
    ],
)
def test_tensors_that_do_not_go_together_are_damage(tmp_path, wrong):
    damaged(write_outputs(tmp_path, "test", outputs_of()), **wrong)
    with pytest.raises(RunError, match=r"test\.safetensors: .*damaged") as refused:
        read_outputs(tmp_path, "test")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("missing", ["names", "name_ends", "labels", "logits"])
def test_a_missing_tensor_is_damage(tmp_path, missing):
    file = write_outputs(tmp_path, "test", outputs_of())
    save_file({key: tensor for key, tensor in load_file(file).items() if key != missing}, file)
    with pytest.raises(RunError, match="damaged"):
        read_outputs(tmp_path, "test")


@pytest.mark.parametrize("kept", [0, 5, 8, 60, -1])
def test_a_file_that_was_cut_off_is_damage(tmp_path, kept):
    images = np.zeros((7, 2, 2, 1), np.uint8)
    for file, read in (
        (write_outputs(tmp_path, "test", outputs_of()), lambda: read_outputs(tmp_path, "test")),
        (write_thumbnails(tmp_path, NAMES, images), lambda: read_thumbnails(tmp_path)),
    ):
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(RunError, match="damaged") as refused:
            read()
        assert "\n" not in str(refused.value)


def test_a_flipped_bit_is_damage_and_files_of_before_are_read(tmp_path):
    for file, read in (
        (write_outputs(tmp_path, "test", outputs_of()), lambda: list(read_outputs(tmp_path, "test").names)),
        (write_thumbnails(tmp_path, ["a"], np.zeros((1, 2, 2, 1), np.uint8)), lambda: list(read_thumbnails(tmp_path))),
    ):
        whole, expected = file.read_bytes(), read()
        for place in (-1, -40, whole.index(b"sha256") + 12):
            flipped = bytearray(whole)
            flipped[place] ^= 1
            file.write_bytes(flipped)
            with pytest.raises(RunError, match=r"damaged; restore it from a copy, or train again"):
                read()
        file.write_bytes(whole)
        save_file(load_file(file), file)  # without a digest
        assert read() == expected


def test_a_folder_in_place_of_outputs_is_an_error(tmp_path):
    (tmp_path / "outputs" / "test.safetensors").mkdir(parents=True)
    with pytest.raises(RunError, match=r"test\.safetensors: "):
        read_outputs(tmp_path, "test")


def test_small_thumbnails_are_read_back_by_name_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    shapes = [(4, 6, 3), (128, 1, 1), (1, 1, 3), (5, 128, 1), (28, 28, 1), (8, 8, 3), (2, 2, 1)]
    images = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    assert write_thumbnails(tmp_path, NAMES, images).name == "images.safetensors"
    read = read_thumbnails(tmp_path)
    assert list(read) == list(NAMES)
    assert all(same(read[name], image) for name, image in zip(NAMES, images, strict=True))


def test_larger_thumbnails_take_little_room_and_look_the_same(tmp_path):
    rows, columns = np.mgrid[:256, :200]
    smooth = np.stack([rows / 2, columns, 255 - rows / 2], axis=2).astype(np.uint8)
    file = write_thumbnails(tmp_path, ["color", "gray"], [smooth, smooth[:, :, :1]])
    read = read_thumbnails(tmp_path)
    assert read["color"].shape == (256, 200, 3) and read["gray"].shape == (256, 200, 1)
    assert np.abs(read["color"].astype(int) - smooth).max() < 16
    assert file.stat().st_size < smooth.size / 5


def test_thumbnails_of_earlier_versions_are_read(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (len(NAMES), 4, 6, 3), np.uint8)
    file = write_thumbnails(tmp_path, NAMES, images)
    kept = {key: tensor for key, tensor in load_file(file).items() if key.startswith("name")}
    save_file({**kept, "images": images}, file)
    assert all(same(read_thumbnails(tmp_path)[name], image) for name, image in zip(NAMES, images, strict=True))
    save_file({**kept, "images": images[:-1].copy()}, file)
    with pytest.raises(RunError, match="not pictures that firstlight wrote"):
        read_thumbnails(tmp_path)


def hostile_images():
    def saved(mode, size, format="PNG"):
        file = io.BytesIO()
        Image.new(mode, size).save(file, format)
        return file.getvalue()

    return [
        b"",
        b"no",
        saved("RGB", (2, 2))[:40],
        saved("RGBA", (2, 2)),
        saved("L", (5000, 1)),
        saved("L", (2, 2), "BMP"),
    ]


@pytest.mark.parametrize("data", hostile_images())
def test_what_is_no_thumbnail_is_damage(tmp_path, data):
    file = write_thumbnails(tmp_path, ["one"], [np.zeros((2, 2, 1), np.uint8)])
    damaged(file, files=np.frombuffer(data, np.uint8), file_ends=np.array([len(data)]))
    with pytest.raises(RunError, match="not pictures that firstlight wrote"):
        read_thumbnails(tmp_path)


def test_a_write_that_fails_leaves_the_file_of_before_and_no_other(tmp_path, monkeypatch):
    file = write_outputs(tmp_path, "test", outputs_of())
    before = file.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the disk is full"):
        write_outputs(tmp_path, "test", outputs_of(scale=2.0))
    with pytest.raises(OSError, match="the disk is full"):
        write_thumbnails(tmp_path, NAMES, np.zeros((7, 2, 2, 1), np.uint8))
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["test.safetensors"]


def test_outputs_are_read_without_torch(tmp_path):
    write_outputs(tmp_path, "test", outputs_of())
    code = (
        "import sys; from pathlib import Path; from firstlight.runs.outputs import read_outputs\n"
        f"read_outputs(Path({str(tmp_path)!r}), 'test')\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
