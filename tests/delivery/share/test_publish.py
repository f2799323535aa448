"""A model goes to the hub with its card and an export that has been checked, and comes back as it was."""

import json

import numpy as np
import pytest

import firstlight as fl
from firstlight.cli import main
from firstlight.delivery.share import publish
from firstlight.errors import UserError
from firstlight.progress import announcements_to

GOLDEN = ("model.onnx.golden/0.png", "model.onnx.golden/preprocess.md")


@pytest.fixture
def export_of_nothing(monkeypatch):
    """An export that takes no time: files, as an export leaves them."""

    def written(_model, _to, *, items, out):
        (out.parent / "model.onnx.golden").mkdir()
        for name in ("model.onnx", *GOLDEN):
            (out.parent / name).write_text(name)

    monkeypatch.setattr(publish, "export_model", written)


def test_all_that_an_export_writes_is_uploaded_and_pictures_are_announced(hub, array_run, export_of_nothing):
    lines = []
    with announcements_to(lines.append):
        made = fl.export(array_run, "hub", repository="ada/birds")
    assert list(made.files) == [
        "model.safetensors",
        "README.md",
        "model.onnx",
        *GOLDEN,
    ]
    assert hub.files("ada/birds")[GOLDEN[0]] == GOLDEN[0].encode()
    assert lines[-1].endswith("; with 1 picture made from your data")


@pytest.mark.slow
def test_what_is_published_comes_back_with_the_same_answers(hub, array_run, some_digits, capsys):
    assert main(["export", str(array_run.folder), "ada/birds", "--to", "hub", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    files = hub.files("ada/birds")
    assert told["private"]
    assert told["files"].keys() == files.keys() >= {"model.safetensors", "README.md", "model.onnx", GOLDEN[1]}
    assert files["model.safetensors"] == (array_run.folder / "model.safetensors").read_bytes()
    assert 'fl.load("hf:ada/birds")' in files["README.md"].decode()
    images = list(some_digits[0][:20])
    assert np.array_equal(fl.load("hf:ada/birds").predict_proba(images), array_run.model.predict_proba(images))
    assert not list(array_run.folder.glob("*.onnx")), "what is made for the hub is not left in the run folder"


def test_an_export_that_disagrees_stops_it_before_anything_is_uploaded(hub, array_run, monkeypatch):
    def refused(*_arguments, **_options):
        raise UserError("the answers differ")

    monkeypatch.setattr(publish, "export_model", refused)
    with pytest.raises(UserError, match="the answers differ"):
        fl.export(array_run, "hub", repository="ada/birds")
    assert "ada/birds" not in hub.repositories


def test_a_model_that_has_changed_since_it_was_saved_is_refused(hub, array_run):
    model = fl.load(array_run.folder)
    model.temperature.fill_(9.0)
    with pytest.raises(UserError, match="save it first"):
        fl.export(model, "hub", repository="ada/birds")
    assert "ada/birds" not in hub.repositories


def test_without_a_token_the_model_is_not_even_loaded(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="no token"):
        fl.export("no/such/model", "hub", repository="ada/birds")
