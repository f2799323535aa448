"""What a person reads: whole, harmless in any terminal, and never on the stream of the answers by mistake."""

import io
import os
import shlex
import sys
from dataclasses import replace

import pytest

from firstlight.cli.terminal import (
    MAX_ROWS,
    case_words,
    next_steps,
    say,
    show_table,
    tell,
    tell_check,
    tell_run,
)
from firstlight.escaping import escape
from firstlight.evaluation.intervals import Estimate, proportion
from firstlight.inference.predictor import Guess, Prediction
from firstlight.runs.record import CurvePoint, LearningCurve, Rung, TransferRecord
from firstlight.training.transfer.strategy import ADVICE, Case

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


def test_a_table_has_a_line_a_image_and_counts_errors(capsys):
    assert show_table(predictions()) == (3, 1)
    assert capsys.readouterr().out.splitlines() == [
        "a.png  cat 75.0%  (dog 25.0%)",
        "caf\\udce9.png  error: it is empty",
        "c\\rd,e.png  dog 100.0%",
    ]


def test_no_predictions_are_no_lines(capsys):
    assert show_table(iter(())) == (0, 0)
    assert capsys.readouterr().out == ""


FOUND = {
    "source": "photos",
    "n": 1234,
    "classes": {f"class {number}": 100 for number in range(MAX_ROWS + 2)},
    "sizes": {"8x8": 1234},
    "modes": {"RGB": 1234},
    "source_notes": ["the class names are numbers"],
    "notes": {"first of several frames": ["a.gif"]},
    "quarantined": [{"image": f"{HOSTILE}{number}", "reason": "it is empty"} for number in range(MAX_ROWS + 3)],
    "duplicates": [["a.png", "b.png"]],
    "near_duplicates": [],
    "leaks": [["train/a.png", "test/a.png"]],
    "two_labels": [],
    "near_two_labels": [],
    "shortcuts": [],
    "training_notes": [],
    "training_refuses": [],
}


def test_a_check_tells_counts_and_names_and_cuts_long_lists(capsys):
    tell_check(FOUND)
    out = capsys.readouterr().out
    assert out.startswith("photos: 1,234 pictures in 12 classes\n")
    for words in (
        "class 9 100 and 2 more",
        "first of several frames: 1, such as a.gif",
        "13 pictures cannot be used:",
        "and 3 more; --json lists them all",
        "a.png = b.png",
        "no near copies\n",
        "train/a.png = test/a.png",
    ):
        assert words in out
    assert "\x1b" not in out
    assert out.count("it is empty") == MAX_ROWS


def test_wrong_labels_come_first_and_near_copies_are_told_apart_and_softer(capsys):
    both = [[{"image": "cat/1.png", "label": "cat"}, {"image": HOSTILE, "label": "dog"}]]
    tell_check(FOUND | {"two_labels": both * (MAX_ROWS + 1), "near_two_labels": both})
    out = capsys.readouterr().out
    assert out.startswith(f"wrong labels: {MAX_ROWS + 1} pictures have two labels; delete the wrong copies:\n")
    assert "  cat/1.png (cat) = " in out and "\x1b" not in out and "and 1 more; --json lists them all" in out
    assert out.index("possibly wrong labels: 1 group of near copies has two labels") < out.index("photos: 1,234")


def test_a_shortcut_is_told_with_its_figures_and_what_to_do(capsys):
    border = {"cue": "border", "gain": 0.5, "baseline": 0.2, "p": 1e-9, "label": None}
    camera = {"cue": "exif camera", "gain": 0.9, "baseline": 0.02, "p": 1e-9, "label": HOSTILE}
    tell_check(FOUND | {"shortcuts": [border, camera]})
    out = capsys.readouterr().out
    assert "the border alone gives the class of 70% of the pictures; the part just inside it, of 20%" in out
    assert "is the same in 92% of cat" in out and "in only 2% of the other pictures" in out and "\x1b" not in out
    assert "collect, crop, and save all classes in the same way" in out


def test_what_training_will_refuse_is_said_before_the_counts(capsys):
    tell_check(FOUND | {"training_refuses": ["photos: 9 of 99 cannot be used; set `allow_quarantine`"]})
    out = capsys.readouterr().out
    assert out.startswith("train will refuse this set: photos: 9 of 99 cannot be used; set --allow-quarantine\n")


