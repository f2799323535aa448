"""Samples of benchmarks/hostile.py hold, and every one of its checks can fail: a planted fault is counted."""

import mmap
import os
import re
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from firstlight.errors import DataError, ImageError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="attempts are forked")


@pytest.fixture
def place(monkeypatch, tmp_path, digit_run, digit_folder):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from hostile_parts.place import Place

    return Place(tmp_path, digit_folder, digit_run.folder, 12)


def failed(attempt, count, **limits):
    """The faults of attempts that are made here, by their numbers."""
    from hostile_parts.attempts import judged

    faults = {number: judged(attempt, number, **limits) for number in range(count)}
    return {number: fault for number, fault in faults.items() if fault}


def refuse(error):
    def raises(*_args, **_more):
        raise error

    return raises


def test_whatever_an_attempt_does_is_counted_and_the_next_one_is_tried(place):
    from hostile_parts.attempts import Found, tried

    class TwoLinesError(DataError):  # others of ours cannot have two
        def __str__(self):
            return "two\nlines"

    def attempt(number):
        match number:
            case 1:
                raise DataError("a.png: it is empty")
            case 2:
                raise TwoLinesError("two lines")
            case 3:
                raise KeyError("a mistake")
            case 4:
                signal.raise_signal(signal.SIGKILL)
            case 5:
                time.sleep(60)
            case 6:
                mmap.mmap(-1, 64 * 2**20).write(b"x" * (64 * 2**20))
            case 7:
                sys.exit(1)
        return Found()

    row = tried("controls", 9, attempt, seconds=1, spare_bytes=20 * 2**20)
    assert row.tried == 9
    told = {int(failure[1]): failure[4:] for failure in row.failures}
    assert told.keys() == {2, 3, 4, 5, 6, 7}
    words = {2: "line end", 3: "KeyError", 4: "ended with -9", 5: "hung", 6: "MiB", 7: "SystemExit"}
    assert all(word in told[number] for number, word in words.items())


def test_mutated_models_are_refused_or_the_same(place, monkeypatch):
    from firstlight.models import model_file, tensor_file
    from hostile_parts.models import Mutated, handmade, opened

    original = (place.run / "model.safetensors").read_bytes()
    attempt = Mutated(original, place.fresh("models"))
    assert failed(attempt, 24) == {}
    made = handmade(original)[1::8]
    assert failed(lambda number: opened(place.folder / "made.safetensors", made[number]), len(made)) == {}
    monkeypatch.setattr(model_file, "_read_whole", unverified(model_file, tensor_file))
    assert any("otherwise" in fault for fault in failed(attempt, 24).values())


def unverified(model_file, tensor_file):
    """A reader of model files that does not compare the digest."""

    def read(path):
        with tensor_file.TensorFile(path) as file:
            return *model_file._read_header(file), file.read()

    return read


def test_mutated_images_are_refused_or_have_pixels(place, monkeypatch):
    from hostile_parts import images

    attempts = {kind: images.Mutated(kind, images.variants(kind)) for kind in ("JPEG", "PNG", "GIF", "BMP", "WebP")}
    for attempt in attempts.values():
        assert failed(attempt, 10) == {}
    for attempt in (images.cut_short, images.misnamed, images.deep, images.modes, images.turned, images.animated):
        assert failed(attempt, 4) == {}
    from firstlight.data import images as ours

    decode = ours.decode
    monkeypatch.setattr(ours, "decode", refuse(IndexError("planted")))
    assert len(failed(attempts["JPEG"], 4)) == len(failed(images.cut_short, 4)) == 4
    monkeypatch.setattr(ours, "decode", refuse(ImageError("no")))
    assert len(failed(images.cut_short, 4)) == 4, "a reason of one word"
    monkeypatch.setattr(ours, "_check_png_data", lambda _data: None)
    monkeypatch.setattr(ours, "decode", lambda data, **more: turned_upside_down(decode(data, **more)))
    for attempt in (images.modes, images.turned):
        assert failed(attempt, 4)


def turned_upside_down(image):
    from dataclasses import replace

    return replace(image, pixels=image.pixels[::-1])


def test_mutated_lists_and_recipes_are_one_line(place, monkeypatch):
    from hostile_parts import lists

    names = [str(file) for file in sorted(place.pictures.rglob("*.png"))[:9]]
    table = "image,label\n" + "".join(f"{name},{Path(name).parent.name}\n" for name in names)
    recipe = (place.run / "recipe.toml").read_bytes()
    attempts = [
        lists.Mutated(table.encode(), place.folder / "list.csv", lists._loaded),
        lists.Mutated(recipe, place.folder / "recipe.toml", lists._recipe),
    ]
    assert [failed(attempt, 24) for attempt in attempts] == [{}, {}]
    made = [one for one in lists.handmade(table, names) if len(one[1]) < 10_000][::5]
    assert failed(lambda number: lists._commanded(place.folder / made[number][0], made[number][1]), len(made)) == {}
    from firstlight.data.sources import lists as ours

    monkeypatch.setattr(ours, "csv_rows", refuse(KeyError("planted")))
    assert failed(attempts[0], 24)


