"""A search over recipes: what it tries and keeps, what it says of the winner, and how often it looks at the test."""

import csv
import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import optuna
import pytest

import firstlight as fl
from firstlight.errors import RecipeError, TrainingError, UserError
from firstlight.integrations.tuning import search as searching
from firstlight.integrations.tuning import study as studies
from firstlight.integrations.tuning import tune as tuning
from firstlight.integrations.tuning.found import Search
from firstlight.integrations.tuning.space import SPACES, Numbers, OneOf, draw, own_values, space_of
from firstlight.integrations.tuning.trials import Trial, packed_hits, unpacked_hits
from firstlight.progress import announcements_to
from firstlight.runs.record import read_record
from firstlight.runtime.distributed import World
from firstlight.training.defaults import complete

TINY = fl.Recipe.of(model="mlp", hidden=(16,), epochs=4, batch_size=32, lr=2e-3)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A database with Optuna's tables, which take longer to make than to copy."""
    file = tmp_path_factory.mktemp("tables") / "tables.db"
    optuna.storages.RDBStorage(f"sqlite:///{file}")
    return file


@pytest.fixture
def storage(tables, tmp_path):
    """The address of a new database."""
    shutil.copy(tables, tmp_path / "search.db")
    return f"sqlite:///{tmp_path}/search.db"


def small_search(data, folder, **options):
    """A search for a learning rate, around one that is far too small."""
    options = {"trials": 5, "search": ["lr"], "out": folder} | options
    return fl.tune(data, TINY, **options)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory, some_digits, tables):
    """A search in a database, and what was announced meanwhile; its folder is not to be changed."""
    folder, lines = tmp_path_factory.mktemp("search"), []
    shutil.copy(tables, folder / "search.db")
    with announcements_to(lines.append):
        search = small_search(some_digits, folder / "out", storage=f"sqlite:///{folder}/search.db")
    return search, lines


def study_of(found):
    storage = f"sqlite:///{found.folder.parent}/search.db"
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage)