def test_at_most_ten_notes_are_told_and_names_with_spaces_around_them_are_quoted(capsys):
    tell_check(FOUND | {"source_notes": [f"note {number}" for number in range(99)], "classes": {"dog ": 2, "dog": 3}})
    out = capsys.readouterr().out
    assert out.count("  note  ") == MAX_ROWS + 1 and "and 90 more; --json lists them all" in out
    assert 'classes  "dog " 2, dog 3' in out


def estimate(value):
    return Estimate(value, value - 0.05, value + 0.05, 270)


def a_run(tmp_path, digit_run, *, test=True, transfer=None, **changes):
    """A finished run with another record; everything else is that of a real one."""
    record = replace(
        digit_run.record, transfer=transfer, seconds={"pack": 1.0, "train": 2.0, "total": 12.34}, **changes
    )
    return replace(digit_run, folder=tmp_path, record=record if test else replace(record, test=None))


def test_a_run_is_reported_with_its_test_score_and_where_it_is(tmp_path, capsys, digit_run):
    (tmp_path / "curves.png").touch()
    tell_run(a_run(tmp_path, digit_run))
    out, n = capsys.readouterr().out, digit_run.record.n
    assert out.startswith(
        f"trained on {n['train']} pictures, validated on {n['valid']}, scored once on {n['test']} test pictures\n"
    )
    for words in (
        f"test accuracy  {digit_run.test.accuracy}",
        str(tmp_path / "model.safetensors"),
        "curves.png",
        "finished in 12.3 s",
    ):
        assert words in out
    assert "quarantine" not in out
    assert "copies" not in out


def test_an_interrupted_run_reports_no_test_score(tmp_path, capsys, digit_run):
    tell_run(a_run(tmp_path, digit_run, test=False, leaks=1, leaked=(("one.png", HOSTILE),), quarantined=1))
    out = capsys.readouterr().out
    assert "test accuracy" not in out
    assert f"validation accuracy  {digit_run.valid.accuracy}" in out
    assert "1 picture could not be used; quarantine.csv says why" in out
    assert "one.png = cat\\x1b" in out
    assert "--drop-leaks leaves the training copies out" in out


def test_dropped_copies_are_counted(tmp_path, capsys, digit_run):
    tell_run(a_run(tmp_path, digit_run, leaks=1, leaked=(("one.png", "two.png"),), dropped=1))
    assert "1 training picture was left out because of that" in capsys.readouterr().out


CASE = {"images": "few", "domain": "near", "drop": 0.09, "confidence": 0.55, "advice": "fine-tune (`ladder`)"}


def a_transfer(*, case=CASE, points=5):
    rungs = [("majority class", 0.1, 0.0), ("nearest neighbors", 0.8425, 12.345), ("linear head", 0.913, 123.4)]
    curve = LearningCurve(
        tuple(CurvePoint(100 * 2**number, estimate(0.913), 0.3) for number in range(points)),
        ((3200, 0.93), (6400, 0.945)),
    )
    return TransferRecord(
        backbone="timm:resnet18",
        weights={"source": "weights\x1b[2J.safetensors", "license": "apache-2.0", "sha256": "0" * 64},
        ladder=tuple(Rung(name, estimate(value), seconds) for name, value, seconds in rungs),
        strategy="linear head",
        case=case,
        learning_curve=curve if points else None,
        head={"strength": 0.01},
    )


def test_a_run_on_a_backbone_reports_every_rung_in_columns_and_marks_the_kept_one(tmp_path, capsys, digit_run):
    tell_run(a_run(tmp_path, digit_run, transfer=a_transfer()))
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("built on"))
    assert lines[first] == "built on timm:resnet18, weights weights\\x1b[2J.safetensors, license apache-2.0"
    heading, *rungs = lines[first + 1 : first + 5]
    assert rungs == [
        "  majority class           0.100 [0.050, 0.150]            0.0",
        "  nearest neighbors        0.843 [0.792, 0.893]           12.3",
        "  linear head              0.913 [0.863, 0.963]          123.4  <- kept",
    ]
    columns = heading.index("validation accuracy"), heading.index("seconds") + len("seconds")
    assert columns == (rungs[0].index("0.100"), len(rungs[0]))
    assert lines[first + 5].strip() == (
        "More pictures would help: the last doubling of the training set lowered the log loss by 9%. "
        "They look like what the network was pretrained on (its confidence in its own classes is 55%). "
        "Advice: fine-tune (--ladder)"
    )
    assert "1,600: 0.913; forecast  3,200: 0.930, 6,400: 0.945" in lines[first + 6]


