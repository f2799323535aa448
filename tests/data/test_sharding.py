"""Shards: what webdataset reads in them, that they are the set they were made of, and what damage does to them."""

import errno
import gc
import hashlib
import io
import json
import os
import shutil
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

import firstlight as fl
from firstlight.cli.entry import main
from firstlight.data import sharding
from firstlight.data.sources import load_data
from firstlight.data.store import pack as pack_store
from firstlight.errors import DataError, ImageError, RecipeError, WriteError

STRANGE = (
    "a.b.c.png",
    "new\nline.png",
    "\udcff\udcfe.png",
    "emoji \N{CAT FACE}.PNG",
    "_hidden.x.png",
    "no space",
    "=1+1.png",
)


@pytest.fixture
def strange(tmp_path, files) -> Path:
    """Two classes of pictures with strange names, one broken and one empty."""
    root = tmp_path / "strange"
    for label in ("cat", "dog.1"):
        (root / label).mkdir(parents=True)
        for name, data in zip(STRANGE, files, strict=False):
            if name.lower().endswith("png"):
                Path(root, label, name).write_bytes(data)
    (root / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (root / "dog.1" / "empty.png").write_bytes(b"")
    return root


def contents(samples) -> list[object]:
    found = []
    for row in range(len(samples)):
        try:
            found.append(samples.images.read(row))
        except ImageError as reason:
            found.append(str(reason))
    return found


def require_same(one, other) -> None:
    assert (one.names, one.classes, one.groups, one.notes) == (other.names, other.classes, other.groups, other.notes)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert (one.splits is None) == (other.splits is None)
    if one.splits is not None:
        np.testing.assert_array_equal(one.splits, other.splits)


def test_shards_hold_the_files_byte_for_byte_whatever_their_names(strange, tmp_path):
    given = load_data(strange)
    packed = fl.pack(strange, shards=tmp_path / "shards", shard_images=5)
    assert (packed.images, packed.shards, packed.unreadable) == (14, 3, {})
    found = load_data(tmp_path / "shards")
    require_same(found, given)
    assert contents(found) == contents(given)
    assert found.images.content_key() == given.images.content_key()
    assert pack_store(found).quarantined == pack_store(given).quarantined
    assert len(pack_store(found).quarantined) == 2


def test_webdataset_reads_all_pictures_and_labels(digit_folder, tmp_path):
    fl.pack(digit_folder, shards=tmp_path / "shards", shard_images=50)
    given = load_data(digit_folder)
    shards = sorted(str(path) for path in (tmp_path / "shards").glob("*.tar"))
    assert len(shards) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files open
        rows = list(webdataset.WebDataset(shards, shardshuffle=False).decode("l8"))
        gc.collect()
    assert [row["json"]["name"] for row in rows] == list(given.names)
    assert [row["cls"] for row in rows] == given.labels.tolist()
    assert [row["json"]["label"] for row in rows] == [given.classes[label] for label in given.labels]
    for row, data in zip(rows, contents(given), strict=True):
        np.testing.assert_array_equal(row["png"], np.asarray(Image.open(io.BytesIO(data))))


def test_training_on_shards_gives_the_same_bits_as_on_the_folder(digit_folder, tmp_path, monkeypatch):
    fl.pack(digit_folder, shards=tmp_path / "shards", shard_images=50)
    digests = []
    for source in (digit_folder, tmp_path / "shards"):
        monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / f"cache of {source.name}"))
        run = fl.train(source, model="mlp", hidden=(8,), epochs=1, out=tmp_path / f"run on {source.name}")
        tables = [(run.folder / name).read_bytes() for name in ("split.csv", "quarantine.csv", "model.safetensors")]
        digests.append([hashlib.sha256(table).hexdigest() for table in tables])
    assert digests[0] == digests[1]
    assert fl.evaluate(run, tmp_path / "shards").evaluation.accuracy == run.test.accuracy


def test_the_same_set_becomes_the_same_bytes(strange, tmp_path):
    for name, workers in (("one", 1), ("two", 3)):
        fl.pack(strange, shards=tmp_path / name, workers=workers)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert set(one) == {"shard-000000.tar", "index.parquet", "firstlight-shards.json"}


