"""Where the disk has no room for packed pictures, they are decoded again each time, with the same bits."""

import hashlib
import shutil

import numpy as np
import pytest
from PIL import Image

import firstlight as fl
from firstlight import disk
from firstlight.data import packing
from firstlight.data.sources import load_data
from firstlight.data.store import pack
from firstlight.data.streaming import StreamedRows
from firstlight.errors import DataError, NoRoomError
from firstlight.progress import announcements_to


@pytest.fixture
def photos(digits, tmp_path):
    """Pictures of several sizes, formats and modes, one of them broken."""
    root = tmp_path / "photos"
    for label in range(3):
        (root / str(label)).mkdir(parents=True)
        for number, row in enumerate(np.flatnonzero(digits[1] == label)[:12]):
            image = Image.fromarray(digits[0][row]).resize((40 + 3 * number, 50 + label))
            ending = ("png", "jpg", "gif")[number % 3]
            (image.convert("RGB") if number % 4 else image).save(root / str(label) / f"{number:02d}.{ending}")
    (root / "1" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def full(monkeypatch):
    """A disk with room for what is known of the pictures, but not for their pixels."""
    monkeypatch.setattr(disk, "free_bytes", lambda _path: 1_000_000)


def test_streamed_rows_are_the_packed_rows_bit_for_bit(photos):
    samples = load_data(photos)
    packed, streamed = (pack(samples, 32, cache=cache) for cache in ("disk", "stream"))
    assert isinstance(streamed.pixels, StreamedRows)
    assert not isinstance(packed.pixels, StreamedRows)
    np.testing.assert_array_equal(np.asarray(streamed.pixels), packed.pixels)
    np.testing.assert_array_equal(streamed.digests, packed.digests)
    np.testing.assert_array_equal(streamed.original_sizes, packed.original_sizes)
    assert streamed.duplicates == packed.duplicates
    assert (streamed.quarantined, streamed.input_size) == (packed.quarantined, packed.input_size)
    assert len(packed.quarantined) == 1


@pytest.mark.parametrize(
    "index",
    [
        3,
        -1,
        slice(2, 30, 3),
        np.array([5, 5, 30, 0]),
        [7, 1],
        np.arange(37) > 20,
        (4, slice(None, None, 2)),
        (slice(3), 1),
    ],
    ids=str,
)
def test_they_take_an_index_as_an_array_does(photos, index):
    samples = load_data(photos)
    packed, streamed = (pack(samples, 32, cache=cache).pixels for cache in ("disk", "stream"))
    np.testing.assert_array_equal(streamed[index], packed[index])


def test_large_parts_are_decoded_in_threads_and_in_order(digits):
    samples = load_data((digits[0][:500], digits[1][:500]))
    packed, streamed = (pack(samples, 12, cache=cache).pixels for cache in ("disk", "stream"))
    rows = np.random.default_rng(0).permutation(500)
    np.testing.assert_array_equal(streamed[rows], packed[rows])


def test_a_run_without_room_gives_the_same_model_and_says_why_it_is_slower(photos, tmp_path, monkeypatch):
    digests, lines = {}, []
    for name, free in (("room", None), ("no room", 1_000_000)):
        monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / name))
        if free:
            monkeypatch.setattr(packing, "require_room", lambda *about, free=free: require_room_of(free, *about))
        with announcements_to(lines.append):
            run = fl.train(
                photos, model="mlp", hidden=(8,), epochs=2, img_size=128, batch_size=8, allow_quarantine=True,
                out=tmp_path / f"run with {name}",
            )  # fmt: skip
        digests[name] = hashlib.sha256((run.folder / "model.safetensors").read_bytes()).hexdigest()
    assert digests["room"] == digests["no room"]
    told = [line for line in lines if "decoded again" in line]
    assert len(told) == 1
    assert "packing needs 2.3 MB in " in told[0]
    assert any("decoded again" in note for note in run.record.notes)
    assert [path.name for path in (tmp_path / "no room").rglob("pixels.npy")] == []


def require_room_of(free, _folder, needed, what, advice):
    if needed > free:
        raise NoRoomError(f"{what} needs {disk.in_units(needed)} in the cache, but only {free} are free", advice)


def test_pictures_are_not_streamed_if_the_disk_was_asked_for(photos, full):
    with pytest.raises(NoRoomError, match="packing needs 2.3 MB in .*, but only 1.0 MB are free; use a smaller"):
        pack(load_data(photos), 128, cache="disk")
    assert isinstance(pack(load_data(photos), 128).pixels, StreamedRows)


def test_without_room_for_what_is_known_of_the_pictures_nothing_goes_on(photos, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda _path: 100)
    with pytest.raises(NoRoomError, match="but only 100 bytes are free"):
        pack(load_data(photos), 32)


def test_a_picture_that_is_gone_by_then_is_named(photos):
    streamed = pack(load_data(photos), 32, cache="stream").pixels
    shutil.rmtree(photos / "2")
    with pytest.raises(DataError, match="photos: 2/00.png could be used before, but now the file cannot be read"):
        streamed[:]


def test_arrays_of_the_right_size_need_no_room(digits, full):
    assert not isinstance(pack(load_data((digits[0][:100], digits[1][:100])), cache="stream").pixels, StreamedRows)
