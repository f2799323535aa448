"""A run that was stopped anywhere, and resumed, ends with the bits that it would have had."""

import json
import os
from pathlib import Path

import pytest
import torch

import firstlight as fl
from firstlight.data.sources import load_data
from firstlight.errors import RecipeError, RunError, WriteError
from firstlight.runs.begun import owning
from firstlight.runs.last import read_state, state_file, write_state
from firstlight.training import learn
from firstlight.training import train as training
from firstlight.training.begin import resuming, unfinished
from firstlight.training.checkpoints import Checkpoints
from firstlight.training.recipe import Recipe
from firstlight.training.state import TrainState
from firstlight.training.train import train, train_in

OFTEN = 1e-6  # minutes
QUICK = {"model": "mlp", "hidden": (16,), "epochs": 3, "batch_size": 64}
VARIANTS = {
    "mlp": QUICK,
    "average and mixup": QUICK | {"ema": 0.9, "mixup": 0.2, "optimizer": "sgd"},
    "muon and sampling": QUICK | {"optimizer": "muon", "balance": "sampling", "patience": 1, "epochs": 9},
}


class KilledError(BaseException):
    """Stands for the death of the process."""


@pytest.fixture(scope="module")
def samples(digits):
    return load_data((digits[0][:500], digits[1][:500]))


@pytest.fixture
def kill_at(monkeypatch):
    """Return a function that makes training die after so many steps and epochs."""
    whole = learn.train_epochs

    def kill(count: int | None) -> None:
        def killed(*arguments):
            for number, event in enumerate(whole(*arguments), 1):
                yield event
                if number == count:
                    raise KilledError

        monkeypatch.setattr(learn, "train_epochs", killed)

    return kill


def resume(folder, samples, *, inexact=False, save_every=5.0):
    with resuming(folder, samples, inexact=inexact) as run:
        return train_in(run, save_every=save_every)


def bits_of(folder: Path) -> dict[str, object]:
    metrics = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    record = json.loads((folder / "evaluation.json").read_text())
    answers = folder / "outputs" / "train.safetensors"
    return {
        "answers": answers.read_bytes(),
        "model": (folder / "model.safetensors").read_bytes(),
        "metrics": [row[:1] + row[2:] for row in metrics],
        "record": {key: value for key, value in record.items() if key not in ("run", "model", "seconds", "transfer")},
    }


def killed_run(kill_at, samples, folder, recipe, after):
    kill_at(after)
    with pytest.raises(KilledError):
        train(samples, Recipe.of(**recipe), folder, save_every=OFTEN)
    kill_at(None)
    return folder


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_ends_with_the_same_bits(variant, samples, kill_at, tmp_path):
    recipe = VARIANTS[variant]
    train(samples, Recipe.of(**recipe), tmp_path / "whole")
    expected = bits_of(tmp_path / "whole")
    folder = killed_run(kill_at, samples, tmp_path / "killed", recipe, after=4)
    kill_at(5)
    with pytest.raises(KilledError):
        resume(folder, samples, save_every=OFTEN)
    kill_at(None)
    resume(folder, samples)
    assert bits_of(folder) == expected


@pytest.mark.parametrize("part", ["optimizers", "losses", "average", "answers"])
def test_it_would_not_if_a_part_of_the_state_were_forgotten(part, samples, kill_at, tmp_path, monkeypatch):
    recipe = QUICK | {"ema": 0.9}
    train(samples, Recipe.of(**recipe), tmp_path / "whole")
    folder = killed_run(kill_at, samples, tmp_path / "killed", recipe, after=4)
    whole = TrainState.load_state_dict
    monkeypatch.setattr(
        TrainState, "load_state_dict", lambda state, found: whole(state, found | {part: state.state_dict()[part]})
    )
    resume(folder, samples)
    found, expected = bits_of(folder), bits_of(tmp_path / "whole")
    assert found != expected


def test_what_has_changed_is_told_and_asks_for_a_word(samples, digits, kill_at, tmp_path):
    folder = killed_run(kill_at, samples, tmp_path / "run", QUICK, after=4)
    begun = folder / "last" / "begun.json"
    begun.write_text(begun.read_text().replace('"threads": "', '"threads": "7'))
    with pytest.raises(RunError, match=r"threads was 7\d and is \d; set `resume_inexact`"):
        resume(folder, samples)
    others = load_data((255 - digits[0][:500], digits[1][:500]))
    with pytest.raises(RunError, match="its pictures have changed; threads"):
        resume(folder, others)
    assert resume(folder, samples, inexact=True).test is not None


