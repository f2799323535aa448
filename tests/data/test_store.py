"""The store: decoded once, the same bytes with any number of threads, nothing incomplete, nothing silent."""

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from firstlight.cache import cache_folder
from firstlight.data import packing
from firstlight.data.images import decode, resize_image
from firstlight.data.loader import Loader
from firstlight.data.sources import load_data
from firstlight.data.store import PACKED, pack
from firstlight.errors import DataError, RecipeError, UserError, WriteError
from firstlight.progress import announcements_to


@pytest.fixture
def folder(digit_folder, tmp_path) -> Path:
    return Path(shutil.copytree(digit_folder, tmp_path / "digits"))


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    return cache_folder() / PACKED.folder


def test_every_row_is_the_image_decoded_and_resized(digit_folder):
    samples = load_data(digit_folder)
    packed = pack(samples, 12, resize="pad")
    for row, name in enumerate(samples.names):
        expected = resize_image(decode((digit_folder / name).read_bytes()).pixels, (1, 12, 12), "pad")
        assert np.array_equal(packed.pixels[row], expected)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_bytes_do_not_depend_on_the_number_of_workers(digit_folder, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(packing, "CHUNK_IMAGES", 9)
    samples = load_data(digit_folder)
    expected = pack(samples)
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path))
    assert np.array_equal(pack(samples, workers=workers).pixels, expected.pixels)


def test_a_second_run_decodes_nothing(digit_folder, fresh_cache, monkeypatch):
    samples = load_data(digit_folder)
    first = pack(samples)
    monkeypatch.setattr(packing, "read_sample", lambda *_args, **_options: pytest.fail("decoded again"))
    again = pack(load_data(digit_folder))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.duplicates == again.duplicates


def test_a_changed_image_is_packed_anew(folder):
    before = pack(load_data(folder))
    victim = sorted((folder / "3").iterdir())[0]
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(victim)
    samples = load_data(folder)
    after = pack(samples)
    row = samples.names.index(f"3/{victim.name}")
    assert (after.pixels[row] == 77).all()
    assert not np.array_equal(before.pixels[row], after.pixels[row])


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_packing_leaves_nothing(digit_folder, fresh_cache, monkeypatch, error):
    def fail_late(image, *_rest):
        fail_late.calls += 1
        if fail_late.calls == 60:
            raise error
        return image

    fail_late.calls = 0
    monkeypatch.setattr(packing, "resize_image", fail_late)
    with pytest.raises(error):
        pack(load_data(digit_folder))
    assert list(fresh_cache.iterdir()) == []


def test_unusable_images_are_quarantined_with_their_reasons_and_the_rest_goes_on(folder):
    (folder / "0" / "empty.png").touch()
    whole = next((folder / "1").iterdir()).read_bytes()
    (folder / "1" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "2" / "words.jpg").write_text("this is no picture")
    samples = load_data(folder)
    packed = pack(samples)
    bad = {samples.names[row] for row in packed.quarantined}
    assert bad == {"0/empty.png", "1/cut.png", "2/words.jpg"}
    assert all(packed.quarantined.values())
    assert len(packed.usable) == 120
    assert not packed.pixels[list(packed.quarantined)].any()


def test_one_color_image_turns_a_gray_set_into_a_colored_one(folder):
    for number in range(300):  # more than are read to choose the channels
        Image.fromarray(np.full((8, 8), number % 200, np.uint8)).save(folder / "4" / f"x{number}.png")
    Image.fromarray(np.full((8, 8, 3), (200, 10, 10), np.uint8)).save(folder / "4" / "w.png")
    samples = load_data(folder)
    packed = pack(samples)
    assert packed.input_size == (3, 8, 8)
    assert (packed.pixels[samples.names.index("4/w.png")] == (200, 10, 10)).all()


def test_a_gray_model_gets_gray_images_whatever_they_were(folder):
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder / "4" / "w.png")
    samples = load_data(folder)
    packed = pack(samples, (1, 8, 8))
    assert packed.input_size == (1, 8, 8)
    assert (packed.pixels[samples.names.index("4/w.png")] == 90).all()


def test_arrays_of_the_right_size_are_used_as_they_are(digits):
    samples = load_data(digits)
    packed = pack(samples)
    assert np.shares_memory(packed.pixels, samples.images.images)
    assert packed.sizes == {"8x8": 1797}


def test_small_images_that_are_alike_keep_their_size_and_others_take_the_default_one(digit_folder, folder):
    assert pack(load_data(digit_folder)).input_size == (1, 8, 8)
    assert pack(load_data(digit_folder), 32).input_size == (1, 32, 32)
    Image.fromarray(np.zeros((9, 30), np.uint8)).save(folder / "0" / "0001x.png")
    samples = load_data(folder)
    packed = pack(samples, default_side=48)
    assert packed.input_size == (1, 48, 48)
    assert packed.sizes == {"8x8": 120, "9x30": 1}


