"""Links are followed on request; a class that is mostly links stops; links inside an archive are resolved there."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from firstlight.api import check, evaluate, train
from firstlight.data.sources import load_data
from firstlight.errors import DataError

NAMES = [f"{word}/{number}.png" for word in ("cat", "dog") for number in range(4)]


@pytest.fixture
def real(tmp_path, named) -> Path:
    return named(tmp_path / "real", NAMES)


def link(place: Path, target: Path | str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


@pytest.fixture
def half(tmp_path, real) -> Path:
    """A set of which three of four cats are links."""
    for name in NAMES:
        place = tmp_path / "half" / name
        if name in NAMES[1:4]:
            link(place, real / name)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((real / name).read_bytes())
    return tmp_path / "half"


def test_links_to_files_and_to_class_folders_are_followed_on_request(tmp_path, real):
    for word in ("cat", "dog"):
        link(tmp_path / "folders" / word, real / word)
    for name in NAMES:
        link(tmp_path / "files" / name, real / name)
    for kind in ("folders", "files"):
        with pytest.raises(DataError, match=r"symbolic links in it are not followed; set `follow_links`"):
            load_data(tmp_path / kind)
        data = load_data(tmp_path / kind, follow_links=True)
        assert data.names == tuple(NAMES) and data.classes == ("cat", "dog") and data.notes == ()
        assert data.images.read(0) == b"not looked at" and data.images.content_key()


def test_a_class_that_is_mostly_links_stops(half):
    with pytest.raises(DataError, match="3 of the 4 pictures of cat are symbolic links.*set `follow_links`"):
        load_data(half)
    assert len(load_data(half, follow_links=True)) == 8


def test_a_few_links_are_a_note(tmp_path, named, real):
    root = named(tmp_path / "set", NAMES)
    link(root / "cat" / "9.png", real / "cat/0.png")
    data = load_data(root)
    assert len(data) == 8
    assert data.notes == ("left out: 1 symbolic link which `follow_links` would read, such as cat/9.png",)


@pytest.mark.parametrize("place", ["fox", "test"])
def test_a_class_or_split_that_is_a_link_is_never_lost(tmp_path, named, real, place):
    root = named(tmp_path / "set", [f"train/{name}" for name in NAMES] if place == "test" else NAMES)
    link(root / place, real if place == "test" else real / "cat")
    with pytest.raises(DataError, match=f"{place} is a symbolic link, and links are not followed; set `follow_links`"):
        load_data(root)
    assert len(load_data(root, follow_links=True)) == (16 if place == "test" else 12)


def test_circles_end_and_every_file_is_read_once(tmp_path, named):
    root = named(tmp_path / "set", NAMES)
    link(root / "cat" / "loop", root)
    link(root / "dog" / "self", root / "dog" / "self")
    link(root / "cat" / "again.png", root / "cat" / "0.png")
    link(root / "dog" / "gone.png", root / "nowhere.png")
    data = load_data(root, follow_links=True)
    assert data.names == tuple(NAMES)
    assert data.notes == (
        "left out: 2 symbolic links pointing nowhere, such as dog/gone.png",
        "left out: 2 symbolic links to what is in the set already, such as cat/again.png",
    )


def test_links_among_links_end_too(tmp_path, named):
    for word, other in (("cat", "dog"), ("dog", "cat")):
        named(tmp_path / "away" / word, [f"{number}.png" for number in range(3)])
        link(tmp_path / "away" / word / "other", tmp_path / "away" / other)
        link(tmp_path / "set" / word, tmp_path / "away" / word)
    assert len(load_data(tmp_path / "set", follow_links=True)) == 6


def test_a_file_that_links_put_into_two_classes_stays_in_both(tmp_path, named):
    root = named(tmp_path / "set", NAMES)
    link(root / "dog" / "cat0.png", root / "cat" / "0.png")
    assert "dog/cat0.png" in load_data(root, follow_links=True).names


def test_a_run_keeps_the_choice_and_evaluation_follows_it(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    real = pictures(tmp_path / "real", [f"{word}/{number}.png" for word in ("a", "b") for number in range(9)])
    for word in ("a", "b"):
        link(tmp_path / "linked" / word, real / word)
    run = train("linked", model="mlp", hidden=(8,), epochs=1, follow_links=True)
    assert "follow_links = true" in (run.folder / "recipe.toml").read_text()
    assert evaluate(run.folder, "linked", split="valid").evaluation.accuracy.n == len(run.data.split.valid)
    assert check("linked", follow_links=True).to_json()["n"] == 18


def add_link(archive: tarfile.TarFile, name: str, target: str, kind: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    archive.addfile(info)


@pytest.mark.parametrize(
    ("name", "target", "kind"),
    [
        ("set/cat/9.png", "set/cat/0.png", tarfile.LNKTYPE),
        ("set/cat/9.png", "./set/cat/0.png", tarfile.LNKTYPE),
        ("set/cat/9.png", "0.png", tarfile.SYMTYPE),
        ("set/cat/9.png", "../cat/./0.png", tarfile.SYMTYPE),
        ("set/cat/9.png", "../../.store/0.png", tarfile.SYMTYPE),
    ],
)
def test_a_link_inside_a_tar_is_the_member_that_it_names(tmp_path, real, name, target, kind):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(real, "set")
        hidden = tarfile.TarInfo(".store/0.png")
        hidden.size = 13
        archive.addfile(hidden, io.BytesIO(b"not looked at"))
        add_link(archive, name, target, kind)
    data = load_data(tmp_path / "set.tar")
    assert "cat/9.png" in data.names
    assert data.images.read(data.names.index("cat/9.png")) == b"not looked at"


def test_the_hard_link_that_tar_makes_by_itself_is_read(tmp_path, real):
    os.link(real / "cat" / "0.png", real / "cat" / "again.png")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(real, "set")
        assert sum(member.islnk() for member in archive.getmembers()) == 1
    assert load_data(tmp_path / "set.tar").names == load_data(real).names


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/etc/passwd", tarfile.SYMTYPE),
        ("../../../etc/passwd", tarfile.SYMTYPE),
        ("../cat", tarfile.SYMTYPE),
        ("9.png", tarfile.SYMTYPE),
        ("/etc/passwd", tarfile.LNKTYPE),
        ("../etc/passwd", tarfile.LNKTYPE),
        ("set/cat/missing.png", tarfile.LNKTYPE),
    ],
)
def test_a_link_that_leaves_the_archive_or_leads_to_no_file_is_refused(tmp_path, real, target, kind):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(real, "set")
        add_link(archive, "set/cat/9.png", target, kind)
    with pytest.raises(
        DataError, match=r"set/cat/9\.png is a link to .*, which is not a file in the archive; pack the"
    ):
        load_data(tmp_path / "set.tar")


@pytest.mark.parametrize(
    ("target", "good"), [("0.png", True), ("../dog/0.png", True), ("../../x", False), ("/x", False)]
)
def test_a_link_inside_a_zip_is_the_member_that_it_names(tmp_path, real, target, good):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in NAMES:
            archive.write(real / name, name)
        info = zipfile.ZipInfo("cat/9.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    if good:
        assert len(load_data(tmp_path / "set.zip")) == 9
    else:
        with pytest.raises(DataError, match=r"cat/9\.png is a link to"):
            load_data(tmp_path / "set.zip")
