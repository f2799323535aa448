"""A disk that becomes full at any write of a run: one line, nothing half-written, and the run can go on."""

import errno
import os
import shutil
from types import SimpleNamespace

import pytest

from firstlight import files
from firstlight.data.sources import load_data
from firstlight.data.store import pack
from firstlight.errors import RunError, UserError
from firstlight.runs.kept_on_failure import telling_what_is_kept
from firstlight.training import train as training
from firstlight.training.begin import resuming
from firstlight.training.recipe import Recipe
from firstlight.training.train import train, train_in

RECIPE = Recipe.of(model="mlp", hidden=(8,), epochs=2, batch_size=64)


@pytest.fixture(scope="module")
def samples(digits):
    return load_data((digits[0][:300], digits[1][:300]))


@pytest.fixture
def full_from(monkeypatch):
    """Return a function that makes the disk full from the n-th file on that is made durable; None for never."""
    whole = os.fsync

    def full(count):
        made = iter(range(10**6))

        def fsync(descriptor):
            if count is not None and next(made) >= count:
                raise OSError(errno.ENOSPC, "No space left on device")
            whole(descriptor)

        monkeypatch.setattr(files.os, "fsync", fsync)

    return full


@pytest.mark.parametrize(
    "count", [0, 14, pytest.param(4, marks=pytest.mark.slow), pytest.param(24, marks=pytest.mark.slow)]
)
def test_a_run_whose_disk_is_full_says_what_is_kept_and_goes_on_to_the_same_bits(samples, tmp_path, full_from, count):
    whole = train(samples, RECIPE, tmp_path / "whole").folder / "model.safetensors"
    folder = tmp_path / "run"
    full_from(count)
    with pytest.raises(RunError, match=r"cannot be written: the disk is full; free some room") as caught:
        train(samples, RECIPE, folder, save_every=1e-6)
    full_from(None)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.part"))
    if not count:
        assert "nothing was saved" in str(caught.value) and not folder.exists()
        return
    assert f"firstlight train `resume` {folder}" in str(caught.value)
    assert ("the best model so far is in" in str(caught.value)) == (folder / "model.safetensors").is_file()
    with resuming(folder, samples) as run:
        train_in(run)
    assert (folder / "model.safetensors").read_bytes() == whole.read_bytes()


def test_a_run_folder_that_is_removed_in_the_middle_is_one_line(samples, tmp_path, monkeypatch):
    whole = training.outputs_on

    def removing(*arguments):
        shutil.rmtree(tmp_path / "run")
        return whole(*arguments)

    monkeypatch.setattr(training, "outputs_on", removing)
    with pytest.raises(
        RunError, match=r"the folder .*run does not exist; create it, and start again; nothing was saved$"
    ):
        train(samples, RECIPE, tmp_path / "run")


def test_a_file_elsewhere_that_cannot_be_read_is_not_said_to_be_written(tmp_path):
    with pytest.raises(PermissionError), telling_what_is_kept(tmp_path / "run", is_new=True):
        raise PermissionError(13, "Permission denied", str(tmp_path / "a.jpg"))


def test_a_run_that_has_no_room_is_not_begun(samples, tmp_path, monkeypatch):
    pack(samples)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=5000))
    with pytest.raises(UserError, match=r"this run needs \d+ kB in .*, but only 5.0 kB are free; .*`out`"):
        train(samples, RECIPE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_of_those_who_claim_a_folder_at_once_one_gets_it(samples, tmp_path, monkeypatch):
    """Another run begins, and even ends, between the look into the folder and the lock."""
    folder, other = tmp_path / "run", []

    def made(_name, out):
        out.mkdir(exist_ok=True)
        if not other:
            other.append(out)
            train(samples, RECIPE, out, score_test=False)
        return out

    monkeypatch.setattr("firstlight.training.begin.make_run_folder", made)
    monkeypatch.setattr("firstlight.training.begin.require_free", lambda _out: None)
    with pytest.raises(RunError, match="another process has started a run there in the meantime"):
        train(samples, RECIPE, folder)
    assert (folder / "model.safetensors").is_file()
