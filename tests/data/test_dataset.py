"""A set made ready: quarantine has a limit, copies stay together, leaks are named and can be left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstlight.data.dataset import open_dataset, open_store, write_quarantine
from firstlight.data.recipe import DataRecipe
from firstlight.data.sources import load_data
from firstlight.data.split import write_split
from firstlight.delivery.check import check
from firstlight.errors import DataError, RecipeError


def ready(source, seed=0, **choices):
    return open_dataset(load_data(source), DataRecipe(allow_quarantine=True, **choices), seed=seed)


@pytest.fixture
def folder(digit_folder, tmp_path) -> Path:
    return Path(shutil.copytree(digit_folder, tmp_path / "digits"))


@pytest.fixture
def presplit(digits, tmp_path) -> Path:
    images, labels = digits
    for label in range(3):
        rows = np.flatnonzero(labels == label)
        for split, chosen in (("train", rows[:20]), ("test", rows[20:26])):
            (tmp_path / split / str(label)).mkdir(parents=True)
            for row in chosen:
                Image.fromarray(images[row]).save(tmp_path / split / str(label) / f"{row}.png")
    return tmp_path


def test_every_usable_image_is_in_exactly_one_split(digit_folder):
    data = ready(digit_folder)
    assert sorted(data.split.rows("all").tolist()) == list(range(120))


def test_copies_are_never_on_two_sides(folder):
    for label in range(10):
        for path in sorted((folder / str(label)).iterdir())[:4]:
            for copy in range(3):
                shutil.copy(path, path.with_name(f"{path.stem}-copy{copy}.png"))
    data = ready(folder)
    split_of = {row: split for split in ("train", "valid", "test") for row in data.split.rows(split).tolist()}
    assert len(data.store.duplicates.exact) == 40
    for group in data.store.duplicates.exact:
        assert len(group) == 4
        assert len({split_of[row] for row in group}) == 1
    assert data.leaks == []


def test_a_pattern_keeps_what_it_names_together(folder):
    data = ready(folder, group_by=r"(\d)\.png$")
    split_of = {row: split for split in ("train", "valid", "test") for row in data.split.rows(split).tolist()}
    for ending in range(10):
        rows = [row for row, name in enumerate(data.samples.names) if name.endswith(f"{ending}.png")]
        assert len({split_of[row] for row in rows}) <= 1


def test_one_folder_for_each_class_cannot_be_a_group(digit_folder):
    with pytest.raises(RecipeError, match="each class is a single folder"):
        ready(digit_folder, group_by="folder")


def test_leaks_of_an_official_split_are_found_and_dropped_from_training_only(presplit):
    victims = sorted((presplit / "test" / "1").iterdir())[:2]
    for victim in victims:
        shutil.copy(victim, presplit / "train" / "1" / f"leak-{victim.name}")
    data = ready(presplit)
    names = [{data.samples.names[row] for row in leak} for leak in data.leaks]
    expected = [{f"test/1/{victim.name}", f"train/1/leak-{victim.name}"} for victim in victims]
    assert sorted(map(sorted, names)) == sorted(map(sorted, expected))
    assert data.dropped == []

    clean = ready(presplit, drop_leaks=True)
    gone = {clean.samples.names[row] for row in clean.dropped}
    assert gone == {f"train/1/leak-{victim.name}" for victim in victims}
    assert len(clean.split.test) == len(data.split.test) == 18
    assert not set(clean.dropped) & set(clean.split.rows("all").tolist())
    assert check(load_data(presplit)).to_json()["leaks"]


def test_a_validation_split_is_taken_from_training_and_test_stays_as_it_was(presplit):
    data = ready(presplit)
    assert all(data.samples.names[row].startswith("test/") for row in data.split.test)
    assert all(data.samples.names[row].startswith("train/") for row in data.split.valid)
    assert len(data.split.valid) == 6
    assert len(data.split.train) + len(data.split.valid) == 60


def test_an_earlier_split_is_followed(folder, tmp_path):
    before = ready(folder, seed=3)
    table = tmp_path / "split.csv"
    write_split(table, before.samples, before.split)
    for label in range(10):
        for number in range(5):
            shutil.copy(sorted((folder / str(label)).iterdir())[0], folder / str(label) / f"new{number}.png")
    after = ready(folder, split=str(table), seed=99)
    for split in ("train", "valid", "test"):
        then = {before.samples.names[row] for row in before.split.rows(split)}
        now = {after.samples.names[row] for row in after.split.rows(split)}
        assert then <= now


def test_too_many_unusable_images_stop_the_run(folder):
    for number in range(2):
        (folder / "0" / f"bad{number}.png").write_bytes(b"")
    samples = load_data(folder)
    with pytest.raises(DataError, match=r"2 of 122 pictures cannot be used.*set `allow_quarantine`"):
        open_store(samples)
    assert len(open_store(samples, allow_quarantine=True).quarantined) == 2


def test_a_class_without_usable_images_is_named(folder):
    for path in (folder / "7").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no usable picture of 7"):
        ready(folder)
    assert len(open_store(load_data(folder), allow_quarantine=True).usable) == 108, "what is left can be scored"


def test_the_quarantine_table_has_one_row_per_image(folder, tmp_path):
    (folder / "0" / "bad, really.png").write_bytes(b"")
    data = ready(folder)
    write_quarantine(tmp_path / "quarantine.csv", data.samples, data.store)
    heading, row = (tmp_path / "quarantine.csv").read_text().splitlines()
    assert heading == "image,reason"
    assert row.startswith('"0/bad, really.png",')


def test_a_group_on_two_sides_of_an_official_split_is_a_leak(presplit):
    files = {split: sorted((presplit / split).rglob("*.png")) for split in ("train", "test")}
    rows = [
        f"{path.relative_to(presplit)},{path.parent.name},{split},{'patient 7' if path is found[0] else path.stem}"
        for split, found in files.items()
        for path in found
    ]
    (presplit / "list.csv").write_text("\n".join(["image,label,split,group", *rows]))
    samples = load_data(presplit / "list.csv")
    expected = {str(found[0].relative_to(presplit)) for found in files.values()}
    data = ready(presplit / "list.csv")
    assert [{samples.names[row] for row in leak} for leak in data.leaks] == [expected]
    assert [set(leak) for leak in check(samples).to_json()["leaks"]] == [expected]


def test_what_was_dropped_stays_out_when_the_split_is_followed(presplit, tmp_path):
    victim = sorted((presplit / "test" / "1").iterdir())[0]
    shutil.copy(victim, presplit / "train" / "1" / "leak.png")
    first = ready(presplit, drop_leaks=True)
    write_split(tmp_path / "split.csv", first.samples, first.split, first.dropped)
    again = ready(presplit, split=str(tmp_path / "split.csv"))
    for split in ("train", "valid", "test"):
        assert np.array_equal(first.split.rows(split), again.split.rows(split))


def test_nonsense_fractions_are_refused_whatever_the_split(presplit):
    with pytest.raises(RecipeError, match="three numbers"):
        ready(presplit, split="nonsense")


@pytest.mark.parametrize("table", ["", "nonsense", "image,label,split\nother.png,3,train\n"])
def test_a_split_file_that_is_of_no_use_is_refused(digit_folder, tmp_path, table):
    (tmp_path / "split.csv").write_text(table)
    with pytest.raises(DataError, match=r"not a split table|lists no picture"):
        ready(digit_folder, split=str(tmp_path / "split.csv"))


def test_a_class_too_small_to_be_tested_is_named(folder):
    for path in sorted((folder / "8").iterdir())[2:]:
        path.unlink()
    data = ready(folder)
    assert any("no picture of 8 is in the test split" in note for note in data.notes)


def test_messages_about_a_choice_carry_it_and_name_no_flag(presplit, tmp_path):
    (tmp_path / "other.csv").write_text("image,label,split\nother.png,3,train\n")
    for field, choice in (("split", "nonsense"), ("split", str(tmp_path / "other.csv")), ("group_by", "(")):
        with pytest.raises(DataError if choice.endswith("csv") else RecipeError) as refused:
            ready(presplit, **{field: choice})
        assert (refused.value.field, refused.value.value) == (field, choice)
        assert "--" not in str(refused.value)


def test_the_defaults_of_a_network_hold_only_where_the_recipe_is_open(folder):
    samples = load_data(folder)
    Image.fromarray(np.zeros((9, 30), np.uint8)).save(folder / "0" / "wide.png")
    mixed = load_data(folder)
    assert open_dataset(samples, default_side=20).store.input_size == (1, 8, 8)
    assert open_dataset(mixed, default_side=20).store.input_size == (1, 20, 20)
    assert open_dataset(mixed, DataRecipe(img_size=12), default_side=20).store.input_size == (1, 12, 12)
    padded = open_dataset(mixed, DataRecipe(resize="pad"), default_side=20, default_resize="squash").store
    row = mixed.names.index("0/wide.png")
    assert (padded.pixels[row, 0] > 0).all(), "gray bars above"
    squashed = open_dataset(mixed, default_side=20, default_resize="squash").store
    assert not squashed.pixels[row].any()


def test_an_official_split_that_is_kept_is_noted(presplit):
    assert any(
        "has an official split, which is kept; 80/10/10 was not used" in n
        for n in ready(presplit, split="80/10/10").notes
    )


def test_a_dataset_gives_batches_of_a_split(folder):
    data = ready(folder)
    scored = list(data.loader("valid").epoch())
    assert np.array_equal(np.concatenate([batch.rows.numpy() for batch in scored]), data.split.valid)
    train = data.loader("train", batch_size=16, seed=0, balanced=True, drop_last=True)
    assert {len(batch.labels) for batch in train.epoch(1)} == {16}
    assert set(np.concatenate([batch.rows.numpy() for batch in train.epoch(1)]).tolist()) <= set(
        data.split.train.tolist()
    )
