"""Cues: read from headers alone, kept as numbers, the same for any number of threads, and safe with hostile files."""

import io

import numpy as np
import pytest
from PIL import Image

from firstlight.cache import cache_folder
from firstlight.data.cues import CUES, SAMPLED_IMAGES, SIDE, Cues, read_header
from firstlight.data.sources import load_data
from firstlight.data.store import pack

SECRET = "canary-4711"


def file_of(kind: str = "JPEG", *, size: tuple[int, int] = (40, 30), exif: dict[int, object] | None = None, **options):
    block = Image.Exif()
    for tag, value in (exif or {}).items():
        block[tag] = value
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, kind, exif=block, **options)
    return file.getvalue()


def test_a_header_tells_files_apart_by_how_they_were_made():
    def differs(one: bytes, other: bytes) -> set[str]:
        first, second = read_header(one), read_header(other)
        return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}

    assert differs(file_of(), file_of()) == set()
    assert differs(file_of(quality=60), file_of(quality=90)) == {"tables", "quality"}
    assert differs(file_of(exif={272: "A"}), file_of(exif={272: "B"})) == {"camera"}
    assert differs(file_of(exif={305: "A"}), file_of(exif={305: "B"})) == {"software"}
    assert differs(file_of(exif={306: "2024:05:17 10:00:00"}), file_of(exif={306: "2024:05:17 11:00:00"})) == set()
    assert differs(file_of(exif={306: "2024:05:17 10:00:00"}), file_of(exif={306: "2024:06:17 10:00:00"})) == {"day"}
    assert "format" in differs(file_of(), file_of("PNG"))


def test_nothing_that_a_file_says_is_kept_as_text():
    files = [file_of(exif=dict.fromkeys((270, 271, 272, 305, 315, 33432), SECRET)), file_of()]
    pack(load_data((files, [0, 1])))
    kept = [file.read_bytes() for file in cache_folder().rglob("*") if file.is_file()]
    assert kept and not any(SECRET.encode() in data for data in kept)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        file_of()[:40],
        file_of(exif={272: "x" * 60000}),
        file_of(exif={305: b"\xff\xfe\x00\x1b"}),
        b"\xff\xd8\xff\xe1\xff\xffExif\0\0MM\0*\xff\xff\xff\xff" + bytes(99),
    ],
)
def test_hostile_headers_are_no_error(data):
    found = read_header(data)
    assert found.keys() <= set(CUES.names)
    Cues.of_sample(1, 3).fill_in(0, np.zeros((4, 4, 3), np.uint8), (4, 4), found)


def test_random_damage_is_no_error():
    whole, draw = bytearray(file_of(exif={272: "Camera", 306: "2024:05:17 10:00:00"})), np.random.default_rng(0)
    for _ in range(300):
        damaged = whole.copy()
        for place in draw.integers(0, len(whole), 5):
            damaged[place] = draw.integers(256)
        assert read_header(bytes(damaged)).keys() <= set(CUES.names)


def test_thumbnails_keep_every_border_of_the_picture():
    image = np.zeros((300, 700, 3), np.uint8)
    image[:12], image[:, -28:] = (255, 0, 0), (0, 255, 0)
    cues = Cues.of_sample(1, 3)
    cues.fill_in(0, image, (300, 700), None)
    thumbnail = cues.thumbnails[0]
    assert thumbnail.shape == (SIDE, SIDE, 3)
    assert (thumbnail[0, :-4] == (255, 0, 0)).all() and (thumbnail[:, -1] == (0, 255, 0)).all()


@pytest.mark.parametrize(("pixels", "channels"), [((8, 8, 1), 3), ((8, 8, 3), 1), ((1, 1, 1), 1), ((3, 900, 3), 3)])
def test_thumbnails_of_any_size_and_color(pixels, channels):
    cues = Cues.of_sample(1, channels)
    cues.fill_in(0, np.full(pixels, 70, np.uint8), pixels[:2], None)
    assert (cues.thumbnails == 70).all() and cues.table["usable"].all()


def test_a_sample_of_a_large_set_is_always_the_same_and_spread_over_it():
    rows = Cues.of_sample(50_000, 1).table["row"]
    assert np.array_equal(rows, Cues.of_sample(50_000, 1).table["row"])
    assert len(rows) == SAMPLED_IMAGES == len(np.unique(rows))
    assert np.histogram(rows, 10, (0, 50_000))[0].min() > SAMPLED_IMAGES / 15
    assert list(Cues.of_sample(50_000, 1).places(range(100))) == rows[rows < 100].tolist()


@pytest.mark.parametrize("workers", [1, 3])
def test_the_cues_of_a_folder_do_not_depend_on_the_threads(digit_folder, tmp_path, monkeypatch, workers):
    samples = load_data(digit_folder)
    expected = pack(samples).cues
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path))
    found = pack(samples, workers=workers).cues
    assert np.array_equal(found.table, expected.table) and np.array_equal(found.thumbnails, expected.thumbnails)
    assert (found.table["format"] != 0).all() and (found.table["height"] == 8).all()


def test_a_store_whose_cues_are_damaged_is_packed_again(digit_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path))
    samples = load_data(digit_folder)
    before = pack(samples)
    (file,) = tmp_path.rglob("cues.npy")
    file.write_bytes(b"not an array")
    assert np.array_equal(pack(samples).cues.table, before.cues.table)
