"""The card says what the model file and the record of its run say, and nothing beyond that."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import firstlight as fl
from firstlight.delivery.share.card import Card, card_of, name_of
from firstlight.errors import ModelFileError, RunError
from firstlight.evaluation.shortcuts import Shortcut
from firstlight.models.model_file import save_model
from firstlight.runs.record import read_record, write_record


@pytest.fixture
def copied_run(array_run, tmp_path):
    """A copy of a finished run that may be changed."""
    return Path(shutil.copytree(array_run.folder, tmp_path / "birds-3"))


def changed(folder, **fields):
    """Return the card of a run after its record was changed."""
    write_record(folder, replace(read_record(folder), **fields))
    return card_of(folder)


def test_a_card_states_the_scores_of_the_record(array_run):
    card = card_of(array_run.folder)
    assert card.test is not None
    assert card.test.accuracy == array_run.test.accuracy
    assert card.valid.log_loss == array_run.valid.log_loss
    assert card.images == array_run.record.n
    assert card.classes == array_run.model.classes
    assert card.test_evaluations == 1
    assert card.trust.test.coverage == array_run.record.trust.test.coverage
    assert card.sha256 == fl.read_model_card(array_run.folder / "model.safetensors").sha256


def test_a_card_of_a_file_alone_states_what_its_header_states(array_run, tmp_path):
    file = shutil.copy(array_run.folder / "model.safetensors", tmp_path / "digits.safetensors")
    card = card_of(file)
    assert (card.name, card.images, card.source, card.test_evaluations) == ("digits", None, None, None)
    assert card.test.accuracy == array_run.test.accuracy
    assert card.trust.kept == array_run.record.trust.kept
    assert card.trust.test is None


def test_a_loaded_classifier_has_the_card_of_its_file(array_run):
    assert card_of(fl.load(array_run.folder)) == card_of(array_run.folder)


def test_a_classifier_without_a_file_claims_no_score():
    card = card_of(fl.Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 8, 8)))
    assert (card.sha256, card.test, card.valid, card.trust) == (None, None, None, None)
    assert any("no test score" in sentence for sentence in card.limits)


def test_a_classifier_that_is_no_longer_that_of_its_file_claims_no_score(copied_run):
    model = fl.load(copied_run)
    model.temperature.fill_(7.0)
    card = card_of(model)
    assert (card.sha256, card.test) == (None, None)


def test_a_run_without_a_test_score_says_so_and_validation_does_not_take_its_place(digit_folder, tmp_path):
    run = fl.train(digit_folder, model="mlp", hidden=(16,), epochs=2, out=tmp_path / "run", score_test=False)
    card = card_of(run.folder)
    assert card.test is None
    assert card.valid.accuracy == run.valid.accuracy
    assert card.worst_classes == ()
    assert card.to_json()["scores"]["test"] is None
    assert any("no test score" in sentence for sentence in card.limits)


def test_the_record_of_another_model_is_not_believed(copied_run):
    save_model(copied_run / "model.safetensors", fl.load(copied_run))  # has no scores of its own
    card = card_of(copied_run)
    assert (card.test, card.valid, card.images) == (None, None, None)


def test_a_damaged_record_is_an_error_not_a_card_with_less(copied_run):
    (copied_run / "evaluation.json").write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        card_of(copied_run)


@pytest.mark.parametrize(
    "stated",
    [
        {"accuracy": 0.99},
        {"accuracy": {"value": 7.0, "low": 0.0, "high": 8.0, "n": 10}},
        "0.99",
        {"accuracy": {"value": "0.99", "low": 0, "high": 1, "n": 1}},
    ],
)
def test_scores_in_a_header_that_make_no_sense_are_not_repeated(stated, array_run, tmp_path):
    good = fl.read_model_card(array_run.folder / "model.safetensors").scores
    file = tmp_path / "strange.safetensors"
    wrong = good["test"] | stated if isinstance(stated, dict) else stated
    save_model(file, fl.load(array_run.folder), scores={"valid": good["valid"], "test": wrong}, extra={"weights": 3})
    card = card_of(file)
    assert card.test is None
    assert card.valid is not None


def test_more_than_one_look_at_the_test_split_is_told(copied_run):
    assert any("scored 3 times" in sentence for sentence in changed(copied_run, test_evaluations=3).limits)


def test_what_the_record_knows_of_the_pictures_is_told(copied_run):
    shortcut = Shortcut(cue="exif camera", gain=0.5, baseline=0.2, p=1e-6)
    card = changed(copied_run, leaks=2, suspects=1, quarantined=3, shortcuts=(shortcut,))
    told = "\n".join(card.findings)
    for words in ("3 pictures could not", "2 groups of copies were", "too good", "1 training picture", "camera in the"):
        assert words in told


def test_folders_of_the_source_are_kept_private(copied_run):
    card = changed(copied_run, source="/home/ada/secret/photos/", notes=("labels come from /home/ada/secret/l.csv",))
    assert card.source == "photos"
    assert "secret" not in json.dumps(card.to_json()) + card.to_markdown()


def test_to_json_is_plain_and_holds_what_the_server_promises(array_run):
    told = card_of(array_run.folder).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told.keys() >= {"name", "classes", "input_size", "resize", "sha256", "scores", "trust", "limits"}


def test_a_model_is_called_after_its_run_its_repository_or_its_file(tmp_path):
    assert name_of(tmp_path / "birds-3" / "model.safetensors") == "birds-3"
    assert name_of(tmp_path / "birds.safetensors") == "birds"
    cached = tmp_path / "models--ada--birds" / "snapshots" / "0123abc" / "model.safetensors"
    assert name_of(cached) == "birds"


def test_a_file_that_is_no_model_is_a_user_error(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(ModelFileError):
        card_of(tmp_path / "x.safetensors")


def test_the_defaults_of_a_card_claim_nothing():
    card = Card(name="m", architecture={}, classes=("a",), input_size=(1, 8, 8), resize="crop", making={}, versions={})
    assert card.license == "unknown"
    assert card.to_json()["scores"] == {"test": None, "valid": None}
