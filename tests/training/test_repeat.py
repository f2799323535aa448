"""Recipes are trained with several seeds on one split, without a look at the test split."""

import json

import pytest

import firstlight as fl
from firstlight.cli.entry import main
from firstlight.data.split import read_split
from firstlight.errors import UserError
from firstlight.training import repeat

SMALL = fl.Recipe.of(model="mlp", hidden=(8,), epochs=1, batch_size=32)
LARGER = SMALL.replace(hidden=(64,), epochs=6, seed=3)


@pytest.fixture(scope="module")
def compared(tmp_path_factory, some_digits):
    """Two recipes with two seeds each, and the folder of the runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        folder = tmp_path_factory.mktemp("compared") / "runs"
        return fl.compare_recipes(SMALL, LARGER, some_digits, seeds=2, out=folder), folder


def test_all_runs_have_one_split_and_other_seeds_and_leave_the_test_split_locked(compared):
    _, folder = compared
    runs = [fl.load_run(folder / name) for name in ("a-seed0", "b-seed0", "a-seed1", "b-seed1")]
    assert [run.recipe.seed for run in runs] == [0, 0, 1, 1]
    assert [run.recipe.model.hidden for run in runs] == [(8,), (64,)] * 2
    assert all(run.test is None and run.record.test_evaluations == 0 for run in runs)
    tables = [read_split(run.folder / "split.csv") for run in runs]
    assert all(table == tables[0] for table in tables)


def test_the_scores_are_those_of_the_runs_and_the_answer_stays_beside_them(compared):
    found, folder = compared
    for letter, accuracies, losses in zip("ab", found.accuracy, found.log_loss, strict=True):
        runs = [fl.load_run(folder / f"{letter}-seed{seed}") for seed in range(2)]
        assert accuracies == pytest.approx([run.valid.accuracy.value for run in runs])
        assert losses == pytest.approx([run.valid.log_loss.value for run in runs])
    assert found.recipes == ("recipe a", "recipe b")
    assert json.loads((folder / "comparison.json").read_text()) == json.loads(json.dumps(found.to_json()))


def write_recipe(path, source="digits", **choices):
    lines = [f"{name} = {json.dumps(value)}" for name, value in choices.items()]
    path.write_text("\n".join([f'source = "{source}"' * bool(source), "[optimization]", *lines]))
    return str(path)


def refused(words, capsys):
    assert main(["compare", *words, "--quiet"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_what_cannot_be_compared_is_one_line(tmp_path, capsys):
    a, b = write_recipe(tmp_path / "a.toml", epochs=1), write_recipe(tmp_path / "b.toml", epochs=2)
    other = write_recipe(tmp_path / "c.toml", source="mnist", epochs=2)
    nameless = [write_recipe(tmp_path / f"{name}.toml", source="", epochs=len(name)) for name in ("d", "ee")]
    out = ["--out", str(tmp_path / "runs")]
    assert "are the same recipe" in refused([a, a, "--seeds", "2"], capsys)
    assert "name different sources" in refused([a, other, "--seeds", "2"], capsys)
    assert "give the source to train both on" in refused([*nameless, "--seeds", "2"], capsys)
    assert "--seeds 1: choose a whole number from 2" in refused([a, b, "--seeds", "1", *out], capsys)
    assert "--split test: with --seeds" in refused([a, b, "--seeds", "2", "--split", "test"], capsys)
    assert "--label-from x: with --seeds" in refused([a, b, "--seeds", "2", "--label-from", "x"], capsys)
    assert "cannot be read" in refused([a, str(tmp_path / "no.toml"), "--seeds", "2"], capsys)
    assert not (tmp_path / "runs").exists()


def test_recipes_that_read_the_source_differently_are_refused(some_digits):
    with pytest.raises(UserError, match="label_from = 'x': the other recipe reads the source differently"):
        fl.compare_recipes(SMALL, SMALL.replace(label_from="x", epochs=2), some_digits)


def test_the_recipes_of_runs_are_taken(compared, some_digits):
    _, folder = compared
    run, other = fl.load_run(folder / "a-seed0"), folder / "b-seed1"
    recipes, _ = repeat.named_recipes(run, other, some_digits)
    assert list(recipes) == [str(run.folder), str(other)]
    assert [recipe.model.hidden for recipe in recipes.values()] == [(8,), (64,)]


def test_runs_that_are_finished_stay_when_training_is_interrupted(tmp_path, some_digits, monkeypatch):
    def until_the_third(samples, recipe, out, *, score_test):
        if out.name == "a-seed1":
            raise KeyboardInterrupt
        return train(samples, recipe, out, score_test=score_test)

    train = repeat.train
    monkeypatch.setattr(repeat, "train", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        fl.compare_recipes(SMALL, LARGER, some_digits, seeds=2, out=tmp_path / "runs")
    left = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert left == ["a-seed0", "b-seed0"]
    assert fl.compare(tmp_path / "runs" / "a-seed0", tmp_path / "runs" / "b-seed0").n == 44