def test_a_damaged_run_is_noticed(place, monkeypatch):
    from firstlight.runs import record
    from hostile_parts import tampering

    asked, names = tampering.Asked(place), [Path("model.safetensors"), Path("evaluation.json")]
    assert failed(lambda number: asked(names, number, flip=True), 4) == {}

    def with_another_score(data, _chance):
        return re.sub(rb'(?s)("test": \{.*?"value": 0\.)\d', rb"\g<1>1", data, count=1)

    monkeypatch.setattr(tampering, "mutated", with_another_score)
    assert failed(lambda number: asked(names[1:], number, flip=False), 1) == {}
    monkeypatch.setattr(record, "require_seal", lambda *_: None)
    (fault,) = failed(lambda number: asked(names[1:], number, flip=False), 1).values()
    assert "the scores answers otherwise, without a word" in fault


def test_archives_that_lead_elsewhere_write_nothing_there(place, monkeypatch):
    from hostile_parts import archives

    pictures = {file.name: file.read_bytes() for file in sorted(place.pictures.rglob("*.png"))[:6]}
    links = [archives._member("a/link.png", bytes([kind]), "/etc/passwd") for kind in b"12346"]
    made = [
        archives.tarred({"../escaped.png": b"x", "a/../../escaped.png": b"x", "/tmp/escaped.png": b"x"}),
        archives.tarred({f"a/{name}": data for name, data in pictures.items()}, more=links),
    ]
    assert failed(lambda number: archives.checked(place, ".tar", made[number]), 2) == {}

    def careless(*words):
        (Path(words[1]).parents[1] / "escaped.png").write_bytes(b"x")
        return Ran("check", words[1], "--json")

    from hostile_parts.commands import Ran

    monkeypatch.setattr(archives, "Ran", careless)
    assert "it wrote" in failed(lambda _: archives.checked(place, ".tar", made[1]), 1)[0]


def test_names_that_are_markup_are_seen_unless_they_are_escaped(place):
    from html import escape

    from hostile_parts.pages import BARE, markup_in, rendered

    raw = [name for name in BARE if markup_in(f"<p title='x'>{name}</p>")]
    assert len(raw) > 20
    assert not any(markup_in(f'<p title="{escape(name)}">{escape(name)}</p>') for name in BARE)
    assert markup_in(rendered("---\na: b\n---\n[x](javascript:1) <img src=x onerror=owned()>"))


def test_the_secrets_are_in_the_pictures_that_are_tried(place):
    from hostile_parts.canaries import GPS_TAGS, INNER_TAGS, TAGS, photograph, secret_of

    data = photograph(np.zeros((8, 8, 3), np.uint8))
    for name in (*TAGS, *INNER_TAGS, *GPS_TAGS):
        assert secret_of(name).encode() in data or secret_of(name).encode("utf-16-le") in data


def test_secrets_in_what_is_written_are_seen_in_every_form(place):
    from firstlight.runs.outputs import write_thumbnails
    from hostile_parts.canaries import everything, photograph, searched

    pixels = np.zeros((8, 8, 3), np.uint8)

    def careful(folder):
        write_thumbnails(folder, ["a.jpg"], [pixels])

    def careless(folder):
        (folder / "environment.txt").write_text(repr(dict(os.environ)))
        (folder / "thumbnail.jpg").write_bytes(photograph(pixels))

    assert searched(everything(place, careful)).failures == []
    row = searched(everything(place, careless))
    assert len(row.failures) == row.tried > 30


def test_a_connection_or_a_lookup_is_seen_and_refused(place):
    from urllib.error import URLError
    from urllib.request import urlopen

    from hostile_parts.network import connections

    with connections() as made:
        for address in ("http://127.0.0.1:9/x.png", "http://nobody.invalid/x.png"):
            with pytest.raises(URLError):
                urlopen(address)
    assert len(made) == 2


def test_a_clock_that_matters_is_seen(place, monkeypatch):
    from hostile_parts import machine

    def by_the_clock(_pictures, run):
        run.mkdir(parents=True)
        for name in ("model.safetensors", "split.csv"):
            (run / name).write_text(f"{time.time():.0e}")
        return ""

    monkeypatch.setattr(machine, "_train", by_the_clock)
    by_the_clock(None, place.folder / "clock" / "right")
    assert "different" in machine.skewed(place, 86_400.0 * 20_000).fault
    assert machine.skewed(place, 0.0).fault == ""


def test_what_commands_must_not_do_is_seen(place, monkeypatch):
    from firstlight.cli import terminal
    from hostile_parts.commands import Ran

    assert Ran("predict", place.run, next(place.pictures.rglob("*.png")), "--json").fault == ""
    assert Ran("check", "nothing", "--json").fault == ""
    from firstlight.cli import entry

    for planted in ("\x1b[2J", "Traceback (most recent call last)"):

        def steers(_words, planted=planted):
            sys.stdout.write(planted)
            return 0

        monkeypatch.setattr(entry, "run", steers)
        assert Ran("check", "digits").fault
    monkeypatch.setattr(
        entry, "run", lambda _words: terminal.tell("firstlight: a") or terminal.tell("firstlight: b") or 2
    )
    assert "2 errors" in Ran("check").fault
    monkeypatch.setattr(entry, "run", lambda _words: sys.stdout.write("[NaN]") and 0)
    assert "NaN is no JSON" in Ran("check", "--json").fault
    monkeypatch.setattr(entry, "run", lambda _words: 1)
    assert "ended with 1" in Ran("check").fault


def test_a_folder_that_two_claim_is_counted(place, monkeypatch):
    import claims
    from firstlight.runs import begun

    assert claims.claim_races(6) == (6, 0)
    monkeypatch.setattr(begun, "owning", lambda _folder: nullcontext())
    monkeypatch.setattr(begun, "require_new", lambda _folder: None)
    assert claims.claim_races(6)[1] > 0
