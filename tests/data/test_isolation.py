"""Decoding in other processes beside decoding here: the same images, and decoders that crash, hang or take too much."""

import io
import itertools
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.data import decode_task, isolation
from firstlight.data.cues import read_header
from firstlight.data.decode_task import Choices, File
from firstlight.data.images import DecodedImage, decode, image_size
from firstlight.data.isolation import Together, decode_safely, image_size_safely, read_header_safely
from firstlight.data.sources import load_data
from firstlight.data.store import pack
from firstlight.errors import ImageError
from firstlight.white import White

HERE = Path(__file__).parent
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 200, (150, 170, 3), np.uint8))
DEEP = Image.fromarray(np.arange(9000, dtype=np.uint16).reshape(90, 100))
CRASHES, SWALLOWS, SPINS = (b"GIF89a" + word for word in (b"crash", b"memory", b"spin"))


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned() -> Image.Exif:
    block = Image.Exif()
    block[0x0112], block[271] = 6, "a camera"
    return block


def files() -> dict[str, bytes]:
    made = {kind: file_of(IMAGE, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")}
    return made | {
        "turned": file_of(IMAGE, "JPEG", exif=turned()),
        "progressive": file_of(IMAGE, "JPEG", progressive=True),
        "CMYK": file_of(IMAGE.convert("CMYK"), "JPEG"),
        "alpha": file_of(IMAGE.convert("RGBA").rotate(30), "PNG"),
        "deep": file_of(DEEP, "PNG"),
        "floats": file_of(DEEP.convert("F"), "TIFF"),
        "packed TIFF": file_of(IMAGE, "TIFF", compression="tiff_lzw"),
        "animation": file_of(IMAGE, "GIF", save_all=True, append_images=[IMAGE.rotate(90)]),
        "ends early": file_of(IMAGE, "TIFF")[:2000],
        "text": b"not a picture",
        "empty": b"",
    }


FILES = files()


@pytest.fixture
def planted(monkeypatch):
    """Decoders in other processes of which some crash, and which may take little."""
    from firstlight.runtime.killable import KillablePool, Limits

    monkeypatch.syspath_prepend(str(HERE))
    import planted_decoder

    limits = Limits(cpu_seconds=0.1, memory=100_000_000)
    with KillablePool(planted_decoder.work, 2, limits) as pool:
        monkeypatch.setattr(isolation, "_pool", lambda _: pool)
        yield pool


def outcome(read, data: bytes, **choices) -> DecodedImage | str:
    try:
        return read(data, **choices)
    except ImageError as reason:
        return str(reason)


def assert_same(found: DecodedImage | str, expected: DecodedImage | str) -> None:
    if isinstance(expected, str):
        assert found == expected
        return
    assert np.array_equal(found.pixels, expected.pixels)
    assert found.pixels.flags.writeable
    for name in ("mode", "notes", "size", "brightest", "values", "reduced"):
        assert getattr(found, name) == getattr(expected, name)


@pytest.fixture
def nothing_is_plain(monkeypatch):
    monkeypatch.setattr(isolation, "is_plain", lambda _: False)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded in this process")

    for name in ("decode", "image_size", "read_header"):
        monkeypatch.setattr(isolation, name, refuse)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such processes")
@pytest.mark.usefixtures("nothing_is_plain")
@pytest.mark.parametrize("name", FILES)
def test_another_process_finds_the_same_to_the_last_bit(name):
    data = FILES[name]
    for choices in ({}, {"input_size": (3, 32, 32), "resize": "crop:0.875", "white": White(16383), "name": "a.jpg"}):
        assert_same(outcome(decode_safely, data, **choices), outcome(decode, data, **choices))
    assert read_header_safely(data) == read_header(data)
    assert outcome(image_size_safely, data) == outcome(image_size, data)


def together(files: dict[str, bytes], choices: Choices, with_header: bool = True) -> dict[str, tuple]:
    """What becomes of files that are decoded together; pixels are copied, since they do not stay."""
    decoding, found = Together[str](choices), {}
    answers = [decoding.add(name, File(data, f"{name}.png", with_header)) for name, data in files.items()]
    for name, (image, header) in itertools.chain(*answers, decoding.rest()):
        own = str(image) if isinstance(image, ImageError) else replace(image, pixels=image.pixels.copy())
        found[name] = own, header
    return found


@pytest.mark.parametrize("most", [0, 4 << 20])
def test_files_that_are_decoded_together_become_the_same_as_alone(most, monkeypatch):
    """Also if every answer ends early, after the first image."""
    monkeypatch.setattr(isolation, "TOGETHER_BYTES", 1 << 20)
    asked = []

    class Pool:
        limits = None

        @contextmanager
        def lent(self, *task):
            asked.append(len(task) - 1)
            monkeypatch.setattr(decode_task, "ANSWER_BYTES", most)
            yield [memoryview(block).cast("B") for block in decode_task.decode_task(*task)]

    monkeypatch.setattr(isolation, "_pool", lambda _: Pool())
    choices = Choices(input_size=(3, 32, 32), white=White(16383))
    found = together(FILES, choices)
    assert found.keys() == FILES.keys()
    for name, (image, header) in found.items():
        assert_same(image, outcome(decode, FILES[name], name=f"{name}.png", **choices._asdict()))
        assert header == (None if isinstance(image, str) else read_header(FILES[name]))
    others = sum(not isolation.is_plain(data) for data in FILES.values())
    if most:
        assert asked == [others]
    else:
        assert asked[0] == others
        assert len(asked) > others / 2


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_crash_costs_none_of_the_files_that_were_decoded_together(planted):
    files = {"crash": CRASHES} | {str(turn): file_of(IMAGE.rotate(turn), "WEBP") for turn in (0, 90)}
    found = together(files, Choices(), with_header=False)
    assert found["crash"] == ("the decoder crashed (signal 6)", None)
    for name in ("0", "90"):
        assert_same(found[name][0], decode(files[name], name=f"{name}.png"))
    again = together(files, Choices(), with_header=False)
    assert again["crash"] == found["crash"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such processes")
def test_processes_are_free_again_when_nobody_asks_for_the_other_answers():
    for _ in range(9):
        decoding = Together[int](Choices())
        assert not [*decoding.add(0, File(FILES["WEBP"])), *decoding.add(1, File(FILES["GIF"]))]
        for _answer in decoding.rest():
            break
    assert_same(decode_safely(FILES["GIF"]), decode(FILES["GIF"]))


@pytest.mark.parametrize("name", FILES)
def test_without_other_processes_all_is_decoded_here(name, monkeypatch):
    monkeypatch.setattr(isolation, "_pool", lambda _: None)
    assert_same(outcome(decode_safely, FILES[name]), outcome(decode, FILES[name]))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_crash_in_a_decoder_costs_one_picture_and_not_the_set(planted, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    bad = {"one/crash.gif": CRASHES, "one/memory.gif": SWALLOWS, "one/spin.gif": SPINS}
    good = {"one/a.webp": file_of(IMAGE, "WEBP"), "two/b.webp": file_of(IMAGE.rotate(90), "WEBP")}
    for name, data in {**bad, **good}.items():
        place = tmp_path / "set" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    samples = load_data(str(tmp_path / "set"))
    store = pack(samples, (3, 16, 16), workers=2)
    reasons = {samples.names[row]: reason for row, reason in store.quarantined.items()}
    assert reasons == {
        "one/crash.gif": "the decoder crashed (signal 6)",
        "one/memory.gif": "decoding needs more than 0.1 GB of memory",
        "one/spin.gif": "decoding takes longer than 0.1 s",
    }
    assert "native chatter" not in capfd.readouterr().err


def test_a_decoder_that_crashes_once_is_tried_again(planted, tmp_path):
    data = b"GIF89aonce" + os.fsencode(tmp_path / "tried") + b"\0" + FILES["WEBP"]
    assert_same(decode_safely(data), decode(FILES["WEBP"]))
    assert (tmp_path / "tried").exists()


@pytest.mark.parametrize("name", ["JPEG", "WEBP"])
def test_too_little_memory_here_costs_the_picture_only(name, monkeypatch):
    """A plain picture gets another try in another process; where there is none, it gets a reason."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    expected = decode(FILES["JPEG"])
    monkeypatch.setattr(isolation, "decode", fail)
    if name == "JPEG" and sys.platform != "win32":
        assert_same(decode_safely(FILES["JPEG"]), expected)
    monkeypatch.setattr(isolation, "_pool", lambda _: None)
    with pytest.raises(ImageError, match="more memory than there is"):
        decode_safely(FILES[name])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_named_pipe_in_the_place_of_a_picture_is_never_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        (tmp_path / f"{name}.png").write_bytes(FILES["PNG"])
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "list.csv").write_text("file,label\none.png,a\npipe.png,b\ntwo.png,b\n")
    samples = load_data(str(tmp_path / "list.csv"))
    assert isinstance(samples.images.content_key(), str)
    with pytest.raises(ImageError, match="it is a named pipe"):
        samples.images.read(1)


def test_a_forked_process_has_its_own_decoders_and_locks_that_nobody_holds(monkeypatch):
    with isolation._ours().starting:
        monkeypatch.setattr("os.getpid", lambda: -1)  # as after a fork
        assert not isolation._ours().pools and not isolation._ours().starting.locked()
