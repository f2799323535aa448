"""What is kept is what was written, to the bit, or it is made again; there is no third way."""

import io
import os
import shutil

import numpy as np
import pytest
import xxhash

from firstlight import cache
from firstlight.errors import DataError
from firstlight.progress import announcements_to
from firstlight.verified import Kind, VerifiedFolder, kept, read_line, write_line
from firstlight.verified.blocks import BLOCK_BYTES, Blocks, DamagedError, DigestingFile

KIND = Kind("things", 3, "things")
KEY = "0123456789abcdef"
TABLE = np.random.default_rng(0).integers(0, 256, (50, 60, 50), np.uint8)  # two blocks and a part of a third
FILES = ["blocks.json", "table.npy", "facts"]


class Maker:
    """Keeps a table and some bytes, and counts how often it makes them."""

    def __init__(self):
        self.made, self.said = 0, []

    def write(self, files):
        self.made += 1
        files.save("table.npy", TABLE)
        files.write("facts", b"some facts")

    @staticmethod
    def read(files):
        return files.map("table.npy"), files.read("facts")

    def __call__(self):
        with announcements_to(self.said.append):
            return kept(KIND, KEY, self.read, self.write)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_stand_ins", {})
    return tmp_path / "cache" / KIND.folder / KEY


@pytest.fixture
def maker():
    return Maker()


def a_pickle(file):
    with io.BytesIO() as content:
        np.save(content, np.array([{}], object), allow_pickle=True)
        return content.getvalue()


