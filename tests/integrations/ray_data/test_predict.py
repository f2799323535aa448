"""Everything but Ray itself: blocks are worked on in this process."""

import copy
import os
from pathlib import Path

import pyarrow.dataset
import pytest
import torch

import firstlight as fl
from firstlight.errors import DataError, RecipeError, UserError
from firstlight.inference.inputs import items_in
from firstlight.inference.predictor import Predictor
from firstlight.integrations.ray_data import predict as module
from firstlight.integrations.ray_data.folder import HIDDEN
from firstlight.integrations.ray_data.listing import Block
from firstlight.integrations.ray_data.parts import COLUMNS
from firstlight.integrations.ray_data.predict import predict_to_parquet
from firstlight.integrations.ray_data.work import Outcome, Worker
from firstlight.models.model_file import load_model, save_model


class Here:
    """Works on blocks in this process, and is killed before block number `dies_before`."""

    def __init__(self):
        self.finished, self.dies_before = [], None

    def __call__(self, job, todo, *, workers, processors, address):
        worker = Worker(job)
        for line in todo.read_text().splitlines():
            block = Block.from_json(line)
            if block.number == self.dies_before:
                raise KeyboardInterrupt
            self.finished.append(block.number)
            yield worker.finish(block)


@pytest.fixture
def here(monkeypatch) -> Here:
    working = Here()
    monkeypatch.setattr(module, "outcomes", working)
    return working


@pytest.fixture(scope="module")
def model(digit_run):
    return load_model(digit_run.folder / "model.safetensors")


@pytest.fixture
def pictures(digit_folder, tmp_path) -> Path:
    """Three blocks of pictures, two of which cannot be used."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    files = sorted(digit_folder.rglob("*.png"))
    for row in range(150):
        (folder / f"{row:03d}.png").symlink_to(files[row % len(files)])
    for row in (3, 100):
        (folder / f"{row:03d}.png").unlink()
        (folder / f"{row:03d}.png").write_bytes(b"nothing")
    (folder / "001.png").unlink()
    (folder / "001.png").write_bytes(files[1].read_bytes())
    return folder


def changed(model):
    """Return a copy of a model with another weight."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(other.parameters()).add_(0.5)
    return other


def listed(folder: Path) -> list[str]:
    return [str(file) for file in sorted(folder.iterdir())]


def rows_of(out: Path) -> list[dict]:
    return pyarrow.dataset.dataset(out, format="parquet").to_table().to_pylist()


