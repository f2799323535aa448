"""Runs and models are compared on the same images only; anything else is one line that says how many match."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import firstlight as fl
from firstlight.cli.entry import main
from firstlight.errors import DataError, RunError, UserError
from firstlight.runs.outputs import read_outputs, write_outputs
from firstlight.runs.record import read_record
from firstlight.training.train import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory, digits):
    """Two runs on the same 500 digits, one of which has hardly learned; their folders are not to be changed."""
    images, labels = digits
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        folder, samples = tmp_path_factory.mktemp("compared"), fl.load_data((images[:500], labels[:500]))
        choices = {"model": "mlp", "hidden": (32,), "batch_size": 32}
        return (
            train(samples, fl.Recipe.of(epochs=2, **choices), folder / "weak"),
            train(samples, fl.Recipe.of(epochs=20, **choices), folder / "strong"),
        )


@pytest.fixture
def pair(runs, tmp_path):
    """Copies of their folders."""
    return tuple(shutil.copytree(run.folder, tmp_path / run.folder.name) for run in runs)


@pytest.fixture
def data(digits):
    images, labels = digits
    return images[:500], labels[:500]


def unsealed(folder):
    """The fields of a record without their digest, as earlier versions wrote them."""
    fields = json.loads((folder / "evaluation.json").read_text())
    del fields["sha256"]
    return fields


def change(folder, split="valid", **changes):
    write_outputs(folder, split, replace(read_outputs(folder, split), **changes))


def test_two_runs_are_compared_without_their_images_and_models(pair):
    for folder in pair:
        (folder / "model.safetensors").unlink()
    found = fl.compare(*pair)
    assert found.verdict == "b" and found.split == "valid"
    assert found.models == tuple(map(str, pair))
    for place, folder in enumerate(pair):
        valid = read_record(folder).valid
        assert found.accuracy[place] == valid.accuracy.value
        assert found.log_loss[place] == pytest.approx(valid.log_loss.value)
        assert found.macro_f1[place] == pytest.approx(valid.macro_f1.value)
    assert "validation also chose" in found.notes[-1]


def test_runs_and_their_folders_and_model_files_are_the_same_thing(runs):
    found = fl.compare(*runs)
    folders = [run.folder for run in runs]
    assert fl.compare(*map(str, folders)) == found
    assert fl.compare(*(folder / "model.safetensors" for folder in folders)).p == found.p


def test_scoring_both_on_the_source_gives_what_they_said_before(pair, data):
    before, again = fl.compare(*pair), fl.compare(*pair, data)
    assert again.log_loss == pytest.approx(before.log_loss, rel=1e-4)
    assert (again.accuracy, again.p, again.n) == (before.accuracy, before.p, before.n)
    assert {one.image for one in again.disagreements} == {one.image for one in before.disagreements}


def test_classifiers_are_compared_on_data(pair, data):
    models = [fl.load(folder) for folder in pair]
    assert fl.compare(*models, data).accuracy == fl.compare(*pair).accuracy
    with pytest.raises(UserError, match="a is an ImageClassifier; give a run or its folder"):
        fl.compare(*models)


def test_the_order_of_images_and_classes_does_not_matter(pair):
    before = fl.compare(*pair)
    outputs = read_outputs(pair[1], "valid")
    order, classes = np.random.default_rng(0).permutation(len(outputs)), np.arange(10)[::-1]
    record = unsealed(pair[1])
    record["classes"] = [record["classes"][place] for place in classes]
    (pair[1] / "evaluation.json").write_text(json.dumps(record))
    change(
        pair[1],
        names=tuple(outputs.names[row] for row in order),
        labels=9 - outputs.labels[order],
        logits=outputs.logits[order][:, classes],
        features=None,
        digests=outputs.digests[order],
        strangeness=None,
    )
    assert replace(fl.compare(*pair), models=before.models) == before


def test_comparing_on_test_counts_in_both_records_and_says_so(pair):
    assert fl.compare(*pair).n and [read_record(folder).test_evaluations for folder in pair] == [1, 1]
    found = fl.compare(*pair, split="test")
    assert [read_record(folder).test_evaluations for folder in pair] == [2, 2]
    assert found.notes == tuple(
        f"this counts: the test split of {folder} has now been scored 2 times" for folder in pair
    )


def test_comparing_on_the_test_split_of_a_source_counts_once_in_each_record(pair, data):
    found = fl.compare(*pair, data, split="test")
    assert [read_record(folder).test_evaluations for folder in pair] == [2, 2]
    assert sum("this counts" in note for note in found.notes) == 2


def test_other_images_are_refused_with_how_many_match(pair):
    outputs = read_outputs(pair[1], "valid")
    change(pair[1], names=(*outputs.names[:-3], "x", "y", "z"))
    with pytest.raises(DataError, match=r"74 of 77 and 77 validation pictures are the same; train .*weak/split\.csv"):
        fl.compare(*pair)
    assert read_record(pair[0]).test_evaluations == 1


def test_images_that_only_share_their_names_are_other_images(pair):
    outputs = read_outputs(pair[1], "valid")
    change(pair[1], digests=outputs.digests + np.uint64(1))
    with pytest.raises(DataError, match=r"0 of 77 and 77 .* are the same \(77 have the same name\)"):
        fl.compare(*pair)


def test_a_part_of_the_images_is_not_enough(pair):
    outputs = read_outputs(pair[1], "valid")
    for rows in (slice(0, 70), slice(0, 0)):
        change(
            pair[1],
            names=outputs.names[rows],
            labels=outputs.labels[rows],
            logits=outputs.logits[rows],
            features=None,
            digests=outputs.digests[rows],
            strangeness=None,
        )
        with pytest.raises(DataError, match="answered different pictures"):
            fl.compare(*pair)
        with pytest.raises(DataError, match="answered different pictures"):
            fl.compare(*reversed(pair))


def test_a_refusal_does_not_count_as_an_evaluation_of_the_test_split(pair, data):
    outputs = read_outputs(pair[1], "test")
    change(pair[1], "test", digests=outputs.digests + np.uint64(1))
    table = (pair[1] / "split.csv").read_text().replace(",test", ",valid", 1)
    (pair[1] / "split.csv").write_text(table)
    for source in (None, data):
        with pytest.raises(DataError, match="are the same"):
            fl.compare(*pair, source, split="test")
    assert [read_record(folder).test_evaluations for folder in pair] == [1, 1]


def test_models_of_other_classes_are_refused_before_a_test_split_is_scored(pair, data, digits, tmp_path):
    images, labels = digits
    seven = labels < 7
    other = fl.train((images[seven][:200], labels[seven][:200]), out=tmp_path / "seven", epochs=1, model="mlp")
    before = read_record(pair[0]).test_evaluations
    with pytest.raises(DataError, match="only models with the same classes can be compared"):
        fl.compare(pair[0], other.folder, data, split="all")
    assert read_record(pair[0]).test_evaluations == before


def test_files_that_cannot_be_written_are_refused_before_a_test_split_is_scored(pair, tmp_path, capsys):
    before = read_record(pair[0]).test_evaluations
    assert main(["compare", *map(str, pair), "--split", "test", "--csv", str(tmp_path / "no" / "c.csv")]) == 2
    assert "it cannot be written" in capsys.readouterr().err
    with pytest.raises(RunError, match="choose a file in a folder that exists"):
        fl.report(pair[0], "digits", out=tmp_path / "no" / "page.html")
    assert read_record(pair[0]).test_evaluations == before


def test_runs_of_earlier_versions_are_matched_by_name(pair):
    for folder in pair:
        change(folder, digests=None)
    assert not any("by name" in note for note in fl.compare(*pair).notes)  # the key of the set says it is the same
    record = unsealed(pair[1])
    (pair[1] / "evaluation.json").write_text(json.dumps(record | {"source_key": "another"}))
    assert any("by name" in note for note in fl.compare(*pair).notes)


def test_other_labels_are_refused_by_name(pair):
    outputs = read_outputs(pair[1], "valid")
    labels = outputs.labels.copy()
    labels[4] = (labels[4] + 1) % 10
    change(pair[1], labels=labels)
    with pytest.raises(DataError, match=f"1 of 77 pictures have different labels, such as {outputs.names[4]}: "):
        fl.compare(*pair)


def test_other_classes_are_refused_by_name(pair):
    record = unsealed(pair[1])
    record["classes"][3] = "three"
    (pair[1] / "evaluation.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="weak does not know three; .*strong does not know 3; only models with the"):
        fl.compare(*pair)


def test_runs_that_were_split_differently_are_refused_before_they_are_scored(pair, data, tmp_path):
    other = fl.train(data, out=tmp_path / "other", seed=1, model="mlp", hidden=(8,), epochs=1)
    with pytest.raises(DataError, match=r"were split differently: \d+ of 77 and 77 validation pictures are the same"):
        fl.compare(pair[0], other, data)
    found = fl.compare(pair[0], other, data, split="all")
    assert found.notes[0] == f"{pair[0]} was trained on 346 of these pictures, so it looks better than it is"


def test_a_model_from_elsewhere_is_scored_on_the_split_of_the_other(pair, data, tmp_path):
    alone = tmp_path / "alone.safetensors"
    shutil.copy(pair[1] / "model.safetensors", alone)
    found = fl.compare(pair[0], alone, data)
    assert found.accuracy == fl.compare(*pair).accuracy
    assert f"{alone} has no split of this set, so it may have been trained on these pictures" in found.notes


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "outputs" / "valid.safetensors").unlink(), "has no outputs of its valid split"),
        (lambda run: (run / "outputs" / "valid.safetensors").write_bytes(b"no"), "damaged"),
        (lambda run: (run / "evaluation.json").unlink(), "there is no finished run here"),
        (lambda run: (run / "evaluation.json").write_text("{"), "damaged"),
        (lambda run: change(run, logits=np.zeros((77, 3), np.float32)), "does not go with the record"),
        (lambda run: change(run, labels=np.full(77, 10)), "does not go with the record"),
        (lambda run: change(run, logits=np.full((77, 10), np.nan, np.float32)), "no finite number for 77 of 77"),
    ],
)
def test_what_is_missing_or_damaged_is_one_line(pair, damage, message, capsys):
    damage(pair[1])
    with pytest.raises(UserError, match=message) as refused:
        fl.compare(*pair)
    assert "\n" not in str(refused.value)
    assert main(["compare", *map(str, pair)]) == 2
    assert message in capsys.readouterr().err


def test_a_locked_test_split_stays_locked(pair):
    record = unsealed(pair[1])
    (pair[1] / "evaluation.json").write_text(json.dumps(record | {"test": None}))
    with pytest.raises(RunError, match="its test split was left locked"):
        fl.compare(*pair, split="test")


def test_a_run_is_not_compared_with_itself(pair, data):
    for again in (pair[0], pair[0].parent / "." / "weak"):
        with pytest.raises(UserError, match="is compared with itself"):
            fl.compare(pair[0], again)
        with pytest.raises(UserError, match="is compared with itself"):
            fl.compare(pair[0], again, data)


def test_a_copy_of_a_run_is_no_better(pair, tmp_path):
    found = fl.compare(pair[0], shutil.copytree(pair[0], tmp_path / "copy"))
    assert found.verdict == "cannot tell" and "exactly the same answers" in found.notes[0]


def test_all_needs_a_source(pair):
    with pytest.raises(UserError, match="choose valid or test"):
        fl.compare(*pair, split="all")


def test_the_command_prints_the_verdict_first_and_json_alone(pair, capsys):
    assert main(["compare", *map(str, pair)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{pair[1]} is better than {pair[0]} on 77 validation pictures: ")
    assert any(line.startswith("  accuracy") for line in lines)
    assert main(["compare", *map(str, pair), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["verdict"] == "b" and value["models"] == {"a": str(pair[0]), "b": str(pair[1])}


def test_the_command_writes_the_pictures_that_only_one_gets_right_and_a_figure(pair, tmp_path, capsys):
    table, folder = tmp_path / "differ.csv", tmp_path / "figure"
    assert main(["compare", *map(str, pair), "--csv", str(table), "--out", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [f"wrote {table}", f"wrote {folder}"]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = fl.compare(*pair)
    assert [(row["image"], row["label"], row["a"], row["b"]) for row in rows] == [*map(tuple, found.disagreements)]
    assert sum(row["right"] == "b" for row in rows) == found.only_b
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", *map(str, pair), "--out", str(folder)]) == 2
    assert "the folder is not empty" in capsys.readouterr().err
