"""A record comes back as it was written, whatever version wrote it, and no evaluation of the test split is lost."""

import errno
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from firstlight.errors import RunError
from firstlight.evaluation.conformal import ClassSets, SetScores
from firstlight.evaluation.intervals import Estimate
from firstlight.runs.record import TrustRecord, count_test_evaluation, headline, read_record, write_record


def changed(folder: Path, **fields) -> dict:
    """Change fields of a record file by hand, and leave its digest out, as earlier versions did."""
    value = json.loads((folder / "evaluation.json").read_text()) | fields
    value.pop("sha256", None)
    (folder / "evaluation.json").write_text(json.dumps(value))
    return value


def test_a_record_is_read_back_as_it_was_written(tmp_path, record):
    for written in (record, replace(record, transfer=None), replace(record, test=None)):
        assert write_record(tmp_path, written) == written
        assert read_record(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_an_interrupted_transfer_has_neither_case_nor_curve(tmp_path, record, transfer):
    cut = replace(record, transfer=replace(transfer, case=None, learning_curve=None), test=None, test_evaluations=0)
    write_record(tmp_path, cut)
    assert read_record(tmp_path) == cut


def test_the_file_is_laid_out_as_always(tmp_path, record):
    write_record(tmp_path, record)
    value = json.loads((tmp_path / "evaluation.json").read_text())
    assert value["run"] == str(tmp_path)
    assert value["model"] == str(tmp_path / "model.safetensors")
    assert value["test"]["accuracy"]["n"] == 20
    assert value["leaked"] == [["cat/\udcff.png", "dog/1.png"]]
    assert value["ladder"][1]["rung"] == "linear head"
    assert value["ladder"][1]["accuracy"]["value"] == 0.85
    assert value["learning_curve"]["points"][0]["images"] == 5
    assert value["learning_curve"]["forecast"] == [{"images": 40, "accuracy": 0.9}, {"images": 80, "accuracy": 0.925}]
    assert "transfer" not in value
    assert len(value.pop("sha256")) == 64
    assert value == {"run": str(tmp_path), "model": str(tmp_path / "model.safetensors")} | record.to_json()


def test_a_summary_has_headlines_for_evaluations(record):
    summary = record.summary()
    assert list(summary["valid"]) == ["accuracy", "log_loss", "top5", "macro_f1", "ece", "calibration"]
    assert summary["test"] == headline(record.test)
    assert summary["test"]["accuracy"] == record.test.to_json()["accuracy"]
    assert not {"leaked", "source_key", "test_evaluations"} & set(summary)
    assert replace(record, test=None).summary()["test"] is None
    json.dumps(summary, allow_nan=False)


def test_the_last_drop_of_a_curve_is_what_its_last_step_took_away(transfer):
    assert transfer.learning_curve.last_drop == pytest.approx(0.5)


def older(record) -> dict:
    """The same record in the words of the version before: no resize, `pictures`, `licence`."""
    value = record.to_json()
    del value["resize"]
    value["weights"]["licence"] = value["weights"].pop("license")
    for renamed in (value["case"], *value["learning_curve"]["points"], *value["learning_curve"]["forecast"]):
        renamed["pictures"] = renamed.pop("images")
    return value


@pytest.mark.parametrize(
    ("recipe", "resize"),
    [
        ('fit = "crop:0.9"\n', "crop:0.9"),
        ('resize = "pad"\n', "pad"),
        (None, "crop"),
        ("= broken", "crop"),
        ("fit = 3", "crop"),
    ],
)
def test_an_older_record_is_read_under_todays_names(tmp_path, record, recipe, resize):
    (tmp_path / "evaluation.json").write_text(json.dumps(older(record)))
    if recipe is not None:
        (tmp_path / "recipe.toml").write_text(recipe)
    assert read_record(tmp_path) == replace(record, resize=resize)


def test_a_field_that_a_later_version_adds_does_no_harm_and_is_kept_by_the_count(tmp_path, record):
    write_record(tmp_path, record)
    changed(tmp_path, hope={"temperature": 1.5})
    assert read_record(tmp_path) == record
    assert count_test_evaluation(tmp_path) == 2
    assert json.loads((tmp_path / "evaluation.json").read_text())["hope"] == {"temperature": 1.5}


def test_how_the_sets_did_is_read_back(tmp_path, record):
    sure = Estimate(0.9, 0.8, 0.95, 40)
    scores = SetScores(sure, 1.25, ((1, 30), (2, 10)), sure, sure, (ClassSets("a", sure, 1.25),))
    trust = TrustRecord(coverage=0.9, set_quantile=0.4, measured_on={"n": 40}, kept=sure, test=scores)
    written = write_record(tmp_path, replace(record, trust=trust))
    assert read_record(tmp_path) == written


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"{}"', "{}", "[" * 100_000, '{"test_evaluations": NaN}', '{"test_evaluations": 1}'],
)
def test_what_is_no_record_is_an_error_of_one_line(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(RunError, match=r"evaluation\.json: not a record that firstlight wrote") as refused:
        read_record(tmp_path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    (tmp_path / "evaluation.json").write_bytes(b'{"source": "\xff"}')
    for read in (read_record, count_test_evaluation):
        with pytest.raises(RunError, match="not a record that firstlight wrote"):
            read(tmp_path)


def test_each_field_is_held_to_its_type(tmp_path, record):
    write_record(tmp_path, record)
    changed(tmp_path)
    whole = (tmp_path / "evaluation.json").read_text()
    for key in json.loads(whole):
        if key in ("run", "model", "backbone", "resize"):  # where it is, and whether there was a backbone: not fields
            continue
        for wrong in (0.5, [[3]], False, *([] if key == "case" else [{"text": []}])):
            (tmp_path / "evaluation.json").write_text(whole)
            value = changed(tmp_path, **{key: wrong})
            with pytest.raises(RunError, match="it is damaged") as refused:
                read_record(tmp_path)
            assert "\n" not in str(refused.value)
            assert json.loads((tmp_path / "evaluation.json").read_text()) == value
        (tmp_path / "evaluation.json").write_text(whole)
        if key in (
            "two_labels",
            "near_two_labels",
            "model_choice",
            "next_step",
            "shortcuts",
            "suspects",
            "mixed_up",
            "trust",
        ):  # older records have none
            continue
        value = json.loads(whole)
        del value[key]
        (tmp_path / "evaluation.json").write_text(json.dumps(value))
        with pytest.raises(RunError, match=f"[`' ]{key}|it is damaged"):
            read_record(tmp_path)


@pytest.mark.parametrize("wrong", [{"n": {"train": 1}}, {"seconds": {}}, {"classes": []}])
def test_a_record_that_lacks_a_number_is_damaged(tmp_path, record, wrong):
    write_record(tmp_path, record)
    changed(tmp_path, **wrong)
    with pytest.raises(RunError, match="it is damaged"):
        read_record(tmp_path)


def test_a_digit_that_was_changed_is_noticed_and_the_file_stays_as_it_is(tmp_path, record):
    write_record(tmp_path, record)
    file = tmp_path / "evaluation.json"
    whole = file.read_text()
    for edited in (whole.replace('"n": 20', '"n": 21', 1), whole.replace("0.85", "0.95"), whole.replace("cat", "car")):
        assert edited != whole
        file.write_text(edited)
        for read in (read_record, count_test_evaluation):
            with pytest.raises(RunError, match="or it is damaged; restore it from a copy") as refused:
                read(tmp_path)
            assert "\n" not in str(refused.value)
        assert file.read_text() == edited
    file.write_text(json.dumps(json.loads(whole), sort_keys=True))  # the same fields, laid out otherwise
    assert read_record(tmp_path) == record


def test_an_edited_record_is_replaced_with_its_count(tmp_path, record):
    write_record(tmp_path, replace(record, test_evaluations=7))
    file = tmp_path / "evaluation.json"
    file.write_text(file.read_text().replace("0.85", "0.95"))
    assert write_record(tmp_path, record).test_evaluations == 7
    assert read_record(tmp_path) == replace(record, test_evaluations=7)


def test_where_there_is_no_record_reading_says_so_and_counting_does_nothing(tmp_path):
    with pytest.raises(RunError, match="there is no record of a run here"):
        read_record(tmp_path)
    assert count_test_evaluation(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_folder_in_place_of_the_record_is_an_error(tmp_path):
    (tmp_path / "evaluation.json").mkdir()
    with pytest.raises(RunError, match=r"cannot be read \(it is a folder, not a file\)"):
        read_record(tmp_path)


def test_each_evaluation_of_the_test_split_is_counted(tmp_path, record):
    write_record(tmp_path, record)
    assert [count_test_evaluation(tmp_path) for _ in range(3)] == [2, 3, 4]
    assert read_record(tmp_path) == replace(record, test_evaluations=4)
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize("count", ["1", 1.0, -1, True, None, []])
def test_a_damaged_count_is_an_error_and_stays_as_it_is(tmp_path, record, count):
    write_record(tmp_path, record)
    value = changed(tmp_path, test_evaluations=count)
    with pytest.raises(RunError, match="evaluations of the test split cannot be counted in it"):
        count_test_evaluation(tmp_path)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == value


def test_writing_again_never_lowers_the_count_of_others(tmp_path, record):
    write_record(tmp_path, replace(record, test_evaluations=0))
    assert count_test_evaluation(tmp_path) == 1  # training counts before it scores
    assert count_test_evaluation(tmp_path) == 2  # and meanwhile somebody evaluates
    assert write_record(tmp_path, record).test_evaluations == 2
    assert read_record(tmp_path).test_evaluations == 2


def test_writing_over_a_damaged_record_replaces_it(tmp_path, record):
    (tmp_path / "evaluation.json").write_text("{")
    assert write_record(tmp_path, record) == record
    assert read_record(tmp_path) == record


def test_a_write_that_fails_leaves_the_record_of_before_and_no_other_file(tmp_path, record, monkeypatch):
    write_record(tmp_path, record)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"it cannot be written \(the disk is full\)"):
        count_test_evaluation(tmp_path)
    with pytest.raises(OSError, match="the disk is full"):
        write_record(tmp_path, replace(record, source="another"))
    monkeypatch.undo()
    assert read_record(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]
    assert count_test_evaluation(tmp_path) == 2, "the lock was let go"


COUNT = """
import sys, time
from pathlib import Path
from firstlight.runs.record import count_test_evaluation

folder = Path(sys.argv[1])
Path(folder / f"ready-{sys.argv[2]}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
for _ in range(25):
    print(count_test_evaluation(folder))
"""


def test_no_count_is_lost_when_several_processes_count_at_once(tmp_path, record):
    write_record(tmp_path, replace(record, test_evaluations=0))
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNT, tmp_path, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("ready-*"))) < 4 and time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    counts = [int(line) for process in processes for line in process.communicate(timeout=120)[0].split()]
    assert sorted(counts) == list(range(1, 101)), "each got a count of its own"
    assert read_record(tmp_path) == replace(record, test_evaluations=100)
    assert not [
        path.name for path in tmp_path.iterdir() if not re.fullmatch(r"go|ready-\d|evaluation\.json", path.name)
    ]


