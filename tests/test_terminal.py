"""What a person reads: whole, harmless in any terminal, and never on the stream of the answers by mistake."""

import csv
import io
import json
import os
import sys
from types import SimpleNamespace

import pytest

from firstlight.delivery.predict import Guess, Prediction
from firstlight.errors import DataError
from firstlight.escaping import escape
from firstlight.terminal import (
    LISTED,
    print_json,
    say,
    show_json,
    show_table,
    tell,
    tell_check,
    tell_run,
    written_to_csv,
)

HOSTILE = "cat\x1b[2J\x07\r.png"
NOT_UNICODE = os.fsdecode(b"caf\xe9.png")


def predictions():
    top = (Guess("cat", 0.75), Guess("dog", 0.25))
    yield Prediction("a.png", label="cat", probability=0.75, top=top)
    yield Prediction(NOT_UNICODE, error="it is empty")
    yield Prediction("c\rd,e.png", label="dog", probability=1.0, top=(Guess("dog", 1.0),))


@pytest.mark.parametrize("text", [HOSTILE, NOT_UNICODE, "a\nfirstlight: all is well", "\u202egnp.exe", "\x9b31m", "\0"])
def test_names_that_could_steer_a_terminal_or_forge_a_line_are_escaped(text):
    assert escape(text).isprintable()
    escape(text).encode("utf-8")


@pytest.mark.parametrize("text", ["plain", "Größe 日本 🐈", "c:\\windows", "'quoted' \"twice\""])
def test_ordinary_names_stay_as_they_are(text):
    assert escape(text) == text


def test_answers_go_to_stdout_and_words_by_the_way_to_stderr(capsys):
    say("the answer")
    tell("by the way")
    assert capsys.readouterr() == ("the answer\n", "by the way\n")


def test_a_terminal_that_has_no_such_letter_gets_it_escaped(monkeypatch):
    old = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", old)
    say("café 猫")
    old.flush()
    assert old.buffer.getvalue() == b"caf\xe9 \\u732b\n"


def test_json_is_one_line_that_any_program_can_read(capsys):
    print_json({"name": NOT_UNICODE, "n": [1, None]})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"name": NOT_UNICODE, "n": [1, None]}


def test_a_table_has_a_line_a_image_and_counts_errors(capsys):
    assert show_table(predictions()) == (3, 1)
    assert capsys.readouterr().out.splitlines() == [
        "a.png  cat 75.0%  (dog 25.0%)",
        "caf\\udce9.png  error: it is empty",
        "c\\rd,e.png  dog 100.0%",
    ]


def test_a_json_list_is_written_row_by_row_and_counts_errors(capsys):
    assert show_json(predictions()) == (3, 1)
    rows = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in rows] == ["a.png", NOT_UNICODE, "c\rd,e.png"]
    assert rows[0]["top"] == [{"label": "cat", "probability": 0.75}, {"label": "dog", "probability": 0.25}]
    assert rows[1] == {"image": NOT_UNICODE, "error": "it is empty"}


def test_no_predictions_are_an_empty_list_and_no_lines(capsys):
    assert show_json(iter(())) == (0, 0)
    assert json.loads(capsys.readouterr().out) == []
    assert show_table(iter(())) == (0, 0)
    assert capsys.readouterr().out == ""


def test_predictions_pass_through_into_a_csv_that_gives_every_name_back(tmp_path):
    path = tmp_path / "rows.csv"
    passing = written_to_csv(predictions(), path)
    assert next(passing).label == "cat"
    assert not path.exists(), "a file's existence means that it is complete"
    assert len(list(passing)) == 2
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["image", "label", "probability", "error"],
        ["a.png", "cat", "0.75", ""],
        [NOT_UNICODE, "", "", "it is empty"],
        ["c\rd,e.png", "dog", "1.0", ""],
    ]


def test_an_interrupted_csv_is_not_there(tmp_path):
    passing = written_to_csv(predictions(), tmp_path / "rows.csv")
    next(passing)
    passing.close()
    assert not list(tmp_path.iterdir())


def test_a_csv_that_cannot_be_written_is_the_users_error_in_one_line(tmp_path):
    with pytest.raises(DataError, match=r"--csv .*rows\.csv: cannot be written \(No such file or directory\)"):
        list(written_to_csv(predictions(), tmp_path / "missing" / "rows.csv"))


FOUND = {
    "source": "photos",
    "n": 1234,
    "classes": {f"class {number}": 100 for number in range(LISTED + 2)},
    "sizes": {"8x8": 1234},
    "modes": {"RGB": 1234},
    "source_notes": ["the class names are numbers"],
    "notes": {"first of 2 frames": ["a.gif"]},
    "quarantined": [{"image": f"{HOSTILE}{number}", "reason": "it is empty"} for number in range(LISTED + 3)],
    "duplicates": [["a.png", "b.png"]],
    "near_duplicates": [],
    "leaks": [["train/a.png", "test/a.png"]],
}


