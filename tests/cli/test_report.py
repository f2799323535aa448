"""`firstlight report`: of a run, and of a model on labeled pictures."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import firstlight as fl
from firstlight.cli import main
from firstlight.runs.outputs import read_outputs, write_outputs


@pytest.fixture
def run_folder(digit_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(digit_run.folder, tmp_path / "run"))


def answer(capsys, *words):
    assert main(["report", *map(str, words), "--json"]) == 0
    return Path(json.loads(capsys.readouterr().out)["report"])


def complaint(capsys, *words):
    assert main(["report", *map(str, words)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    return shown.err


def test_the_report_of_a_run_is_in_its_folder_or_where_it_is_asked_for(run_folder, capsys):
    assert answer(capsys, run_folder) == run_folder / "report.html"
    assert answer(capsys, run_folder, "--out", "page.html") == Path("page.html")
    assert Path("page.html").read_bytes() == (run_folder / "report.html").read_bytes()
    assert main(["report", str(run_folder)]) == 0
    assert capsys.readouterr().out == f"wrote {run_folder / 'report.html'}; open it in a browser\n"


def test_a_model_is_scored_on_other_pictures_and_a_file_is_never_replaced_unasked(run_folder, digit_folder, capsys):
    written = answer(capsys, run_folder / "model.safetensors", digit_folder, "--split", "all")
    assert written == Path("digit-folder-report.html")
    html = written.read_text("utf-8")
    assert "run on digit-folder" in html and "of 120 pictures that the model had never seen" not in html
    assert "Which classes are confused" in html and "Every choice of the recipe" not in html
    assert "this file exists" in complaint(capsys, run_folder, digit_folder, "--split", "all")
    assert answer(capsys, run_folder, digit_folder, "--split", "all", "--out", written) == written


def test_a_classifier_in_memory_can_be_reported_on(run_folder, digit_folder):
    model = fl.load(run_folder)
    assert fl.report(model, digit_folder, split="all", out="one.html").is_file()
    with pytest.raises(fl.UserError):
        fl.report(model)


@pytest.mark.parametrize("missing", ["nowhere", "run/outputs"])
def test_what_is_no_run_is_one_line(run_folder, capsys, missing):
    assert missing in complaint(capsys, missing)


def test_a_page_that_cannot_be_written_is_one_line(run_folder, capsys):
    assert "cannot be written" in complaint(capsys, run_folder, "--out", "gone/page.html")


@pytest.mark.parametrize("part", ["logits", "labels", "classes"])
def test_outputs_that_do_not_go_with_the_record_are_one_line(run_folder, capsys, part):
    outputs = read_outputs(run_folder, "test")
    changed = {
        "logits": {"logits": outputs.logits * np.float32(np.nan)},
        "labels": {"labels": outputs.labels - 1},
        "classes": {"logits": outputs.logits[:, :-1]},
    }[part]
    write_outputs(run_folder, "test", replace(outputs, **changed))
    assert "does not go with the record of this run" in complaint(capsys, run_folder)