def test_the_answers_are_those_of_a_predictor_in_the_order_of_the_list(here, model, pictures, tmp_path):
    names = listed(pictures)
    written = predict_to_parquet(model, items_in(names), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    expected = list(Predictor(model).predict_files(names))
    assert tuple(rows[0]) == COLUMNS
    assert [row["image"] for row in rows] == names
    for row, one in zip(rows, expected, strict=True):
        assert (row["label"], row["probability"], row["error"]) == (one.label, one.probability, one.error)
        assert (row["set"], row["unsure"]) == (None if one.set is None else list(one.set), one.unsure)
        assert row["model_sha256"] == written.model_sha256
    assert (written.images, written.errors, written.found) == (150, 2, 0)
    assert len(written.to_pandas()) == 150


def test_after_a_kill_only_what_is_missing_is_done_and_every_row_is_there_once(here, model, pictures, tmp_path):
    names, out = listed(pictures), tmp_path / "out"
    here.dies_before = 2
    with pytest.raises(KeyboardInterrupt) as stop:
        predict_to_parquet(model, items_in(names), out)
    assert "the same command continues" in stop.value.__notes__[0]
    here.dies_before, here.finished = None, []
    written = predict_to_parquet(model, items_in(names), out)
    assert here.finished == [2]
    assert (written.found, written.errors) == (128, 2)
    assert [row["image"] for row in rows_of(out)] == names
    again = predict_to_parquet(model, items_in(names), out)
    assert (again.found, again.errors, here.finished) == (150, 2, [2])


def test_a_finished_folder_holds_parquet_files_only(here, model, pictures, tmp_path):
    predict_to_parquet(model, items_in(listed(pictures)), tmp_path / "out")
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {".parquet"}


@pytest.mark.parametrize("finished", [False, True])
def test_other_pictures_or_choices_or_models_are_refused_in_one_line(here, model, pictures, tmp_path, finished):
    names, out = listed(pictures), tmp_path / "out"
    here.dies_before = None if finished else 2
    try:
        predict_to_parquet(model, items_in(names), out)
    except KeyboardInterrupt:
        assert not finished
    before = sorted(out.iterdir())
    with pytest.raises(DataError, match="another list of pictures, 150 instead of 149"):
        predict_to_parquet(model, items_in(names[1:]), out)
    with pytest.raises(DataError, match="150 other pictures, or another order"):
        predict_to_parquet(model, items_in(reversed(names)), out)
    with pytest.raises(DataError, match="begun with `max_pixels` None, not 99"):
        predict_to_parquet(model, items_in(names), out, max_pixels=99)
    save_model(tmp_path / "other.safetensors", changed(model))
    other = load_model(tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="another model"):
        predict_to_parquet(other, items_in(names), out)
    assert sorted(out.iterdir()) == before


def test_a_folder_with_something_else_and_a_file_are_refused_and_left_alone(here, model, pictures, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="it is a file"):
        predict_to_parquet(model, items_in([str(pictures)]), tmp_path / "file")
    with pytest.raises(DataError, match="holds something else"):
        predict_to_parquet(model, items_in([str(pictures)]), pictures)
    with pytest.raises(DataError, match="no pictures"):
        predict_to_parquet(model, items_in([]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (pictures / HIDDEN).exists()


def test_two_at_once_are_not_let_into_one_folder(here, model, pictures, tmp_path, monkeypatch):
    def both(*_, **__):
        with pytest.raises(DataError, match="another process is writing"):
            predict_to_parquet(model, items_in([str(pictures)]), tmp_path / "out")
        return iter([])

    monkeypatch.setattr(module, "outcomes", both)
    predict_to_parquet(model, items_in([str(pictures)]), tmp_path / "out")


def test_what_a_worker_cannot_do_ends_the_run_in_one_line_and_keeps_the_rest(
    here, model, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "outcomes", lambda *_, **__: iter([Outcome(64), Outcome(failure="the disk is full")]))
    with pytest.raises(UserError, match="the disk is full; what is finished is kept"):
        predict_to_parquet(model, items_in(listed(pictures)), tmp_path / "out")


def test_lists_and_names_that_are_no_unicode(here, model, digit_folder, tmp_path):
    file = os.fsdecode(b"\xff.png")
    Path(tmp_path, file).write_bytes(next(digit_folder.rglob("*.png")).read_bytes())
    (tmp_path / "list.csv").write_bytes(b"image,other\n\xff.png,1\ngone.png,2\n")
    written = predict_to_parquet(model, items_in([str(tmp_path / "list.csv")]), tmp_path / "out")
    found, gone = rows_of(tmp_path / "out")
    assert found["image"] == f"{tmp_path}/\\xff.png"
    assert found["error"] is None
    assert "No such file" in gone["error"]
    assert (written.images, written.errors) == (2, 1)


def test_the_same_in_python(here, digit_run, pictures, tmp_path):
    written = fl.predict(digit_run.folder, pictures, engine="ray", out=tmp_path / "out")
    assert written.images == 3  # links inside a folder are not followed
    assert written.to_json()["errors"] == 2
    with pytest.raises(RecipeError, match="say where with `out`"):
        fl.predict(digit_run.folder, pictures, engine="ray")
    with pytest.raises(RecipeError, match="only the engine ray"):
        fl.predict(digit_run.folder, pictures, out=tmp_path / "out")
    with pytest.raises(RecipeError, match="one answer"):
        fl.predict(digit_run.folder, pictures, engine="ray", out=tmp_path / "out", top=2)


def test_a_model_without_a_file_and_a_missing_extra_are_told_in_one_line(here, model, pictures, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="save it first"):
        predict_to_parquet(
            fl.Classifier(architecture={"name": "mlp"}, classes=("a", "b"), input_size=(1, 8, 8)),
            items_in([str(pictures)]),
            tmp_path / "out",
        )
    monkeypatch.setattr("firstlight.integrations.ray_data.session.find_spec", lambda _: None)
    with pytest.raises(RecipeError, match=r"pip install 'firstlight\[scale\]'"):
        predict_to_parquet(model, items_in([str(pictures)]), tmp_path / "out")