def test_the_next_step_takes_the_place_of_the_advice(tmp_path, capsys, digit_run):
    step = "fine-tuning gained much on sets like this: add `ladder` (about 6 minutes)"
    tell_run(a_run(tmp_path, digit_run, transfer=replace(a_transfer(), next_step=step)))
    out = capsys.readouterr().out
    assert "fine-tuning gained much on sets like this: add --ladder (about 6 minutes)" in out
    assert "Advice" not in out


def test_a_baseline_that_did_better_than_what_was_kept_is_explained(tmp_path, capsys, digit_run):
    transfer = a_transfer()
    better = replace(transfer.ladder[1], accuracy=proportion(190, 200))
    worse = replace(transfer.ladder[2], accuracy=proportion(187, 200))
    tell_run(a_run(tmp_path, digit_run, transfer=replace(transfer, ladder=(transfer.ladder[0], better, worse))))
    assert (
        "nearest neighbors got 3 more of 200 validation pictures right, but they need every training picture to "
        "predict, so the model is the linear head"
    ) in capsys.readouterr().out
    assert transfer.remark == ""


@pytest.mark.parametrize("points", [0, 2])
def test_a_learning_curve_that_nobody_asked_for_and_a_case_that_is_not_known_are_left_out(
    points, tmp_path, capsys, digit_run
):
    tell_run(a_run(tmp_path, digit_run, test=False, transfer=a_transfer(case=None, points=points)))
    out = capsys.readouterr().out
    assert "linear head" in out
    assert "forecast" not in out
    assert "None" not in out


def test_every_case_of_transfer_learning_is_a_sentence_about_its_figures():
    for images, domain in ADVICE:
        confidence = None if domain == "unknown" else 0.3
        words = case_words(Case(images, domain, 0.123, confidence).to_json())
        assert "12%" in words
        assert ("classes is 30%" in words) is (confidence is not None)
        assert "`" not in words


@pytest.mark.parametrize("images", ["few", "many"])
def test_a_log_loss_that_rose_was_not_lowered_by_a_negative_percentage(images):
    assert "-" not in case_words(Case(images, "unknown", -0.31, None).to_json(), advise=False)


def test_a_check_without_findings_says_so_in_words(capsys):
    tell_check(FOUND | {"quarantined": [], "duplicates": [], "leaks": []})
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[-4:]] == [
        "every picture can be used", "no exact copies", "no near copies", "no copies in more than one split",
    ]  # fmt: skip


def test_the_other_classes_of_a_long_answer_stand_on_a_line_of_their_own(capsys, monkeypatch):
    guesses = tuple(Guess(label, share) for label, share in (("longsleeve", 0.6), ("outwear", 0.3), ("shirt", 0.1)))
    rows = [Prediction(name, "longsleeve", 0.6, guesses) for name in ("a.jpg", "b" * 30 + ".jpg")]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    show_table(iter(rows))
    assert capsys.readouterr().out.splitlines() == [
        "a.jpg  longsleeve 60.0%  (outwear 30.0%  shirt 10.0%)",
        "b" * 30 + ".jpg  longsleeve 60.0%",
        "    (outwear 30.0%  shirt 10.0%)",
    ]


def test_the_next_steps_can_be_pasted(tmp_path, digit_run):
    folder = tmp_path / "my runs" / "a"
    folder.mkdir(parents=True)
    (folder / "report.html").touch()
    predict, _, listing = next_steps(replace(digit_run, folder=folder))
    assert shlex.split(predict) == ["firstlight", "predict", str(folder), str(folder / "held_out.png")]
    assert listing.endswith(f"firstlight.load_run({str(folder)!r}).mistakes.to_pandas()")