def test_a_check_tells_counts_and_names_and_cuts_long_lists(capsys):
    tell_check(FOUND)
    out = capsys.readouterr().out
    assert out.startswith("photos: 1,234 pictures in 12 classes\n")
    for words in (
        "class 9 100 and 2 more",
        "first of 2 frames: 1, such as a.gif",
        "13 cannot be used:",
        "and 3 more; --json lists them all",
        "a.png = b.png",
        "0 groups of near copies\n",
        "train/a.png = test/a.png",
    ):
        assert words in out
    assert "\x1b" not in out
    assert out.count("it is empty") == LISTED


def a_run(tmp_path, *, test, leaks=(), quarantined=None, transfer=None):
    score = SimpleNamespace(accuracy="0.980 [0.970, 0.990], n = 270", log_loss="0.06")
    return SimpleNamespace(
        to_json=lambda: {"n": {"train": 1257, "valid": 270, "test": 270}},
        test=score if test else None,
        valid=score,
        seconds={"total": 12.34},
        folder=tmp_path,
        transfer=transfer,
        data=SimpleNamespace(
            store=SimpleNamespace(quarantined=quarantined or {}),
            leaks=list(leaks),
            dropped=[],
            notes=(),
            samples=SimpleNamespace(names=("one.png", HOSTILE)),
        ),
    )


def test_a_run_is_told_with_its_test_score_and_where_it_is(tmp_path, capsys):
    (tmp_path / "curves.png").touch()
    tell_run(a_run(tmp_path, test=True))
    out = capsys.readouterr().out
    assert out.startswith("trained on 1,257, chosen on 270, scored once on 270 pictures\ntest accuracy  0.980 [0.970")
    for word in (str(tmp_path / "model.safetensors"), "curves.png", "12.3 s"):
        assert word in out
    assert "quarantine" not in out
    assert "copies" not in out


def test_an_interrupted_run_tells_no_test_score(tmp_path, capsys):
    tell_run(a_run(tmp_path, test=False, leaks=[[0, 1]], quarantined={3: "it is empty"}))
    out = capsys.readouterr().out
    assert "test accuracy" not in out
    assert "validation accuracy  0.980" in out
    assert "set aside as unusable: 1; quarantine.csv has the reasons" in out
    assert "one.png = cat\\x1b" in out
    assert "--drop-leaks takes the training copies out" in out


def a_transfer(*, case="few pictures, near to what the backbone has seen", points=5):
    rungs = [("majority class", 0.1, 0.0), ("nearest neighbors", 0.8425, 12.345), ("linear head", 0.913, 123.4)]
    score = {value: SimpleNamespace(value=value, low=value - 0.05, high=value + 0.05) for _, value, _ in rungs}
    return SimpleNamespace(
        backbone="timm:resnet18",
        weights=SimpleNamespace(source="weights\x1b[2J.safetensors", license="apache-2.0"),
        ladder=[
            SimpleNamespace(name=name, accuracy=score[value], seconds=seconds) for name, value, seconds in rungs
        ],
        strategy="linear head",
        case=case,
        curve=SimpleNamespace(
            points=[SimpleNamespace(images=100 * 2**number, accuracy=score[0.913]) for number in range(points)],
            forecast=((3200, 0.93), (6400, 0.945)),
        ),
    )  # fmt: skip


def test_a_run_on_a_backbone_tells_every_rung_in_columns_and_marks_the_kept_one(tmp_path, capsys):
    tell_run(a_run(tmp_path, test=True, transfer=a_transfer()))
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("built on"))
    assert lines[first] == "built on timm:resnet18, weights weights\\x1b[2J.safetensors, license apache-2.0"
    heading, *rungs = lines[first + 1 : first + 5]
    assert rungs == [
        "  majority class           0.100 [0.050, 0.150]            0.0",
        "  nearest neighbors       0.843 [0.792, 0.893]           12.3",
        "  linear head              0.913 [0.863, 0.963]          123.4  <- kept",
    ]
    columns = heading.index("validation accuracy"), heading.index("seconds") + len("seconds")
    assert columns == (rungs[0].index("0.100"), len(rungs[0]))
    assert lines[first + 5].strip() == "few pictures, near to what the backbone has seen"
    assert "3,200: 0.930, 6,400: 0.945" in lines[first + 6]
    assert "1,600: 0.913; to be expected" in lines[first + 6]


def test_a_learning_curve_that_nobody_asked_for_and_a_case_that_was_not_told_are_left_out(tmp_path, capsys):
    tell_run(a_run(tmp_path, test=False, transfer=a_transfer(case=None, points=2)))
    out = capsys.readouterr().out
    assert "to be expected" not in out
    assert "None" not in out
    how = a_transfer(case=None)
    how.curve = None
    tell_run(a_run(tmp_path, test=False, transfer=how))
    assert "linear head" in capsys.readouterr().out
