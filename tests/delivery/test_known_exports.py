"""What a machine knows about an export: by what the file holds, and for this machine alone."""

import os

import pytest
import torch

from firstlight.delivery import known_exports
from firstlight.delivery.known_exports import Known, export_file, recall, remember, speeds_of, this_machine


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Clock:
    """An engine that takes a known time by a clock that only it moves."""

    now = 0.0

    def __init__(self, name: str, seconds: float, calls: list[str]) -> None:
        self.name, self.seconds, self.calls = name, seconds, calls

    def __call__(self, images):
        self.calls.append(f"{self.name} {len(images)}")
        Clock.now += self.seconds * len(images)


def test_what_is_remembered_is_recalled_for_this_model_and_these_bytes_only():
    known = Known(None, {"a machine": {"torch": 2.0, "onnx": 1.5}})
    remember("model", b"content", known)
    assert recall("model", b"content") == known
    assert recall("model", b"other") is None and recall("other", b"content") is None


def test_a_refusal_is_remembered():
    remember("model", b"content", Known("it is damaged"))
    assert recall("model", b"content").refusal == "it is damaged"


def test_speeds_are_those_of_a_machine_and_its_threads():
    known = Known(None, {this_machine(2): {"torch": 2.0, "onnx": 1.5}})
    assert (known.is_faster(2), known.is_faster(1)) == (True, None)
    assert Known(None, {this_machine(2): {"torch": 1.0, "onnx": 1.5}}).is_faster(2) is False


def test_engines_are_timed_in_turn_after_a_first_call(monkeypatch):
    calls = []
    monkeypatch.setattr(known_exports.time, "perf_counter", lambda: Clock.now)
    found = speeds_of(Clock("torch", 0.02, calls), Clock("onnx", 0.01, calls), torch.zeros(4, 1, 8, 8))
    assert found == pytest.approx({"torch": 20.0, "onnx": 10.0})
    assert calls == ["torch 1", "onnx 1", *["torch 4", "onnx 4"] * known_exports.ROUNDS]


def test_slow_engines_are_timed_once(monkeypatch):
    calls = []
    monkeypatch.setattr(known_exports.time, "perf_counter", lambda: Clock.now)
    speeds_of(Clock("torch", 2.0, calls), Clock("onnx", 1.0, calls), torch.zeros(4, 1, 8, 8))
    assert len(calls) == 4


def test_another_version_makes_another_export(monkeypatch):
    before = export_file("model")
    assert before == export_file("model") != export_file("other")
    monkeypatch.setattr(known_exports, "version", lambda name: "99")
    assert export_file("model") != before


def test_where_the_cache_cannot_be_written_it_is_known_as_long_as_the_process_lives(cache, monkeypatch, capfd):
    monkeypatch.setattr("firstlight.cache._stand_ins", {})
    cache.mkdir()
    (cache / known_exports.FOLDER).write_text("in the way")
    remember("model", b"content", Known("a refusal"))
    assert recall("model", b"content") == Known("a refusal")
    assert "exports cannot be written" in capfd.readouterr().err
    assert (cache / known_exports.FOLDER).read_text() == "in the way"


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole.replace(b"1.5", b"1.4"),
        lambda whole: whole.replace(b'"it is another model"', b"null"),
        lambda whole: whole[:-1],
        lambda _: b"",
        lambda _: b"\xff\xfe",
    ],
)
def test_what_is_damaged_is_not_known(damage, cache):
    remember("model", b"content", Known("it is another model", {"a machine": {"torch": 2.0, "onnx": 1.5}}))
    assert recall("model", b"content") is not None
    (file,) = (cache / known_exports.FOLDER).iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert recall("model", b"content") is None


def test_what_nobody_has_used_for_a_month_is_forgotten(cache):
    for content in (b"used", b"unused"):
        remember("model", content, Known())
    for file in (cache / known_exports.FOLDER).iterdir():
        os.utime(file, (0, 0))
    assert recall("model", b"used") == Known()
    remember("model", b"new", Known())
    assert [recall("model", content) for content in (b"used", b"unused", b"new")] == [Known(), None, Known()]
