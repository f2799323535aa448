"""A run that was stopped anywhere, and resumed, ends with the bits that it would have had."""

import fcntl
import json
import os
import shutil
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
import torch

import firstlight as fl
from firstlight.api import train as fl_train
from firstlight.data.sources import load_data
from firstlight.errors import RecipeError, RunError, WriteError
from firstlight.progress import announcements_to
from firstlight.runs.begun import is_begun, is_test_counted, owning
from firstlight.runs.last import read_state, state_file, write_state
from firstlight.training import gradient, learn
from firstlight.training import train as training
from firstlight.training.begin import beginning, resuming, resuming_or_beginning, unfinished
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


LEFT_OUT = ("run", "model", "seconds", "transfer", "sha256")  # paths and seconds, and the digest of these


def bits_of(folder: Path) -> dict[str, object]:
    metrics = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    record = json.loads((folder / "evaluation.json").read_text())
    answers = folder / "outputs" / "train.safetensors"
    return {
        "answers": answers.read_bytes(),
        "model": (folder / "model.safetensors").read_bytes(),
        "metrics": [row[:1] + row[2:] for row in metrics],
        "record": {key: value for key, value in record.items() if key not in LEFT_OUT},
    }


@pytest.fixture(scope="module")
def stopped_once(samples, tmp_path_factory):
    """The folder of a run that died after some steps; not to be changed."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr("firstlight.training.recorder.beaten", died)
        with pytest.raises(KilledError):
            train(samples, Recipe.of(**QUICK), folder)
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(stopped_once, tmp_path / "stopped")


def died(_heartbeat, state, checkpoints, *, epoch_is_over):
    if epoch_is_over:
        checkpoints.finish(state)
        raise KilledError


def interrupted(*_):
    raise KeyboardInterrupt


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


def test_it_goes_on_in_parts_where_memory_has_run_out_and_says_so(samples, kill_at, tmp_path, monkeypatch):
    whole, tried = gradient._in_parts, []

    def greedy(network, batch, loss, parts):
        tried.append(parts)
        if parts < 4:
            raise torch.OutOfMemoryError
        return whole(network, batch, loss, parts)

    monkeypatch.setattr(gradient, "_in_parts", greedy)
    run = train(samples, Recipe.of(**QUICK), tmp_path / "whole")
    assert tried.count(1) == tried.count(2) == 1
    assert "a batch of 64 pictures does not fit" in run.record.notes[-1] and "in 4 parts" in run.record.notes[-1]
    folder = killed_run(kill_at, samples, tmp_path / "killed", QUICK, after=4)
    tried.clear()
    resume(folder, samples)
    assert set(tried) == {4}, "what does not fit is not tried again"
    assert bits_of(folder) == bits_of(tmp_path / "whole")


def test_a_step_that_was_torn_by_a_second_interrupt_is_not_saved(samples, tmp_path, monkeypatch):
    train(samples, Recipe.of(**QUICK), tmp_path / "whole")
    whole = learn.train_epochs

    def torn(state, *others):
        for number, event in enumerate(whole(state, *others), 1):
            yield event
            if number == 9:
                with torch.no_grad():
                    next(state.classifier.parameters()).add_(1)
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(learn, "train_epochs", torn)
        run = train(samples, Recipe.of(**QUICK), tmp_path / "run", save_every=OFTEN)
    assert run.interrupted
    resume(run.folder, samples)
    assert bits_of(run.folder) == bits_of(tmp_path / "whole")


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


@contextmanager
def hold_without_a_name(folder):
    with (folder / "last" / "lock").open("w", buffering=1) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def test_a_run_belongs_to_one_process(samples, kill_at, tmp_path):
    folder = killed_run(kill_at, samples, tmp_path / "run", QUICK, after=4)
    with owning(folder), pytest.raises(RunError, match=f"process {os.getpid()} is training this run"):
        resume(folder, samples)
    with hold_without_a_name(folder) as holder, pytest.raises(RunError, match="process 17 is training this run"):
        threading.Timer(0.05, holder.write, ["17\n"]).start()  # a process that has only just taken it
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
    for folder, words in ((tmp_path, "this is not a run folder"), (tmp_path / "none", "there is no such folder")):
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


def test_a_state_that_has_diverged_does_not_replace_the_one_before(tmp_path):
    class State:
        """A state with one weight."""

        best = "an epoch"

        def __init__(self, weight):
            self.weight = weight

        def state_dict(self):
            return {"weights": {"a": torch.tensor([0.0, self.weight]), "batches": torch.tensor(1)}}

    with Checkpoints(tmp_path, "training") as checkpoints:
        for weight in (1.0, float("nan"), float("inf")):
            checkpoints.finish(State(weight))
    assert read_state(tmp_path, "training")["training"]["weights"]["a"].tolist() == [0, 1]


def test_after_epochs_the_state_is_written_only_as_often_as_that_is_cheap(tmp_path, monkeypatch):
    now, written = [0.0], []

    class State:
        """A state of which only the copy counts."""

        def state_dict(self):
            now[0] += 1.0  # copying takes a second
            return {"weights": {}}

    monkeypatch.setattr("firstlight.training.checkpoints.write_state", lambda *_: written.append(now[0]))
    with Checkpoints(tmp_path, "training", save_every=10, clock=lambda: now[0]) as checkpoints:
        for _ in range(200):
            now[0] += 4.0
            if checkpoints.is_due(epoch_is_over=True):
                checkpoints.save(State())
            if checkpoints._writing:
                checkpoints._writing.result()
    assert written[0] == 5.0, "the first one costs nothing that is known"
    assert len(written) / now[0] <= 0.021, "then at most two seconds in a hundred"


def test_a_finished_run_is_not_trained_again_by_auto(samples, tmp_path):
    choices = dict(QUICK)
    done = fl_train(samples, out=tmp_path / "run", resume="auto", **choices)
    again = fl_train(samples, out=tmp_path / "run", resume="auto", **choices)
    assert (again.folder, again.record) == (done.folder, done.record)
    with pytest.raises(RunError, match="not empty"):
        fl_train(samples, out=tmp_path / "run", resume="auto", **choices | {"seed": 5})
    with pytest.raises(RunError, match="not empty"):
        fl_train(samples, out=tmp_path / "run", **choices)


def test_of_several_unfinished_runs_the_furthest_is_resumed_whatever_the_clock_says(
    samples, kill_at, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.of(**QUICK)
    for after in (4, 12, 9):
        killed_run(kill_at, samples, None, QUICK, after)
    folders = sorted(Path("runs").iterdir())
    os.utime(folders[0] / "last" / "recipe.toml", (2e9, 2e9))
    assert unfinished(recipe, samples.source)[0] == folders[1]
    with owning(folders[1]), resuming_or_beginning(samples, recipe) as other:
        assert other.folder in (folders[0], folders[2]), "nobody else's run is taken"
        with resuming_or_beginning(samples, recipe) as third, resuming_or_beginning(samples, recipe) as fourth:
            assert {other.folder, third.folder} == {folders[0], folders[2]}
            assert fourth.folder not in folders, "all others are taken"
    taken = resuming_or_beginning(samples, recipe, folders[1])
    with owning(folders[1]), pytest.raises(RunError, match="is training this run"), taken:
        pass


@pytest.mark.parametrize("name", ["PyTorch", "device", "processor", "firstlight"])
def test_each_difference_is_named(name, samples, stopped):
    file = stopped / "last" / "begun.json"
    begun = json.loads(file.read_text())
    begun["surroundings"][name] = "another"
    file.write_text(json.dumps(begun))
    with pytest.raises(RunError, match=f"because {name} was another and is [^;]+; set `resume_inexact`"):
        resume(stopped, samples)


def test_other_labels_and_other_weights_are_named(samples, digits, stopped):
    labels = (digits[1][:500] + 1) % 10
    with pytest.raises(RunError, match="its labels or its split have changed"):
        resume(stopped, load_data((digits[0][:500], labels)))
    file = stopped / "last" / "begun.json"
    file.write_text(file.read_text().replace('"weights": null', '"weights": "abc"'))
    with pytest.raises(RunError, match="its pretrained weights have changed"):
        resume(stopped, samples)


def test_a_run_that_had_not_begun_or_had_ended_leaves_nothing_to_resume(samples, stopped, tmp_path):
    (stopped / "last" / "begun.json").unlink()  # as when it was killed while `last/` was being removed
    with pytest.raises(RunError, match="this run is finished"):
        resume(stopped, samples)
    assert not (stopped / "last").exists()
    place = tmp_path / "new" / "last"
    place.mkdir(parents=True)
    (place / "lock").write_text("999999999")
    with beginning(samples, Recipe.of(**QUICK), place.parent) as run:
        assert run.folder == place.parent


@pytest.mark.parametrize("stop", ["save", "write_kept"])
def test_a_look_at_the_test_split_counts_once_wherever_it_is_stopped(stop, samples, monkeypatch, stopped):
    whole = getattr(training, stop)

    def dying(*arguments):
        result = whole(*arguments)
        if stop == "save" and arguments[0].test is None:
            return result
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(training, stop, dying)
        with pytest.raises(KilledError):
            resume(stopped, samples)
    said = []
    with announcements_to(said.append):
        run = resume(stopped, samples)
    assert run.test is not None and run.record.test_evaluations == 1
    assert any("it is scored again, and counted once" in line for line in said)


def test_an_interrupt_after_scoring_leaves_a_run_to_resume(samples, stopped, monkeypatch):
    for name in ("draw_run", "write_run_report"):  # slow, and not what this is about
        monkeypatch.setattr(import_module("firstlight.api.train"), name, lambda folder: (folder / "drawn").touch())
    with monkeypatch.context() as patched:
        patched.setattr(training, "write_kept", interrupted)
        run = fl.train(samples, resume=stopped)
    assert run.interrupted and run.test is not None and is_begun(stopped) and not (stopped / "drawn").exists()
    assert fl.train(samples, resume=stopped).record.test_evaluations == 1
    assert (stopped / "drawn").exists() and not (stopped / "last").exists()


def test_a_state_that_is_stopped_anywhere_leaves_the_one_before_or_the_new_one(tmp_path, monkeypatch):
    count, dies_at = 0, None

    def dying(function):
        def call(*arguments, **more):
            nonlocal count
            count += 1
            if count == dies_at:
                raise KilledError
            return function(*arguments, **more)

        return call

    for place, name in (("os", "fsync"), ("os", "replace"), ("safetensors.torch", "save_file")):
        module = sys.modules[place]
        monkeypatch.setattr(module, name, dying(getattr(module, name)))
    write_state(tmp_path, "training", {"number": 0})
    steps, found = count, set()
    for number in range(1, steps + 1):
        count, dies_at = 0, number
        with pytest.raises(KilledError):
            write_state(tmp_path, "training", {"number": number})
        kept = read_state(tmp_path, "training")["number"]
        assert kept in (0, number)
        found.add(kept == number)
        dies_at = None
        write_state(tmp_path, "training", {"number": 0})
    assert steps >= 4 and found == {True, False}


def test_a_folder_of_the_user_that_is_called_last_stays(samples, tmp_path):
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="not empty"):
        train(samples, Recipe.of(**QUICK), tmp_path)
    with pytest.raises(RunError, match="this is not a run folder"):
        resume(tmp_path, samples)
    assert [path.name for path in (tmp_path / "last").iterdir()] == ["thesis.txt"]


def test_a_run_that_was_resumed_and_interrupted_at_once_keeps_its_folder(samples, kill_at, tmp_path):
    folder = killed_run(kill_at, samples, tmp_path / "run", QUICK, after=1)
    state_file(folder, "training").unlink()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt) as stop, resuming(folder, samples):
        raise KeyboardInterrupt
    assert stop.value.__notes__ == [f"there is no model yet; begin again with firstlight train `resume` {folder}"]
    assert (folder / "notes.txt").is_file() and is_begun(folder)


@pytest.mark.parametrize("damaged", ["", "[[[", "seed = 1", None])
def test_a_recipe_that_was_damaged_is_one_line_and_stops_no_other_run(damaged, samples, stopped):
    file = stopped / "last" / "recipe.toml"
    file.unlink() if damaged is None else file.write_text(damaged)
    with pytest.raises(RunError, match=r"last/recipe.toml: it is damaged, so the run cannot be resumed"):
        fl.train(resume=stopped)
    with pytest.raises(RunError, match="it is damaged"), resuming(stopped, samples):
        pass
    assert unfinished(Recipe.of(**QUICK), samples.source, stopped) == []


def test_a_note_of_the_look_at_the_test_split_that_was_damaged_counts_it_again(stopped):
    (stopped / "last" / "test.json").write_text("{")
    assert not is_test_counted(stopped, 1)
    assert is_test_counted(stopped, 2)
