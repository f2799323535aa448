"""The card is written beside the model, and never over one that a person may have changed."""

import shutil
from pathlib import Path

import pytest

import firstlight as fl
from firstlight.cli import main
from firstlight.delivery.share.card import card_of
from firstlight.delivery.share.card_file import card_for
from firstlight.errors import UserError


@pytest.fixture
def copied_run(array_run, tmp_path):
    return Path(shutil.copytree(array_run.folder, tmp_path / "birds-3"))


def test_the_card_is_written_beside_the_model(copied_run):
    written = fl.export(copied_run, to="card")
    assert written == copied_run / "model-card.md"
    assert written.read_text("utf-8") == card_of(copied_run).to_markdown()


def test_it_can_be_written_again_as_long_as_it_is_the_same(copied_run):
    assert fl.export(copied_run, to="card") == fl.export(fl.load(copied_run), to="card")


def test_a_card_with_words_of_a_person_is_not_replaced_unless_it_is_named(copied_run):
    written = fl.export(copied_run, to="card")
    written.write_text("mine")
    with pytest.raises(UserError, match="may hold words of yours"):
        fl.export(copied_run, to="card")
    assert written.read_text() == "mine"
    fl.export(copied_run, to="card", out=written)
    assert written.read_text() != "mine"


def test_a_card_replaces_no_picture(copied_run):
    picture = copied_run / "held_out.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\0")
    with pytest.raises(UserError, match="that is no card, so it is not replaced"):
        fl.export(copied_run, to="card", out=picture)
    assert picture.stat().st_size == 9


def test_a_model_in_memory_needs_a_name_for_its_card(tmp_path):
    model = fl.Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 8, 8))
    with pytest.raises(UserError, match="name the file with `out`"):
        fl.export(model, to="card")
    assert "no test score" in fl.export(model, to="card", out=tmp_path / "card.md").read_text()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"to": "card", "precision": "int8"}, "no effect on `to` card"),
        ({"to": "card", "check": []}, "no effect on `to` card"),
        ({"to": "card", "repository": "ada/birds"}, "for `to` hub only"),
        ({"to": "onnx", "repository": "ada/birds"}, "for `to` hub only"),
        ({"to": "hub"}, "needs a repository"),
        ({"to": "hub", "repository": "ada/birds", "out": "x"}, "no effect on `to` hub"),
        ({"to": "card", "out": "no/such/folder/card.md"}, "cannot be written"),
    ],
    ids=str,
)
def test_choices_that_do_not_fit_are_refused(choices, words, copied_run):
    with pytest.raises(UserError, match=words):
        fl.export(copied_run, **choices)


def test_the_command_writes_it_and_says_where(copied_run, capsys):
    assert main(["export", str(copied_run), "--to", "card"]) == 0
    assert capsys.readouterr().out == f"model card written to {copied_run / 'model-card.md'}\n"


def test_a_card_of_ones_own_goes_to_the_hub_if_it_is_about_this_model(copied_run):
    file, own = copied_run / "model.safetensors", copied_run / "model-card.md"
    assert 'fl.load("hf:ada/birds")' in card_for(file, "ada/birds")
    text = fl.export(copied_run, to="card").read_text("utf-8").replace('license: "unknown"', 'license: "mit"')
    own.write_text(text, "utf-8")
    assert card_for(file, "ada/birds") == text
    own.write_text("# about something else")
    with pytest.raises(UserError, match="is not about this model"):
        card_for(file, "ada/birds")
