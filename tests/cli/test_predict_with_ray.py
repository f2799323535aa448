"""The options of `firstlight predict --engine ray`; Ray itself is in tests/integrations."""

import json

import pytest

from firstlight.cli.entry import main
from firstlight.integrations.ray_data import predict as module
from firstlight.integrations.ray_data.listing import Block
from firstlight.integrations.ray_data.work import Worker


@pytest.fixture
def in_this_process(monkeypatch):
    def outcomes(job, todo, **_):
        worker = Worker(job)
        return map(worker.finish, map(Block.from_json, todo.read_text().splitlines()))

    monkeypatch.setattr(module, "outcomes", outcomes)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--engine", "ray"], "--engine ray: the engine ray writes Parquet files; say where with --out"),
        (["--out", "answers"], "--out answers: only the engine ray uses this; add --engine ray"),
        (["--address", "auto"], "--address auto: only the engine ray uses this; add --engine ray"),
        (["--engine", "ray", "--out", "answers", "--csv", "a.csv"], "--csv a.csv: the engine ray writes one answer"),
        (["--engine", "ray", "--out", "answers", "--top", "2"], "--top 2: the engine ray writes one answer"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(capsys, words, reason):
    assert main(["predict", "no-model", "no-picture", *words]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"firstlight: {reason}")
    assert shown.count("\n") == 1


def test_the_command_tells_where_the_answers_are_and_how_many(
    in_this_process, capsys, digit_run, digit_folder, tmp_path
):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    words = ["predict", str(digit_run.folder), str(digit_folder / "3"), str(tmp_path / "broken.png")]
    words += ["--engine", "ray", "--out", str(tmp_path / "answers")]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("classified 13 pictures; read them with pandas.read_parquet\n")
    assert str(tmp_path / "answers") in shown.out
    assert shown.err == "1 of 13 pictures could not be used\n"
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["errors"], said["found"]) == (13, 1, 13)


def test_if_no_picture_can_be_used_the_command_fails(in_this_process, capsys, digit_run, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    words = ["predict", str(digit_run.folder), str(tmp_path / "broken.png")]
    assert main([*words, "--engine", "ray", "--out", str(tmp_path / "answers")]) == 2
    assert "1 of 1 picture could not be used" in capsys.readouterr().err