def test_arrays_become_png_files_with_the_same_pixels_splits_and_class_order(digits, tmp_path):
    images, labels = digits
    parts = {"train": (images[:30], labels[:30]), "test": (images[30:40], labels[30:40])}
    given = load_data(parts)
    fl.pack(parts, shards=tmp_path / "shards")
    found = load_data(tmp_path / "shards")
    require_same(found, given)
    np.testing.assert_array_equal(pack_store(found).pixels, pack_store(given).pixels)
    assert pack_store(found).duplicates == pack_store(given).duplicates


def test_groups_of_a_list_are_kept(digit_folder, tmp_path):
    names = load_data(digit_folder).names[:20]
    table = tmp_path / "list.csv"
    rows = [f"{digit_folder / name},{name[0]},patient {number // 3}" for number, name in enumerate(names)]
    table.write_text("image,label,group\n" + "\n".join(rows), "utf-8")
    fl.pack(table, shards=tmp_path / "shards")
    require_same(load_data(tmp_path / "shards"), load_data(table))


def test_what_cannot_be_read_is_in_the_index_with_its_reason(digit_folder, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(digit_folder, folder)
    samples = load_data(folder)
    (folder / samples.names[3]).unlink()
    packed = fl.pack(samples, shards=tmp_path / "shards")
    assert packed.unreadable == {samples.names[3]: "the file cannot be read: No such file or directory"}
    store = pack_store(load_data(tmp_path / "shards"))
    assert store.quarantined == {3: "the file cannot be read: No such file or directory"}


def test_threads_read_shards_at_once(digit_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("firstlight.data.sources.shards.KEPT_OPEN", 2)
    fl.pack(digit_folder, shards=tmp_path / "shards", shard_images=30)
    found, wanted = load_data(tmp_path / "shards"), contents(load_data(digit_folder))
    wrong = []

    def read(order) -> None:
        wrong.extend(row for row in order if found.images.read(row) != wanted[row])

    threads = [threading.Thread(target=read, args=([*range(seed, 120), *range(seed)],)) for seed in (0, 40, 80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --------------------------------------------------------------------------------------------------------- damage


@pytest.fixture
def shards(digit_folder, tmp_path) -> Path:
    fl.pack(digit_folder, shards=tmp_path / "shards", shard_images=50)
    return tmp_path / "shards"


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_damaged_picture_is_set_aside_and_comes_back_with_its_shard(shards, digit_folder):
    undamaged = (shards / "shard-000001.tar").read_bytes()
    overwrite(shards / "shard-000001.tar", 512 + 40, b"damage")
    found = load_data(shards)
    store = pack_store(found)
    assert store.quarantined == {50: "shard-000001.tar is damaged here: these are not the bytes that were packed"}
    assert pack_store(load_data(digit_folder)).quarantined == {}
    (shards / "shard-000001.tar").write_bytes(undamaged)
    assert pack_store(load_data(shards)).quarantined == {}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "shard-000002.tar").unlink(), "shard-000002.tar cannot be read: No such file"),
        (lambda folder: os.truncate(folder / "shard-000001.tar", 5000), "shard-000001.tar has 5,000 bytes, but "),
        (lambda folder: (folder / "index.parquet").unlink(), "index.parquet cannot be read: No such file"),
        (
            lambda folder: overwrite(folder / "index.parquet", 100, b"x"),
            "index.parquet is not the one that was written",
        ),
        (lambda folder: (folder / "firstlight-shards.json").write_text("{"), "firstlight-shards.json is damaged"),
        (lambda folder: changed(folder, format=2), "was packed by a newer firstlight (format 2)"),
        (lambda folder: changed(folder, images=7), "index.parquet does not fit"),
        (lambda folder: changed(folder, classes=["a", "b"]), "index.parquet does not fit"),
        (lambda folder: renamed(folder, "../../etc/passwd"), "firstlight-shards.json is damaged: ../../etc/passwd"),
        (lambda folder: reindexed(folder, offset=-5), "index.parquet does not fit"),
        (lambda folder: reindexed(folder, offset=2**40), "index.parquet does not fit"),
        (lambda folder: reindexed(folder, size=2**40), "index.parquet does not fit"),
        (lambda folder: reindexed(folder, shard=3), "index.parquet does not fit"),
        (lambda folder: reindexed(folder, shard=-1), "index.parquet does not fit"),
        (lambda folder: reindexed(folder, label=-1), "index.parquet does not fit"),
        (lambda folder: reindexed(folder, label=10), "index.parquet does not fit"),
        (lambda folder: reindexed(folder, split="tset"), "index.parquet does not fit"),
        (lambda folder: reindexed(folder, name=None), "index.parquet does not fit"),
    ],
)
def test_damage_to_the_folder_is_one_line(shards, damage, told):
    damage(shards)
    with pytest.raises(DataError) as error:
        load_data(shards)
    assert told in str(error.value)