def test_a_full_disk_is_said_before_the_work_begins(digit_folder, fresh_cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(
        UserError, match=r"packing needs \d+ kB in .*, but only 1.0 kB are free; use a smaller `img_size`"
    ):
        pack(load_data(digit_folder))
    assert list(fresh_cache.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "why"),
    [(errno.ENOSPC, "is full; free some room, or set FIRSTLIGHT_CACHE"), (errno.EDQUOT, "quota"), (errno.EIO, "error")],
)
def test_a_disk_that_is_full_on_the_way_is_said_too(digit_folder, fresh_cache, monkeypatch, code, why):
    def fail(*_):
        raise OSError(code, "as planted")

    monkeypatch.setattr(packing.np.lib.format, "write_array_header_1_0", fail)
    with pytest.raises(WriteError, match=f"{PACKED.folder}/.* cannot be written: .*{why}"):
        pack(load_data(digit_folder))
    assert list(fresh_cache.iterdir()) == []


def test_the_bytes_do_not_depend_on_the_memory_for_packing(digit_folder, tmp_path, monkeypatch):
    samples, packed = load_data(digit_folder), []
    for bytes_at_once in (1, 1000, 2**25):
        monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / str(bytes_at_once)))
        monkeypatch.setattr(packing, "CHUNK_BYTES", bytes_at_once)
        packed.append(pack(samples, 12, workers=2))
    assert all(np.array_equal(one.pixels, packed[0].pixels) for one in packed)
    assert all(one.duplicates == packed[0].duplicates for one in packed)


@pytest.mark.parametrize("damage", ["facts.json", "pixels.npy"])
@pytest.mark.parametrize("how", ["one bit", "gone"])
def test_a_damaged_cache_is_packed_again_while_whoever_has_it_open_goes_on(digit_folder, fresh_cache, damage, how):
    samples, said = load_data(digit_folder), []
    first = pack(samples)
    before, (folder,) = np.array(first.pixels), fresh_cache.iterdir()
    content = bytearray((folder / damage).read_bytes())
    (folder / damage).unlink()
    if how == "one bit":
        content[-10] ^= 1
        (folder / damage).write_bytes(content)
    with announcements_to(said.append):
        again = pack(samples)
    assert np.array_equal(again.pixels, before) and again.sizes == first.sizes
    assert said == [
        f"note: the packed pictures in the cache were damaged ({damage}"
        + (": No such file or directory" if how == "gone" else " differs from what was written, from byte 0 on")
        + "); making them again"
    ]
    assert np.array_equal(first.pixels, before)
    assert list(fresh_cache.iterdir()) == [folder]