def test_a_run_belongs_to_one_process(samples, kill_at, tmp_path):
    folder = killed_run(kill_at, samples, tmp_path / "run", QUICK, after=4)
    with owning(folder), pytest.raises(RunError, match=f"process {os.getpid()} is training this run"):
        resume(folder, samples)
    (folder / "last" / "lock").write_text("999999999")  # a process that is dead
    assert resume(folder, samples).test is not None


def test_the_test_split_is_counted_once_however_often_scoring_is_stopped(samples, tmp_path, monkeypatch, capsys):
    whole = training.outputs_on

    def dying(split, *arguments):
        if split == "test":
            raise KilledError
        return whole(split, *arguments)

    monkeypatch.setattr(training, "outputs_on", dying)
    with pytest.raises(KilledError):
        train(samples, Recipe.of(**QUICK), tmp_path / "run")
    with pytest.raises(KilledError):
        resume(tmp_path / "run", samples)
    monkeypatch.setattr(training, "outputs_on", whole)
    run = resume(tmp_path / "run", samples)
    assert run.test is not None and run.record.test_evaluations == 1


def test_a_damaged_state_and_a_finished_run_are_told(samples, kill_at, tmp_path):
    folder = killed_run(kill_at, samples, tmp_path / "run", QUICK, after=4)
    file = state_file(folder, "training")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="it is damaged, so the run cannot continue"):
        resume(folder, samples)
    for folder, words in ((tmp_path, "this is no run folder"), (tmp_path / "none", "there is no such folder")):
        with pytest.raises(RunError, match=words):
            resume(folder, samples)


def test_from_python_a_run_is_resumed_by_its_folder_or_found(samples, kill_at, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = killed_run(kill_at, samples, None, QUICK, after=4) or Path("runs/data-1")
    [folder] = Path("runs").iterdir()
    assert unfinished(Recipe.of(**QUICK), samples.source) == [folder]
    assert unfinished(Recipe.of(**QUICK, lr=0.1), samples.source) == []
    with pytest.raises(RecipeError, match="keeps its recipe"):
        fl.train(samples, resume=folder, epochs=5)
    run = fl.train(samples, resume="auto", **QUICK)
    assert run.folder == folder and not (folder / "last").exists() and (folder / "report.html").is_file()
    with pytest.raises(RunError, match="this run is finished"):
        fl.train(samples, resume=folder)
    assert fl.train(samples, resume="auto", **QUICK).folder != folder, "there is none, so it begins one"


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    state = {"numbers": [1, 2.5, None, "text"], "weights": {"a.b": torch.arange(3), "c": torch.zeros(0)}}
    write_state(tmp_path, "training", state)

    def full(*_arguments, **_more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("safetensors.torch.save_file", full)
        with pytest.raises(WriteError, match="the disk is full; free some room"):
            write_state(tmp_path, "training", {"numbers": []})
    found = read_state(tmp_path, "training")
    assert found["numbers"] == state["numbers"] and torch.equal(found["weights"]["a.b"], torch.arange(3))
    assert [file.name for file in (tmp_path / "last").iterdir()] == ["training.safetensors"]


def test_after_epochs_the_state_is_written_only_as_often_as_that_is_cheap(tmp_path, monkeypatch):
    now, written = [0.0], []

    class State:
        """A state of which only the copy counts."""

        def state_dict(self):
            now[0] += 1.0  # copying takes a second
            return {}

    monkeypatch.setattr("firstlight.training.checkpoints.write_state", lambda *_: written.append(now[0]))
    with Checkpoints(tmp_path, "training", save_every=10, clock=lambda: now[0]) as checkpoints:
        for _ in range(200):
            now[0] += 4.0
            checkpoints.offer(State(), epoch_is_over=True)
            if checkpoints._writing:
                checkpoints._writing.result()
    assert written[0] == 5.0, "the first one costs nothing that is known"
    assert len(written) / now[0] <= 0.021, "then at most two seconds in a hundred"