DAMAGES = {
    "one bit": lambda whole: whole[:-8] + bytes([whole[-8] ^ 8]) + whole[-7:],
    "the last bit": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    "zeros": lambda whole: whole[:-9] + bytes(9),
    "cut off": lambda whole: whole[:-1],
    "longer": lambda whole: whole + b"]",
    "empty": lambda _: b"",
    "a pickle": a_pickle,
    "not ASCII": lambda _: b"\xc3\xbc\xff",
    "deep": lambda _: b"[" * 100_000,
    "another table": lambda whole: whole.replace(b"(50, 60, 50)", b"(60, 50, 50)"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_made_again_with_one_note(name, damage, maker, place):
    table, _ = maker()
    whole = (place / name).read_bytes()
    changed = DAMAGES[damage](whole)
    (place / name).unlink()
    (place / name).write_bytes(changed)
    again, facts = maker()
    assert np.array_equal(again, TABLE) and facts == b"some facts"
    assert np.array_equal(table, TABLE), "a reader goes on"
    assert (maker.made, len(maker.said)) == ((2, 1) if changed != whole else (1, 0))
    assert (place / name).read_bytes() == whole
    assert [file.name for file in place.parent.iterdir()] == [KEY]


def in_the_way(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.write_text("a file")


ELSE = {
    "gone": lambda place: (place / "facts").unlink(),
    "digests gone": lambda place: (place / "blocks.json").unlink(),
    "a folder for a file": lambda place: ((place / "facts").unlink(), (place / "facts").mkdir()),
    "a file for the folder": in_the_way,
    "a dangling link": lambda place: (shutil.rmtree(place), place.symlink_to("/nowhere")),
    "a pipe for a file": lambda place: ((place / "facts").unlink(), os.mkfifo(place / "facts")),
    "of another key": lambda place: (place.rename(place.with_name("other")), place.with_name("other"), shutil.copytree(
        place.with_name("other"), place), (place / "blocks.json").write_text(
        (place / "blocks.json").read_text().replace(KEY, "other"))),
}  # fmt: skip


@pytest.mark.parametrize("what", ELSE)
def test_so_is_what_is_missing_or_something_else(what, maker, place):
    maker()
    ELSE[what](place)
    table, facts = maker()
    assert np.array_equal(table, TABLE) and facts == b"some facts" and maker.made == 2 and len(maker.said) == 1


def test_without_comparing_damage_would_go_unseen(maker, place, monkeypatch):
    """The control: the check above can fail."""
    maker()
    (place / "table.npy").write_bytes(DAMAGES["the last bit"]((place / "table.npy").read_bytes()))
    monkeypatch.setattr(Blocks, "_compare", lambda *_: None)
    assert not np.array_equal(maker()[0], TABLE)


def test_a_file_where_the_kind_has_its_folder_is_left_alone_and_a_temporary_folder_used(maker, place, capfd):
    place.parent.parent.mkdir()
    place.parent.write_text("a file of somebody")
    assert np.array_equal(maker()[0], TABLE) and np.array_equal(maker()[0], TABLE)
    assert maker.made == 1
    assert "things-3 cannot be written" in capfd.readouterr().err
    assert place.parent.read_text() == "a file of somebody"


def test_too_many_open_files_are_no_damage(maker, place, monkeypatch):
    maker()

    def fails(_path):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("firstlight.verified.files.open_regular", fails)
    with pytest.raises(OSError, match="Too many"):
        maker()
    assert place.is_dir()


def test_a_disk_that_damages_what_was_just_written_is_told(maker, monkeypatch):
    monkeypatch.setattr(DigestingFile, "digests", lambda _self: "0" * 16 * 3)
    with pytest.raises(DataError, match="just written there is damaged .*set FIRSTLIGHT_CACHE"):
        maker()
    assert maker.made == 2


def test_what_earlier_versions_kept_goes_after_a_month_without_use_and_nothing_else_does(maker, place):
    root = place.parent.parent
    ours, recent, users = "a" * 32, "b" * 32, "photos"
    stays = [f"things-2/{recent}", f"things-2/{users}", f"things-4/{ours}", f"thing/{ours}", f"things-x/{ours}"]
    for name in (f"things/{ours}", f"things-2/{ours}", *stays):
        (root / name).mkdir(parents=True)
        os.utime(root / name, (0, 0))
    os.utime(root / "things-2" / recent)
    maker()
    assert {str(path.relative_to(root)) for path in root.glob("*/*")} == {*stays, f"{place.parent.name}/{KEY}"}
    assert not (root / "things").exists()
    os.utime(place, (0, 0))
    maker()
    assert place.stat().st_mtime > 1e9, "it was used"


@pytest.mark.parametrize("step", [997, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 10**6])
def test_digests_do_not_depend_on_how_a_file_is_written(step):
    content, file = TABLE.tobytes(), DigestingFile(io.BytesIO())
    for start in range(0, len(content), step):
        file.write(content[start : start + step])
    expected = [xxhash.xxh3_64_hexdigest(content[at : at + BLOCK_BYTES]) for at in range(0, len(content), BLOCK_BYTES)]
    assert file.digests() == "".join(expected)


@pytest.mark.parametrize(
    "index", [7, -1, slice(3, 9), np.array([40, 2]), (4, slice(None, None, 2)), np.arange(50) == 5, slice(0)]
)
def test_rows_are_compared_when_they_are_used(index, maker, place):
    maker()
    rows = VerifiedFolder(place).map_lazily("table.npy", pytest.fail)
    assert np.array_equal(rows[index], TABLE[index])
    assert np.array_equal(np.asarray(rows), TABLE) and len(rows) == 50 and rows.shape == TABLE.shape


def test_every_damaged_row_is_noticed_and_no_other(maker, place):
    maker()
    whole = (place / "table.npy").read_bytes()
    (place / "table.npy").write_bytes(whole[: 128 + 30 * 3000] + b"\0" + whole[128 + 30 * 3000 + 1 :])

    def refuse(why):
        raise DamagedError(why)

    rows = VerifiedFolder(place).map_lazily("table.npy", refuse)
    block = range(
        (BLOCK_BYTES - 128) // 3000, (2 * BLOCK_BYTES - 128) // 3000 + 1
    )  # rows that reach into the second one
    for row in range(50):
        if row in block:
            with pytest.raises(DamagedError):
                rows[row]
        else:
            assert np.array_equal(rows[row], TABLE[row])


def test_a_line_is_read_only_as_it_was_written_and_where_it_was_written(tmp_path):
    write_line(tmp_path / "a", "é = 1.5")
    assert read_line(tmp_path / "a") == "é = 1.5"
    shutil.copy(tmp_path / "a", tmp_path / "b")
    whole = (tmp_path / "a").read_bytes()
    for damaged in (
        b"",
        b"\xff",
        whole[:-1],
        whole.replace(b"5", b"6"),
        whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
    ):
        (tmp_path / "a").write_bytes(damaged)
        assert read_line(tmp_path / "a") is None
    assert read_line(tmp_path / "b") is None
    assert read_line(tmp_path / "missing") is None


def test_rows_may_be_read_by_several_threads_since_comparing_moves_no_position(maker, place):
    maker()
    rows = VerifiedFolder(place).map_lazily("table.npy", pytest.fail)
    rows._file.seek(7)
    assert np.array_equal(rows[30], TABLE[30]) and rows._file.tell() == 7


def test_a_reader_that_does_not_understand_what_was_just_written_is_no_damage():
    with pytest.raises(KeyError, match="ours"):
        kept(KIND, KEY, lambda _files: {}["ours"], Maker().write)