def sha256(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def test_a_better_learning_rate_is_found_and_said_to_be_better_beyond_chance(found):
    search, _ = found
    assert search.winner.choices["lr"] > 5e-3 and search.winner.accuracy.value > search.default.accuracy.value + 0.2
    assert search.is_better and "is better than the default" in search.headline
    assert search.recipe.optimization.lr == search.winner.choices["lr"]


def test_optuna_reads_back_the_same_trials(found):
    search, _ = found
    study = study_of(search)
    assert study.best_value == search.winner.accuracy.value
    assert len(study.trials) == len(search.trials) == 5
    for trial in search.trials:
        theirs = study.trials[trial.number]
        assert theirs.params["lr"] == pytest.approx(trial.choices["lr"], rel=5e-3)
        if trial.status == "done":
            assert theirs.value == trial.accuracy.value


def test_the_first_trial_is_what_train_makes_of_the_same_recipe(found, tmp_path, some_digits):
    search, _ = found
    assert search.default.number == 0 and search.default.choices == {"lr": 2e-3}
    run = fl.train(some_digits, TINY, out=tmp_path / "run", score_test=False)
    assert sha256(run.folder / "model.safetensors") == sha256(search.folder / "trial-0" / "model.safetensors")


def test_the_winner_is_scored_once_and_no_other_trial_is(found):
    search, _ = found
    winner = read_record(search.run.folder)
    assert winner.test_evaluations == 1 and winner.test is not None
    assert (search.run.folder / "report.html").is_file() and not (search.run.folder / "last").exists()
    default = read_record(search.folder / "trial-0")
    assert default.test_evaluations == 0 and default.test is None
    runs = sorted(path.name for path in search.folder.iterdir() if path.is_dir())
    assert runs == ["trial-0", search.run.folder.name], "the runs of the others are removed"


def test_the_table_the_recipe_and_the_figure_are_in_the_folder(found):
    search, _ = found
    with (search.folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in search.trials]
    assert [row["default"] for row in rows].count("yes") == 1
    assert float(rows[0]["accuracy"]) == search.winner.accuracy.value
    assert float(rows[0]["low"]) <= float(rows[0]["accuracy"]) <= float(rows[0]["high"])
    assert (search.folder / "tune.png").stat().st_size > 1000
    assert fl.Recipe.of(**search.recipe.flat()) == search.recipe
    assert f"lr = {search.winner.choices['lr']}" in (search.folder / "best.toml").read_text()


def test_each_trial_is_told_with_what_is_left(found):
    search, lines = found
    told = [line for line in lines if line.startswith("trial ")]
    assert len(told) == 5 and told[0].startswith("trial 0, the default: done, ")
    assert "5 of 5 trials, about 0 s left" in told[-1]
    assert sum(line.startswith("training mlp") for line in lines) == 1, "the default's only"


def test_what_is_found_can_be_read_by_people_and_programs(found):
    search, _ = found
    assert json.loads(json.dumps(search.to_json(), allow_nan=False))["winner"] == search.winner.number
    assert len(search.to_pandas()) == 5
    assert search.headline.split(":")[0] in search._repr_html_()
    assert "too high" in search.optimism_words and 0 <= search.optimism < 0.5


def test_the_database_holds_no_pickle_and_the_same_command_finds_it_finished(found, some_digits, tmp_path, monkeypatch):
    search, _ = found
    without_pages(monkeypatch)
    content = (search.folder.parent / "search.db").read_bytes()
    assert b"\x80\x04\x95" not in content and b"\x80\x05\x95" not in content
    again = small_search(some_digits, tmp_path / "again", storage=f"sqlite:///{search.folder.parent}/search.db")
    assert [trial.number for trial in again.trials] == [trial.number for trial in search.trials]
    assert again.run.folder == search.run.folder.resolve()
    assert read_record(again.run.folder).test_evaluations == 1, "it is not scored a second time"


def test_the_same_seed_tries_the_same_also_if_the_search_is_continued(
    found, some_digits, tmp_path, storage, monkeypatch
):
    search, _ = found
    with planted_training(monkeypatch, lambda recipe: [0.5]):
        small_search(some_digits, tmp_path / "a", storage=storage, trials=1)
        continued = small_search(some_digits, tmp_path / "b", storage=storage, trials=3)
    tried = {trial.number: trial.choices for trial in search.trials}
    assert {trial.number: trial.choices for trial in continued.trials} == {n: tried[n] for n in range(3)}


def without_pages(patch):
    """Draw no figures, and write no report."""
    for name in ("draw_run", "write_run_report", "draw_search"):
        patch.setattr(tuning, name, lambda *_: None)


@contextmanager
def planted_training(monkeypatch, outcome):
    """In place of training: `outcome(recipe)` returns the accuracies of its epochs, or raises."""
    from firstlight.training import learn

    def epochs(state, _train_loader, _valid_loader, recipe, *_):
        from firstlight.training.state import Epoch

        for number, accuracy in enumerate(outcome(recipe), start=1):
            state.end_epoch(Epoch(number, float(number), 0.1, 1.0, 1.0, accuracy))
            yield state.rows[-1]

    with monkeypatch.context() as patch:
        without_pages(patch)
        patch.setattr(learn, "train_epochs", epochs)
        yield


def test_a_trial_that_is_clearly_worse_half_way_is_stopped_early(some_digits, tmp_path, monkeypatch):
    tried = []

    def outcome(recipe):
        tried.append(recipe.optimization.lr)
        for epoch in range(10):
            yield 0.9 if len(tried) < 6 else 0.1 + epoch / 100

    with planted_training(monkeypatch, outcome):
        found = fl.tune(some_digits, TINY.replace(epochs=10), trials=6, search=["lr"], out=tmp_path / "out")
    (stopped,) = [trial for trial in found.trials if trial.status == "stopped early"]
    assert stopped.number == 5 and stopped.epochs == 5 and stopped.accuracy.value == pytest.approx(0.14, abs=0.02)
    assert not (tmp_path / "out" / "trial-5").exists()


def test_a_trial_that_fails_is_a_row_with_its_reason(some_digits, tmp_path, monkeypatch):
    tried = []

    def outcome(recipe):
        tried.append(recipe)
        if len(tried) == 2:
            raise TrainingError("the loss is nan, so training stopped")
        return [0.5]

    with planted_training(monkeypatch, outcome):
        found = fl.tune(some_digits, TINY, trials=3, search=["lr"], out=tmp_path / "out")
    failed = found.trials[-1]
    assert (failed.number, failed.status) == (1, "failed") and "the loss is nan" in failed.reason
    assert failed.accuracy is None and [trial.status for trial in found.trials] == ["done", "done", "failed"]
    with planted_training(monkeypatch, lambda recipe: 1 / 0), pytest.raises(ZeroDivisionError):
        fl.tune(some_digits, TINY, trials=3, search=["lr"], out=tmp_path / "bug")


def test_if_no_trial_succeeds_the_first_reason_is_told(some_digits, tmp_path, monkeypatch):
    def outcome(recipe):
        raise TrainingError("the loss is nan")
        yield

    with planted_training(monkeypatch, outcome), pytest.raises(UserError, match="no trial succeeded; .*loss is nan"):
        fl.tune(some_digits, TINY, trials=2, search=["lr"], out=tmp_path / "out")


def test_ctrl_c_keeps_the_best_so_far_and_locks_the_test_split(some_digits, tmp_path, monkeypatch, storage):
    tried = []

    def outcome(recipe):
        tried.append(recipe)
        if len(tried) == 3:
            raise KeyboardInterrupt
        return [0.5, 0.6]

    with planted_training(monkeypatch, outcome):
        found = fl.tune(some_digits, TINY, trials=4, search=["lr"], out=tmp_path / "out", storage=storage)
        assert found.interrupted and len(found.trials) == 2
        assert found.run.test is None and read_record(found.run.folder).test_evaluations == 0
        assert not (tmp_path / "out" / "trial-2").exists()
        again = fl.tune(some_digits, TINY, trials=4, search=["lr"], out=tmp_path / "again", storage=storage)
    assert len(again.trials) == 4 and len(tried) == 3 + 2, "two were missing"
    assert again.run.test is not None


def test_when_time_is_up_an_open_trial_does_not_count_and_the_winner_is_scored(some_digits, tmp_path, monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        sleep = perf_counter = None

    clock, tried = Clock(), []
    monkeypatch.setattr(searching, "time", clock)
    monkeypatch.setattr(tuning, "time", clock)

    def outcome(recipe):
        tried.append(recipe)
        for _ in range(3):
            clock.now += 10
            yield 0.5

    with planted_training(monkeypatch, outcome):
        found = fl.tune(some_digits, TINY, trials=9, search=["lr"], time_limit=75, out=tmp_path / "out")
    assert len(tried) == 3 and len(found.trials) == 2
    assert found.run.test is not None and not found.interrupted
    assert tried[0].optimization.time_limit == 75, "the default ends with a model whatever the limit is"
    assert found.recipe.optimization.time_limit is None


def whole(recipe, **options):
    return space_of(complete(recipe, color=True, images=1000), 8, **options)


@pytest.mark.parametrize("name", ["mlp", "cnn", "timm:resnet18", "torchvision:resnet18"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_what_is_drawn_is_always_a_recipe_and_the_recipes_own_values_can_be(name, pretrained):
    recipe = complete(fl.Recipe.of(model=name, pretrained=pretrained), color=True, images=1000)
    space = space_of(recipe, 8)
    for choice, values in space.items():
        own = recipe.flat()[choice]
        assert values.low <= own <= values.high if isinstance(values, Numbers) else own in values.values
    for seed in range(20):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
        drawn = draw(trial, space, recipe)
        assert drawn.replace(**{choice: recipe.flat()[choice] for choice in space}) == recipe
    fixed = optuna.trial.FixedTrial(own_values(space, recipe))
    assert draw(fixed, space, recipe) == recipe


def test_of_a_pretrained_network_that_is_not_fine_tuned_only_what_matters_is_drawn():
    recipe = complete(fl.Recipe.of(model="timm:resnet18"), color=True, images=1000)
    space = space_of(recipe, 224)
    assert own_values(space, recipe) == {"finetune": "none", "feature_passes": 1}
    trial = optuna.trial.FixedTrial({"finetune": "none", "feature_passes": 2})
    assert draw(trial, space, recipe) == recipe.replace(feature_passes=2)
    assert "finetune" not in space_of(recipe.replace(ladder=True), 224)


def test_what_is_given_is_not_searched():
    assert "lr" not in whole(TINY, keep=["lr"]) and "dropout" in whole(TINY, keep=["lr"])
    assert list(whole(TINY, only=["dropout", "lr"])) == ["lr", "dropout"]
    assert whole(TINY)["hidden"] == OneOf((*SPACES["mlp"]["hidden"].values, (16,)))
    assert max(whole(TINY)["shift"].values) == 2, "not more than a quarter of 8 pixels"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"only": ["lrr"]}, "search = 'lrr': there is no such choice; did you mean lr?"),
        ({"only": ["width"]}, "search = 'width': this is not searched for mlp; choose from lr, weight_decay"),
        ({"only": ["lr"], "keep": ["lr"]}, "search = 'lr': this choice is given as well"),
        ({"keep": ["nonsense"]}, "keep = 'nonsense': there is no such choice"),
        ({"keep": list(SPACES["mlp"])}, "nothing is left to search"),
    ],
)
def test_names_that_cannot_be_searched_are_refused(options, told):
    with pytest.raises(RecipeError, match=re.escape(told)):
        whole(TINY, **options)


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ("mysql+nothing://me:secret@here/db", "storage = 'mysql+nothing://me:***@here/db': "),
        ("nonsense", "this database cannot be used"),
        ("sqlite:////no/folder/x.db", "unable to open database file"),
        ("bad://me:secret@here:port/db", "***"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(storage, told):
    with pytest.raises(RecipeError) as error, studies.quiet_optuna():
        studies.open_study(storage, "name", 0)
    assert told in str(error.value) and "secret" not in str(error.value) and "\n" not in str(error.value)


def test_options_that_make_no_sense_are_one_line(some_digits, monkeypatch):
    for options, told in (
        ({"trials": 0}, "trials = 0: choose a whole number"),
        ({"time_limit": -1}, "time_limit = -1: give seconds"),
        ({"search": "lr"}, "search = 'lr': give a list of names"),
        ({"storage": 3}, "storage is an int"),
        ({"learning_rate": 3}, "there is no choice learning_rate"),
    ):
        with pytest.raises(UserError, match=re.escape(told)):
            fl.tune(some_digits, TINY, **options)
    monkeypatch.setattr(tuning, "launched", lambda: World(size=2))
    with pytest.raises(UserError, match="not started by torchrun; start it several times with the same `storage`"):
        fl.tune(some_digits, TINY)


def trial(number, hits, log_loss=0.5):
    from firstlight.evaluation.intervals import proportion

    accuracy = proportion(int(hits.sum()), len(hits))
    return Trial(number, "done", accuracy, log_loss, 3, 1.0, {"lr": 0.1}, hits=hits, is_default=number == 0)


def test_a_winner_within_noise_of_the_default_says_keep_the_default():
    default, other, lucky = (np.arange(200) < count for count in (150, 140, 154))
    trials = (trial(2, lucky), trial(0, default), trial(1, other))
    found = Search(Path("runs/x"), trials, 3, ("lr",), TINY, None)
    assert found.headline.startswith("keep the default: trial 2 gets 2.0 points more of 200 validation pictures right")
    assert "corrected for 2 comparisons" in found.headline and not found.is_better
    own = Search(Path("runs/x"), (trial(0, default), trial(1, other)), 2, ("lr",), TINY, None)
    assert own.headline == "keep the default: the other trial did no better on validation"
    tied = Search(Path("runs/x"), (trial(1, default, log_loss=0.4), trial(0, default)), 2, ("lr",), TINY, None)
    assert tied.headline == "keep the default: trial 1 gets no more validation pictures right, at a lower log loss"


def test_hits_are_kept_to_the_bit():
    hits = np.random.default_rng(0).random(1001) < 0.9
    assert (unpacked_hits(packed_hits(hits), len(hits)) == hits).all()


AS_ANOTHER_PROCESS = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")


def other_process(storage):
    """The study as another process opens it, and its storage."""
    (summary,) = optuna.get_all_study_summaries(storage)
    with studies.quiet_optuna():
        study = studies.open_study(storage, summary.study_name, 0)
    return study, study._storage


@pytest.mark.slow
@AS_ANOTHER_PROCESS
def test_the_trial_of_a_process_that_was_killed_is_taken_again(some_digits, tmp_path, monkeypatch, storage):
    with planted_training(monkeypatch, lambda recipe: [0.5]):
        small_search(some_digits, tmp_path / "a", storage=storage, trials=1)
        killed, database = other_process(storage)
        trial = killed.ask()
        drawn = trial.suggest_float("lr", 2e-4, 2e-2, log=True)
        database.record_heartbeat(trial._trial_id)
        with sqlite3.connect(tmp_path / "search.db") as tables:
            tables.execute("UPDATE trial_heartbeats SET heartbeat = '2000-01-01'")
        found = small_search(some_digits, tmp_path / "b", storage=storage, trials=3)
    assert killed.trials[1].state == optuna.trial.TrialState.FAIL
    assert sorted(one.number for one in found.trials) == [0, 2, 3], "the killed one does not count"
    again = next(one for one in found.trials if one.number == 2)
    assert again.status == "done" and again.choices["lr"] == pytest.approx(drawn, rel=5e-3)


@AS_ANOTHER_PROCESS
def test_processes_together_make_no_more_trials_than_were_asked_for(some_digits, tmp_path, monkeypatch, storage):
    run_one = studies.run_one

    def after_another(study, objective, expected):
        """Another process takes a trial after this one has counted, and before it takes its own."""
        if len(study.trials) == 1 and study.trials[0].state.is_finished():
            other, _ = other_process(storage)
            trial = other.ask()
            for name, value in {"right": 1, "n": 44, "log_loss": 2.0}.items():
                trial.set_user_attr(name, value)
            other.tell(trial, 1 / 44)
        return run_one(study, objective, expected)

    monkeypatch.setattr(studies, "run_one", after_another)
    with planted_training(monkeypatch, lambda recipe: [0.5]):
        found = small_search(some_digits, tmp_path / "a", storage=storage, trials=2)
    assert sorted(one.number for one in found.trials) == [0, 1]
    assert [trial.state.name for trial in other_process(storage)[0].trials] == ["COMPLETE", "COMPLETE", "FAIL"]


@pytest.mark.slow
def test_a_trial_that_another_process_took_for_dead_is_not_ours_any_more(some_digits, tmp_path, monkeypatch, storage):
    tried = []

    def outcome(recipe):
        tried.append(recipe)
        if len(tried) == 2:
            study, database = other_process(storage)
            (running,) = [one for one in study.trials if one.state == optuna.trial.TrialState.RUNNING]
            database.set_trial_state_values(running._trial_id, optuna.trial.TrialState.FAIL)
        return [0.5]

    with planted_training(monkeypatch, outcome):
        found = small_search(some_digits, tmp_path / "a", storage=storage, trials=3)
    assert sorted(one.number for one in found.trials) == [0, 2, 3]
    assert not (tmp_path / "a" / "trial-1").exists()


SCRIPT = """
import sys
import numpy as np
import firstlight as fl
data = np.load(sys.argv[1])
recipe = fl.Recipe.of(model="mlp", hidden=(16,), epochs=4, batch_size=32, lr=2e-3)
found = fl.tune(
    (data["images"], data["labels"]), recipe, trials=6, search=["lr"], storage=sys.argv[2], out=sys.argv[3]
)
print(found.winner.number, len(found.trials))
"""


def begun(database, number):
    """Whether a trial has given a sign of life."""
    beats = "SELECT COUNT(*) FROM trial_heartbeats JOIN trials USING (trial_id) WHERE number = ?"
    with sqlite3.connect(database, timeout=60) as tables:
        return tables.execute(beats, (number,)).fetchone()[0] > 0


@pytest.mark.slow
def test_two_processes_share_a_search_and_finish_that_of_one_that_was_killed(some_digits, tmp_path, storage):
    np.savez(tmp_path / "data.npz", images=some_digits[0], labels=some_digits[1])
    database = tmp_path / "search.db"
    with ExitStack() as running:

        def start(name):
            words = [sys.executable, "-c", SCRIPT, tmp_path / "data.npz", storage, tmp_path / name]
            process = running.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            running.callback(process.kill)
            return process

        first = start("first")
        while not begun(database, 1):
            assert first.poll() is None
            time.sleep(0.01)
        first.kill()
        first.wait()
        with sqlite3.connect(database, timeout=60) as tables:
            tables.execute("UPDATE trial_heartbeats SET heartbeat = '2000-01-01'")
        others = [start("second"), start("third")]
        answers = [process.communicate()[0].split() for process in others]
    assert [process.returncode for process in others] == [0, 0]
    assert answers[0] == answers[1] and answers[0][1] == "6"
    study, _ = other_process(storage)
    states = [trial.state.name for trial in studies.counted(study)]
    assert len(states) == 6 and set(states) <= {"COMPLETE", "PRUNED"}
    records = [read_record(file.parent) for file in tmp_path.rglob("evaluation.json")]
    assert sum(record.test_evaluations for record in records) == 1, "one look at the test split in all"