def test_a_record_is_read_and_counted_in_without_torch(tmp_path, record):
    write_record(tmp_path, record)
    code = (
        "import sys; from pathlib import Path; from firstlight.runs.record import count_test_evaluation, read_record\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "assert count_test_evaluation(folder) == read_record(folder).test_evaluations == 2\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BEFORE = Path(__file__).parents[1] / "before"  # run folders of the version before


def test_the_record_of_a_run_of_before_is_read(tmp_path):
    record = read_record(BEFORE / "mlp-run")
    assert (record.resize, record.transfer, record.epochs, record.best_epoch) == ("crop", None, 20, 20)
    assert (record.n, record.test_evaluations) == ({"train": 80, "valid": 20, "test": 20}, 1)
    assert (record.valid.accuracy.value, record.test.accuracy.value) == (0.55, 0.7)
    assert record.source_key == "c8dd1e0de4fe6b4570d6900bb22c74bac6fcc992"
    assert set(record.seconds) == {"pack", "train", "total"}
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


def test_the_record_of_a_transfer_of_before_is_read(tmp_path):
    record = read_record(BEFORE / "backbone-run")
    transfer = record.transfer
    assert (record.resize, transfer.backbone, transfer.strategy) == (
        "crop:0.9",
        "timm:test_efficientnet",
        "linear head",
    )
    assert transfer.weights["license"] == "unknown"
    assert [rung.name for rung in transfer.ladder] == ["majority class", "nearest neighbours", "linear head"]
    assert transfer.case["images"] == "many"
    assert [point.images for point in transfer.learning_curve.points] == [40, 80]
    assert [images for images, _ in transfer.learning_curve.forecast] == [160, 320]
    assert transfer.learning_curve.last_drop == pytest.approx(transfer.case["drop"], abs=1e-4)
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


def test_an_evaluation_is_counted_in_a_record_of_before(tmp_path):
    (tmp_path / "evaluation.json").write_bytes((BEFORE / "backbone-run" / "evaluation.json").read_bytes())
    before = json.loads((tmp_path / "evaluation.json").read_text())
    assert count_test_evaluation(tmp_path) == 2
    assert json.loads((tmp_path / "evaluation.json").read_text()) == before | {"test_evaluations": 2}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_a_file_system_without_locks_still_takes_records_and_counts(tmp_path, record, monkeypatch):
    import fcntl

    def without_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    for _ in range(2):
        write_record(tmp_path, record)
    assert count_test_evaluation(tmp_path) == record.test_evaluations + 1