def test_of_a_large_set_a_damaged_block_is_told_when_it_is_read_and_not_before(digit_folder, fresh_cache, monkeypatch):
    monkeypatch.setattr("firstlight.data.store.LAZY_ABOVE_BYTES", 1000)
    samples = load_data(digit_folder)
    before = np.array(pack(samples, 64).pixels)
    (folder,) = fresh_cache.iterdir()
    content = bytearray((folder / "pixels.npy").read_bytes())
    content[200_000] ^= 1
    (folder / "pixels.npy").write_bytes(content)
    store = pack(samples, 64)
    assert store.pixels.shape == before.shape
    rows = np.arange(30)
    assert np.array_equal(
        next(Loader(store.pixels, samples.labels, rows).epoch()).images.permute(0, 2, 3, 1), before[rows]
    )
    with pytest.raises(DataError, match="damaged .*removed; start again"):
        store.pixels[np.array([3, 48])]
    assert not list(fresh_cache.iterdir())
    assert np.array_equal(pack(samples, 64).pixels, before)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two classes of large JPEGs, half of them once more as PNG: the same pixels in another file. Not to be changed."""
    root = tmp_path_factory.mktemp("real") / "photographs"
    for number in range(8):
        draw = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        path = root / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
        if number < 4:
            Image.open(path).save(path.with_suffix(".png"))
    return root


@pytest.fixture
def own_photographs(photographs, tmp_path) -> Path:
    """A copy of them, to be changed."""
    return Path(shutil.copytree(photographs, tmp_path / "photographs"))


def names_of(groups, samples):
    return {frozenset(samples.names[row] for row in group) for group in groups}


def test_a_jpeg_decoded_small_and_its_png_are_exact_copies_all_the_same(own_photographs):
    path = own_photographs / "a" / "again.jpg"
    Image.open(own_photographs / "a" / "6.jpg").save(path, quality=60)
    samples = load_data(own_photographs)
    packed = pack(samples, 32, workers=2)
    assert names_of(packed.duplicates.exact, samples) == {
        frozenset((f"{'ab'[number % 2]}/{number}.jpg", f"{'ab'[number % 2]}/{number}.png")) for number in range(4)
    }
    assert names_of(packed.duplicates.near, samples) == {frozenset(("a/6.jpg", "a/again.jpg"))}
    assert packed.sizes == {"480x640": 13}


def test_patterns_too_fine_for_a_small_decoding_stay_apart(own_photographs):
    rows, columns = np.mgrid[:512, :512]
    for name, pattern in (("stripes", rows % 2), ("checks", (rows + columns) % 2)):
        Image.fromarray((pattern * 255).astype(np.uint8)).save(own_photographs / "a" / f"{name}.jpg", quality=95)
        Image.open(own_photographs / "a" / f"{name}.jpg").save(own_photographs / "b" / f"{name}.png")
    samples = load_data(own_photographs)
    found = pack(samples, 32).duplicates
    alike = {group for group in names_of([*found.exact, *found.near], samples) if "stripes" in "".join(group)}
    assert alike == {frozenset(("a/stripes.jpg", "b/stripes.png"))}


def test_damaged_photographs_are_quarantined_though_they_are_decoded_small(own_photographs):
    whole = (own_photographs / "a" / "0.jpg").read_bytes()
    (own_photographs / "a" / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 5])
    samples = load_data(own_photographs)
    packed = pack(samples, 16)
    assert [samples.names[row] for row in packed.quarantined] == ["a/cut.jpg"]


@pytest.mark.parametrize("resize", ["crop", "pad", "squash", "crop:0.875", "crop:0.3"])
def test_an_image_decoded_and_resized_alone_has_the_pixels_that_packing_kept(photographs, resize):
    samples = load_data(photographs)
    packed = pack(samples, (3, 40, 40), resize=resize)
    for row, name in enumerate(samples.names):
        data = (photographs / name).read_bytes()
        pixels = decode(data, name=name, input_size=(3, 40, 40), resize=resize).pixels
        assert np.array_equal(resize_image(pixels, (3, 40, 40), resize), packed.pixels[row])


def test_arrays_of_the_right_size_are_cut_where_only_a_fraction_is_kept(digits):
    samples = load_data((digits[0][:50], digits[1][:50]))
    packed = pack(samples, resize="crop:0.75")
    for row, image in enumerate(digits[0][:50]):
        assert np.array_equal(packed.pixels[row], resize_image(image[..., None], (1, 8, 8), "crop:0.75"))
    assert np.array_equal(pack(samples).pixels[..., 0], digits[0][:50])
    with pytest.raises(RecipeError, match="resize = 'crop:0'"):
        pack(samples, resize="crop:0")


def test_digests_tell_images_apart_and_do_not_depend_on_what_they_are_resized_to(folder):
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(folder / "3" / "plain.png")
    samples = load_data(folder)
    packed = pack(samples)
    assert packed.digests.dtype == np.uint64 and len(set(packed.digests.tolist())) == len(samples)
    for other in (pack(samples, 12, resize="pad"), pack(samples, (3, 5, 5), max_pixels=64)):
        assert np.array_equal(other.digests, packed.digests)
    Image.fromarray(np.full((8, 8), 78, np.uint8)).save(folder / "3" / "plain.png")
    changed = pack(load_data(folder)).digests != packed.digests
    assert [samples.names[row] for row in np.flatnonzero(changed)] == ["3/plain.png"]


def test_arrays_have_digests_too(digits):
    images, labels = digits
    used_as_they_are, resized = pack(load_data((images, labels))), pack(load_data((images, labels)), 12)
    assert np.array_equal(used_as_they_are.digests, resized.digests)
    assert len(set(resized.digests.tolist())) == len({image.tobytes() for image in images})


def test_the_size_that_each_image_had_is_kept(folder, digits):
    Image.fromarray(np.full((30, 50), 77, np.uint8)).save(folder / "3" / "wide.png")
    (folder / "3" / "broken.png").write_bytes(b"no")
    samples = load_data(folder)
    packed = pack(samples, 12)
    sizes = dict(zip(samples.names, packed.original_sizes.tolist(), strict=True))
    assert sizes.pop("3/wide.png") == [30, 50] and sizes.pop("3/broken.png") == [0, 0]
    assert set(map(tuple, sizes.values())) == {(8, 8)}
    assert pack(load_data(digits)).original_sizes.tolist() == [[8, 8]] * len(digits[0])
