"""The words of a command line: what they mean as values, and what is said about words that mean nothing."""

from pathlib import Path

import pytest

from firstlight.cli.commands import Check, Compare, Evaluate, Export, Guide, Predict, Train
from firstlight.cli.entry import command_named, parse
from firstlight.cli.options import options_of
from firstlight.cli.parser import read_words
from firstlight.errors import UserError


def test_words_become_values_of_their_types():
    command = parse(
        ["train", "photos", "--model=mlp", "--hidden", "64", "32", "--lr", "1e-2", "--ladder", "--out", "a b"]
    )
    assert (command.source, command.model.name, command.model.hidden) == ("photos", "mlp", (64, 32))
    assert (command.optimization.lr, command.transfer.ladder, command.out) == (0.01, True, Path("a b"))
    assert command.optimization.epochs is None


@pytest.mark.parametrize("words", [["--hidden", "64,32"], ["--hidden=64,32"], ["--hidden", "64", "32"]])
def test_several_numbers_are_one_value_and_the_source_may_follow(words):
    assert read_words(Train, [*words, "photos"]) == {"hidden": (64, 32), "source": "photos"}


def test_switches_go_on_and_off_and_the_last_word_counts():
    assert read_words(Train, ["--no-pretrained", "--flip", "--no-flip", "--seed", "1", "--seed=2"]) == {
        "pretrained": False, "flip": False, "seed": 2,
    }  # fmt: skip


def test_options_may_stand_anywhere_and_two_dashes_end_them():
    given = read_words(Predict, ["--top", "3", "model", "a.png", "--json", "-", "--", "--b.png"])
    assert given == {"top": 3, "json": True, "model": Path("model"), "paths": ("a.png", "-", "--b.png")}


@pytest.mark.parametrize(
    ("command", "words", "told"),
    [
        (Train, ["--epoch", "3"], "train has no option --epoch; did you mean --epochs?"),
        (Train, ["--optimiser=sgd"], "train has no option --optimiser; did you mean --optimizer?"),
        (Train, ["--imgsz", "64"], "train has no option --imgsz; did you mean --img-size?"),
        (Train, ["--image_size", "64"], "train has no option --image_size; did you mean --img-size?"),
        (Train, ["--img_size", "64"], "train has no option --img_size; did you mean --img-size?"),
        (Train, ["--modle", "mlp"], "train has no option --modle; did you mean --model?"),
        (Train, ["--no-pretraned"], "train has no option --no-pretraned; did you mean --no-pretrained?"),
        (Train, ["-epochs", "3"], "train has no option -epochs; did you mean --epochs?"),
        (Train, ["--zzz"], "train has no option --zzz; see `firstlight train --help`"),
        (Train, ["photos", "\u2013epochs", "3"], "\u2013epochs is not expected here; did you mean --epochs?"),
        (Train, ["photos", "imgsz=64"], "imgsz=64 is not expected here; did you mean --img-size 64?"),
        (Train, ["my", "photos"], "photos is not expected here: train takes SOURCE; put quotes around names"),
        (Train, ["--ladder=yes"], "--ladder takes no value; use --ladder or --no-ladder"),
        (Train, ["--epochs", "--json"], "--epochs needs a value: --epochs N"),
        (Train, ["--hidden"], "--hidden needs a value: --hidden N"),
        (Predict, ["run"], "predict needs PATHS: firstlight predict runs/photos-1 new.jpg"),
        (Check, [], "check needs SOURCE"),
    ],
)  # fmt: skip
def test_a_word_that_means_nothing_gets_a_suggestion(command, words, told):
    with pytest.raises(UserError) as error:
        read_words(command, words)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("words", "field", "told"),
    [
        (["--epochs", "one"], "epochs", "give a whole number"),
        (["--epochs", "1.5"], "epochs", "give a whole number"),
        (["--lr", "fast"], "lr", "give a number"),
        (["--hidden", "64", "--seed", "x"], "seed", "give a whole number"),
        (["--optimizer", "Adam"], "optimizer", "choose adamw, sgd or muon; did you mean adamw?"),
    ],
)
def test_a_value_of_the_wrong_type_says_what_is_expected(words, field, told):
    with pytest.raises(UserError) as error:
        read_words(Train, words)
    assert (error.value.field, error.value.reason) == (field, told)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("trian", "did you mean train?"),
        ("val", "did you mean evaluate?"),
        ("fit", "did you mean train?"),
        ("classify", "did you mean predict?"),
        ("zzz", "choose check, train, tune, evaluate, "),
        ("--json", "name a command"),
        ("", "name a command"),
    ],
)
def test_a_command_that_does_not_exist_gets_a_suggestion(word, told):
    with pytest.raises(UserError) as error:
        command_named(word)
    assert told in str(error.value)


@pytest.mark.parametrize("command", [Train, Evaluate, Compare, Predict, Check, Guide])
def test_every_option_is_described_and_has_a_name_of_its_own(command):
    options = options_of(command)
    assert len({option.name for option in options}) == len(options)
    for option in options:
        assert option.about.endswith("."), option.name


def test_an_option_for_pictures_takes_all_words_up_to_the_next_flag():
    words = ["run", "--check", "my photos", "a,b.jpg", "-", "--to", "torch"]
    assert read_words(Export, words) == {"model": Path("run"), "check": ("my photos", "a,b.jpg", "-"), "to": "torch"}
