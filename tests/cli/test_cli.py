"""The command line as a user meets it: JSON alone on stdout, one line for a mistake, nothing half-made."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.cli import main
from firstlight.errors import NoteWarning

QUICK = ["--model", "mlp", "--hidden", "32", "--epochs", "3", "--batch-size", "32"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_folder(digit_run, here) -> Path:
    return Path(shutil.copytree(digit_run.folder, here / "run"))


def answer(capsys, *words: str):
    assert main(list(words)) == 0
    return json.loads(capsys.readouterr().out)


def complaint(capsys, *words: str) -> str:
    assert main(list(words)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("firstlight: ")
    assert shown.err.count("\n") == 1
    return shown.err


def test_train_answers_in_json_and_leaves_a_complete_run(rendered, here, capsys, digit_folder):
    found = answer(capsys, "train", str(digit_folder), *QUICK, "--json")
    run = Path(found["run"])
    assert run == Path("runs/digit-folder-1")
    assert {"curves.png", "confusion.png", "mistakes.png", "view_classify.png"} <= {p.name for p in run.iterdir()}
    assert found["report"] == str(run / "report.html") and Path(found["report"]).is_file()
    assert sum(found["n"].values()) == 120
    assert found["test"]["accuracy"]["n"] == found["n"]["test"]
    assert main(["train", str(digit_folder), *QUICK, "--epochs", "1"]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert Path("runs/digit-folder-2/model.safetensors").is_file()


def with_backbone(backbone, source, *others: str):
    words = ["train", str(source), "--model", backbone.name, "--weights", str(backbone.file), "--img-size", "32"]
    return [*words, *others]


def test_train_on_a_backbone_answers_in_json_and_its_image_is_predicted(here, capsys, digit_folder, backbone):
    found = answer(capsys, *with_backbone(backbone, digit_folder, "--learning-curve", "--json"))
    assert found["backbone"] == backbone.name
    assert found["weights"]["source"] == backbone.file.name
    assert [rung["rung"] for rung in found["ladder"]] == ["majority class", "nearest neighbors", "linear head"]
    assert found["strategy"] == "linear head"
    assert len(found["learning_curve"]["points"]) == 5
    assert found["test"]["accuracy"]["value"] > 0.5
    run = Path(found["run"])
    assert {"ladder.png", "learning_curve.png", "held_out.png"} <= {path.name for path in run.iterdir()}
    (row,) = answer(capsys, "predict", found["model"], str(run / "held_out.png"), "--json")
    assert row["label"] in found["classes"]
    scored = answer(capsys, "evaluate", found["model"], str(digit_folder), "--json")
    assert scored["accuracy"] == found["test"]["accuracy"]


def test_train_on_a_backbone_tells_the_ladder(here, capsys, digit_folder, backbone):
    assert main(with_backbone(backbone, digit_folder, "--finetune", "head", "--epochs", "1")) == 0
    out = capsys.readouterr().out
    for words in ("test accuracy", "built on timm:test_resnet, weights tiny.safetensors, license unknown", "<- kept"):
        assert words in out
    ladder = out.partition("built on")[2].splitlines()
    assert [line.split("  ")[1] for line in ladder if line.startswith("  ")][:5] == [
        "step", "majority class", "nearest neighbors", "linear head", "head fine-tuned",
    ]  # fmt: skip


def test_an_interrupted_ladder_keeps_the_head_and_says_so_in_its_exit_code(
    here, capsys, digit_folder, backbone, monkeypatch
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("firstlight.training.transfer.ladder.draw_curve", interrupt)
    assert main(with_backbone(backbone, digit_folder, "--ladder", "--out", "run", "--json")) == 130
    found = json.loads(capsys.readouterr().out)
    assert found["test"] is None
    assert (found["strategy"], found["case"], found["learning_curve"]) == ("linear head", None, None)
    assert main(with_backbone(backbone, digit_folder, "--ladder")) == 130
    assert "interrupted: the best model so far is kept" in capsys.readouterr().out

    monkeypatch.setattr("firstlight.training.transfer.ladder.extract_features", interrupt)
    assert main(with_backbone(backbone, digit_folder, "--out", "other")) == 130
    assert not Path("other").exists()


def test_weights_that_cannot_serve_are_one_line_and_nothing_is_made(here, capsys, backbone):
    other = ["--model", "timm:test_vit"]
    words = complaint(capsys, *with_backbone(backbone, "digits", *other))
    assert "it holds another network's weights than timm:test_vit's" in words
    words = complaint(capsys, *with_backbone(backbone, "digits", "--weights-license", "permissive"))
    assert "tiny.safetensors does not state its license" in words
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:test_vit"])
def test_without_a_network_one_line_names_the_file_to_bring(name, here, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(here / "torch"))
    words = complaint(capsys, "train", "digits", "--model", name)
    assert "are not on this machine and cannot be downloaded" in words
    assert "download https://" in words
    assert "--weights" in words
    assert not (here / "runs").exists()


def test_a_recipe_file_sets_what_flags_then_change(here, capsys, digit_folder):
    Path("mine.toml").write_text(f'source = "{digit_folder}"\nmodel = "mlp"\nhidden = [16]\nepochs = 9\n')
    found = answer(capsys, "train", "--recipe", "mine.toml", "--epochs", "2", "--out", "out", "--json")
    assert found["epochs"] == 2
    assert found["source"] == str(digit_folder)
    assert tomllib.loads(Path("out/recipe.toml").read_text())["model"]["hidden"] == [16]


def test_evaluate_answers_with_the_promised_keys(run_folder, capsys, digit_folder, digit_run):
    found = answer(capsys, "evaluate", str(run_folder / "model.safetensors"), str(digit_folder), "--json")
    assert {"n", "accuracy", "top5", "log_loss", "macro_f1", "ece", "confusion", "classes"} <= set(found)
    assert found["accuracy"]["value"] == digit_run.test.accuracy.value
    assert found["test_evaluations"] == 2


def test_predict_takes_files_folders_and_standard_input(run_folder, capsys, digit_folder, monkeypatch):
    model, files = str(run_folder / "model.safetensors"), sorted(str(path) for path in digit_folder.rglob("*.png"))
    from_folder = answer(capsys, "predict", model, str(digit_folder), "--json")
    read, write = os.pipe()
    os.write(write, "\n".join(files).encode())
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        from_stdin = answer(capsys, "predict", model, "-", "--json")
    assert from_folder == from_stdin == answer(capsys, "predict", model, *files, "--json")
    doubt = {"unsure", "reason", "set", "strangeness"}
    assert set(from_folder[0]) == {"image", "label", "probability", "top"} | doubt
    assert len(from_folder[0]["top"]) == 5


def test_predict_writes_a_table_that_appears_when_it_is_complete(run_folder, capsys, digit_folder, here):
    second_and_third = ["label_2", "probability_2", "label_3", "probability_3"]
    (here / "bad.png").touch()
    words = ["predict", str(run_folder), str(digit_folder), "bad.png", "--top", "3", "--csv", "t.csv"]
    assert main(words) == 0
    with Path("t.csv").open(newline="") as file:
        *rows, last = csv.DictReader(file)
    doubt = ["unsure", "reason", "set", "strangeness"]
    assert list(last) == ["image", "label", "probability", "error", *doubt, *second_and_third]
    assert len(rows) == 120
    assert last["image"] == "bad.png"
    assert [last[name] for name in ("label", "probability", *doubt, *second_and_third)] == [""] * 10
    for row in rows:
        assert float(row["probability"]) >= float(row["probability_2"]) >= float(row["probability_3"])
        assert len({row["label"], row["label_2"], row["label_3"]}) == 3
    assert "1 of 121 pictures could not be used" in capsys.readouterr().err
    assert not list(here.glob("*.part"))


def test_predict_says_the_same_doubt_in_text_json_and_csv(run_folder, capsys, digit_folder, here):
    words = ["predict", str(run_folder), str(digit_folder), "--accept", "0.5", "--csv", "t.csv"]
    rows = answer(capsys, *words, "--json")
    with Path("t.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert main(words) == 0
    captured = capsys.readouterr()
    text = [line for line in captured.out.splitlines() if not line.startswith(" ")]
    assert {row["unsure"] for row in rows} == {True, False}
    for row, cells, line in zip(rows, table, text, strict=True):
        assert row["unsure"] == (row["probability"] < 0.5 or row["reason"] == "unlike anything in training")
        assert cells["unsure"] == str(row["unsure"]).lower()
        assert cells["reason"] == (row["reason"] or "")
        assert cells["set"] == "; ".join(row["set"])
        assert float(cells["strangeness"]) == row["strangeness"]
        assert (f"unsure: {row['reason']}" in line) == row["unsure"]
    assert "cannot tell" not in captured.err
    by_class = answer(capsys, *words[:3], "--sets", "by-class", "--json")
    assert [row["label"] for row in by_class] == [row["label"] for row in rows]


def test_predict_says_once_that_a_model_without_a_trust_block_cannot_tell(capsys, digit_folder):
    model = str(Path(__file__).parents[1] / "before" / "without_trust.safetensors")
    assert main(["predict", model, str(digit_folder)]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("cannot tell when it is unsure") == 1
    assert "train again" in captured.err
    assert "unsure" not in captured.out
    rows = answer(capsys, "predict", model, str(digit_folder), "--json", "--quiet")
    assert {(row["unsure"], row["reason"], row["set"], row["strangeness"]) for row in rows} == {(None,) * 4}
    assert main(["predict", model, str(digit_folder), "--accept", "0.9"]) == 2
    assert "--accept 0.9: this model cannot tell" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_predict_takes_an_archive_whatever_its_folders(kind, run_folder, capsys, digit_folder, here):
    archive = Path(shutil.make_archive("pictures", kind, digit_folder))
    found = answer(capsys, "predict", str(run_folder), archive.name, "--json")
    in_folder = answer(capsys, "predict", str(run_folder), str(digit_folder), "--json")
    assert [row["image"] for row in found] == [
        row["image"].replace(str(digit_folder), archive.name) for row in in_folder
    ]
    assert [row["top"] for row in found] == [row["top"] for row in in_folder]
    (here / "flat").mkdir()
    shutil.copy(in_folder[0]["image"], here / "flat" / "a.png")
    flat = Path(shutil.make_archive("flat", kind, here / "flat")).name
    broken = f"broken.{flat.partition('.')[2]}"
    Path(broken).write_bytes(b"no archive")
    first, second = answer(capsys, "predict", str(run_folder), flat, broken, "--json")
    assert (first["image"], first["label"]) == (f"{flat}/a.png", found[0]["label"])
    assert second["image"] == broken
    assert "cannot be read as" in second["error"]


def test_evaluate_writes_the_answer_for_each_picture_and_draws_the_mistakes(run_folder, capsys, digit_folder, here):
    words = [
        "evaluate",
        str(run_folder),
        str(digit_folder),
        "--split",
        "all",
        "--csv",
        "answers.csv",
        "--out",
        "figures",
    ]
    found = answer(capsys, *words, "--json")
    with Path("answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "label", "predicted", "probability", "correct", "probability_of_label"]
    assert len(rows) == found["n"] == 120
    assert {row["label"] for row in rows} == {Path(row["image"]).parent.name for row in rows}
    right = [row["correct"] == "true" for row in rows]
    assert right == [row["label"] == row["predicted"] for row in rows]
    assert sum(right) / 120 == pytest.approx(found["accuracy"]["value"])
    assert all((row["probability"] == row["probability_of_label"]) == ok for row, ok in zip(rows, right, strict=True))
    assert {path.name for path in Path("figures").iterdir()} == {"confusion.png", "mistakes.png"}
    assert main(words) == 2
    assert "--out figures: the folder is not empty" in capsys.readouterr().err
    assert main([*words[:-1], "more"]) == 0
    shown = capsys.readouterr().out
    assert "most often mistaken for" in shown
    assert "wrote answers.csv\nwrote more\n" in shown


def test_quiet_leaves_the_answer_alone(here, capsys, digit_folder):
    assert main(["train", str(digit_folder), *QUICK, "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert "test accuracy" in quiet.out
    assert main(["train", str(digit_folder), *QUICK]) == 0
    assert "training mlp at 8 x 8 pixels, 10 classes: " in capsys.readouterr().err
    assert main(["predict", "gone", "x.png", "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("firstlight: gone")


def test_check_answers_with_the_promised_keys_and_names_what_it_finds(here, capsys, digit_folder):
    folder = Path(shutil.copytree(digit_folder, here / "set"))
    victim = sorted((folder / "2").iterdir())[0]
    shutil.copy(victim, folder / "2" / "twin.png")
    (folder / "6" / "broken.png").write_bytes(victim.read_bytes()[:40])
    Image.fromarray(np.asarray(Image.open(victim)).astype(np.uint16) * 257).save(folder / "2" / "deep.png")
    found = answer(capsys, "check", str(folder), "--json")
    promised = {"n", "classes", "sizes", "modes", "quarantined", "duplicates", "near_duplicates", "leaks"}
    assert promised <= set(found)
    assert found["n"] == 123
    assert found["classes"]["2"] == 14
    assert [row["image"] for row in found["quarantined"]] == ["6/broken.png"]
    assert found["duplicates"] == [sorted([f"2/{victim.name}", "2/twin.png"])], "not the one of other values"
    assert found["modes"]["I;16"] == 1
    assert main(["check", str(folder)]) == 0
    assert "1 picture cannot be used" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "digit"], "did you mean digits"),
        (["train", "digits", "--model", "resnet"], "--model resnet: there is no such network"),
        (["train", "digits", "--epochs", "0"], "--epochs 0: choose a number from 1 to 100000"),
        (["train", "digits", "--model", "cnn", "--split", "half"], "three numbers"),
        (["train", "digits", "--device", "tpu"], "no such device"),
        (["train", "--recipe", "gone.toml"], "gone.toml: cannot be read"),
        (["predict", "gone.safetensors", "x.png"], "gone.safetensors"),
        (["evaluate", "gone.safetensors", "digits"], "gone.safetensors"),
        (["check", "nowhere"], "nowhere: no such"),
        (["--versoin"], "there is no option --versoin; did you mean --version?"),
        (["--quiet", "train"], "--quiet: name a command first: check, train"),
        ([], "name a command: check, train, tune, evaluate, "),
        (["train", "digits", "--nope"], "train has no option --nope; see `firstlight train --help`"),
        (["train", "digits", "--epochs", "x"], "--epochs x: give a whole number"),
        (["train", "digits", "--epochs"], "--epochs needs a value: --epochs N"),
        (["train", "digits", "--dtype", "x"], "--dtype"),
        (
            ["train", "digits", "--model", "cnn", "--finetune", "all"],
            "--finetune all: this needs a pretrained network, and cnn is trained from scratch; choose one with --model",
        ),
        (["train", "digits", "--model", "cnn", "--ladder"], "--ladder: this needs a pretrained network"),
        (["train", "digits", "--model", "huge"], "--model huge: there is no such network"),
        (["train", "digits", "--model", "timm:resnet81"], "did you mean timm:resnet"),
        (["train", "digits", "--model", "auto", "--weights", "gone.pth"], "gone.pth"),
        (["train", "digits", "--model", "auto", "--finetune", "some"], "--finetune"),
        (["predict", "gone.safetensors"], "predict needs PATHS: firstlight predict runs"),
        (["evaluate", "m"], "evaluate needs SOURCE: firstlight evaluate runs/photos-1"),
    ],
)
def test_a_mistake_gets_one_line_and_nothing_is_made(here, capsys, words, expected):
    assert expected in complaint(capsys, *words)
    assert list(here.iterdir()) == []


def test_a_file_name_cannot_steer_the_terminal(run_folder, capsys, here):
    evil = here / "evil\x1b[2J\n.png"
    evil.touch()
    assert main(["predict", str(run_folder / "model.safetensors"), str(evil)]) == 2, "nothing could be predicted"
    assert "\x1b" not in capsys.readouterr().out


def test_an_interrupted_training_keeps_the_best_and_says_so_in_its_exit_code(tmp_path, digit_folder):
    """Both processes at once: most of the time they wait for the disk and for imports."""
    # whoever runs these tests in the background has Ctrl-C ignored, and children inherit that
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    hears = f"{listen}; from firstlight.__main__ import main; main()"
    codes, processes = {signal.SIGINT: 130, signal.SIGTERM: 143}, {}
    for sent in codes:
        words = ["train", str(digit_folder), "--model", "mlp", "--epochs", "100000", "--json"]
        command = [sys.executable, "-c", hears, *words, "--out", str(tmp_path / sent.name)]
        processes[sent] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for sent, process in processes.items():
        with process:
            while not (tmp_path / sent.name / "model.safetensors").exists() and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(sent)
            out, err = process.communicate(timeout=300)
        assert process.returncode == codes[sent], err
        assert (
            err.splitlines()[-1]
            == f"firstlight: interrupted; go on with firstlight train --resume {tmp_path / sent.name}"
        )
        found = json.loads(out)
        assert found["test"] is None
        assert found["valid"]["accuracy"]["n"] == found["n"]["valid"]
        assert main(["evaluate", found["model"], str(digit_folder), "--split", "valid", "--json"]) == 0


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "firstlight 0.1.0\n"


@pytest.mark.parametrize("target", ["", ".", "/dev/null"])
def test_a_table_goes_to_a_file_and_nowhere_else(run_folder, capsys, digit_folder, target):
    assert main(["predict", str(run_folder / "model.safetensors"), str(digit_folder / "3"), "--csv", target]) == 2
    shown = capsys.readouterr()
    assert "it is not a file" in shown.err
    assert shown.out == ""


def test_a_pipe_is_no_image(run_folder, capsys, here):
    os.mkfifo(here / "pipe.jpg")
    assert main(["predict", str(run_folder / "model.safetensors"), str(here / "pipe.jpg")]) == 2
    assert "is not a regular file" in capsys.readouterr().out


def launched_as(rank, monkeypatch):
    """Let this process be one of two that torchrun has started."""
    launched = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}
    for name, value in (launched | {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_remark_of_the_library_is_a_note_of_one_line_from_one_of_several_processes(rank, capsys, monkeypatch):
    def remark(_):
        warnings.warn("no font has them", NoteWarning, stacklevel=1)
        return 0

    launched_as(rank, monkeypatch)
    monkeypatch.setattr("firstlight.cli.entry.run", remark)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["check"]) == 0
    assert capsys.readouterr().err == ("note: no font has them\n" if rank == "0" else "")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_commands_that_do_not_train_refuse_to_run_in_several_processes(rank, capsys, monkeypatch):
    launched_as(rank, monkeypatch)
    assert main(["check", "digits"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ("" if rank == "1" else said.err)
    assert ("torchrun has started 2" in said.err) == (rank == "0")