def changed(folder: Path, **values: object) -> None:
    path = folder / "firstlight-shards.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def renamed(folder: Path, name: str) -> None:
    shards = json.loads((folder / "firstlight-shards.json").read_text("utf-8"))["shards"]
    changed(folder, shards=[shards[0] | {"file": name}, *shards[1:]])


def reindexed(folder: Path, **values: object) -> None:
    """Change the seventh row of the index, and its digest in the manifest, as somebody might who means harm."""
    from pyarrow import Table, parquet

    table = parquet.read_table(folder / "index.parquet")
    rows = table.to_pylist()
    rows[7] |= values
    parquet.write_table(Table.from_pylist(rows, table.schema), folder / "index.parquet")
    changed(folder, index=hashlib.sha256((folder / "index.parquet").read_bytes()).hexdigest())


# -------------------------------------------------------------------------------------------------- where it writes


def test_a_folder_with_anything_else_in_it_is_left_alone(digit_folder, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty; choose a new folder for the shards"):
        fl.pack(digit_folder, shards=tmp_path)
    with pytest.raises(DataError, match="is a file; choose a new folder"):
        fl.pack(digit_folder, shards=tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_finished_shards_are_never_replaced(shards, digit_folder):
    with pytest.raises(DataError, match="is not empty"):
        fl.pack(digit_folder, shards=shards)
    assert len(load_data(shards)) == 120


def test_what_a_killed_pack_left_is_no_set_and_is_removed_by_the_next(shards, digit_folder, tmp_path):
    wanted = {path.name: path.read_bytes() for path in shards.iterdir()}
    for name in ("firstlight-shards.json", "index.parquet"):
        (shards / name).unlink()
    (shards / "shard-000002.tar").rename(shards / "shard-000002.tar.part")
    (shards / sharding.UNFINISHED_FILE).touch()
    with pytest.raises(DataError, match="are not packed to the end"):
        load_data(shards)
    fl.pack(digit_folder, shards=shards, shard_images=50)
    assert {path.name: path.read_bytes() for path in shards.iterdir()} == wanted


def test_two_processes_do_not_write_into_one_folder(digit_folder, tmp_path):
    with sharding._own(tmp_path / "shards"), pytest.raises(DataError, match="another process is writing shards there"):
        fl.pack(digit_folder, shards=tmp_path / "shards")


@pytest.mark.parametrize("existed", [False, True])
def test_a_full_disk_is_one_line_and_leaves_nothing(digit_folder, tmp_path, monkeypatch, existed):
    if existed:
        (tmp_path / "shards").mkdir()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sharding.os, "fsync", full)
    with pytest.raises(WriteError, match="cannot be written: the disk is full; free some room, or choose a folder on"):
        fl.pack(digit_folder, shards=tmp_path / "shards", shard_images=50)
    assert [path.name for path in tmp_path.rglob("*")] == ["shards"] * existed


@pytest.mark.parametrize("wrong", [{"shard_mb": 0}, {"shard_images": 0}, {"shard_mb": 1.5}, {"shard_mb": True}])
def test_sizes_out_of_range_are_refused(digit_folder, tmp_path, wrong):
    with pytest.raises(RecipeError, match="choose a whole number from 1 to"):
        fl.pack(digit_folder, shards=tmp_path / "shards", **wrong)


# ------------------------------------------------------------------------------------------------ the command line


def test_the_command_packs_and_others_read_it(strange, tmp_path, capsys):
    assert main(["pack", str(strange), "--shards", str(tmp_path / "shards"), "--shard-images", "5"]) == 0
    assert "14 pictures in 3 shards of" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "shards"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["quarantined"]) == 2
    assert main(["pack", str(strange)]) == 2
    assert capsys.readouterr().err == "firstlight: give --shards, a new folder for them\n"


def test_predict_answers_for_every_picture_in_shards(digit_run, shards, digit_folder):
    found = fl.predict(digit_run, shards)
    assert [each.image.removeprefix(f"{shards}/") for each in found] == list(load_data(digit_folder).names)
    assert [each.label for each in found] == [each.label for each in fl.predict(digit_run, digit_folder)]
