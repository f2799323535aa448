"""Every source, from real pictures: what it gives, and the one line it says where it cannot."""

import errno
import gzip
import hashlib
import io
import os
import stat
import struct
import tarfile
import threading
import unicodedata
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from firstlight.data import image_sources
from firstlight.data.dataset import open_dataset
from firstlight.data.images import decode
from firstlight.data.sources import NAMED_SETS, archive_index, archives, load_data, named_sets
from firstlight.errors import DataError, ImageError

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write(root: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def pack_tar(path: Path, contents: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pack_zip(path: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def bare(files: list[bytes]) -> dict[str, bytes]:
    names = ("cat/b.png", "cat/a.png", "cat/more/c.PNG", "dog/a.png", "ant/x y.png")
    return dict(zip(names, files, strict=False))


def split(files: list[bytes]) -> dict[str, bytes]:
    names = [f"{part}/{word}/{n}.png" for part in ("train", "val", "test") for word in ("no", "yes") for n in (1, 2)]
    return dict(zip(names, files, strict=False))


def refuses(source: object, *words: str, **options: object) -> str:
    """Check that loading fails with one line that contains all `words`."""
    with pytest.raises(DataError) as caught:
        load_data(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


# ---- folders


def test_class_folders_give_sorted_images_with_nested_folders_in_their_class(tmp_path, files):
    root = write(tmp_path / "pets", bare(files))
    data = load_data(root)
    assert data.names == ("ant/x y.png", "cat/a.png", "cat/b.png", "cat/more/c.PNG", "dog/a.png")
    assert data.classes == ("ant", "cat", "dog") and data.labels.tolist() == [0, 1, 1, 1, 2]
    assert data.labels.dtype == np.int64 and data.splits is None and data.groups is None and data.notes == ()
    assert (data.name, data.source) == ("pets", str(root))
    assert [data.images.read(row) for row in range(5)] == [bare(files)[name] for name in data.names]


@pytest.mark.parametrize("valid", ["val", "valid", "validation", "Valid"])
def test_split_folders_are_read_by_their_names(tmp_path, files, valid):
    contents = {name.replace("val/", f"{valid}/"): data for name, data in split(files).items()}
    data = load_data(str(write(tmp_path, contents)))
    assert data.classes == ("no", "yes")
    by_name = {"train": 0, valid: 1, "test": 2}
    assert data.splits.tolist() == [by_name[name.split("/")[0]] for name in data.names]
    assert data.splits.dtype == np.int8
    assert data.labels.tolist() == [int(name.split("/")[1] == "yes") for name in data.names]


def test_a_class_may_be_called_train(tmp_path, files):
    data = load_data(write(tmp_path, {"bus/1.png": files[0], "train/1.png": files[1], "test/1.png": files[2]}))
    assert data.classes == ("bus", "test", "train") and data.splits is None


def test_litter_is_ignored_and_everything_else_left_out_is_noted(tmp_path, files):
    root = write(tmp_path / "set", bare(files))
    litter = {"__MACOSX/cat/._a.png": b"", ".git/x.png": b"", "cat/.hidden.png": b"", "cat/Thumbs.db": b""}
    write(root, {**litter, "cat/notes.txt": b"hello", "labels.csv": b"x", "loose.png": files[9]})
    outside = write(tmp_path / "outside", {"secret.png": files[0]})
    (root / "cat" / "link.png").symlink_to(outside / "secret.png")
    (root / "dog" / "loop").symlink_to(root)
    (root / "cat" / "inside.png").symlink_to(root / "dog" / "a.png")
    data = load_data(root)
    assert len(data) == 5
    assert data.notes == (
        "left out: 1 picture outside the class folders, such as loose.png",
        "left out: 2 files without the extension of a picture, such as cat/notes.txt",
        "left out: 2 pictures in hidden files or folders, such as .git/x.png",
        "left out: 3 symbolic links which `follow_links` would read, such as cat/inside.png",
    )


def test_names_that_are_not_unicode_survive(tmp_path, files):
    root = write(tmp_path, bare(files))
    odd = os.fsdecode(b"caf\xe9\n.png")
    try:
        (root / "dog" / odd).write_bytes(files[7])
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    data = load_data(root)
    row = data.names.index(f"dog/{odd}")
    assert data.images.read(row) == files[7]
    assert data.images.content_key()


def test_all_digit_class_names_get_a_note_on_their_order(tmp_path, files):
    data = load_data(write(tmp_path, {f"{label}/x.png": files[label] for label in (1, 2, 10)}))
    assert data.classes == ("1", "10", "2")
    assert "ordered as text: 1, 10, 2" in data.notes[0]
    (tmp_path / "10").rename(tmp_path / "3")
    assert not load_data(tmp_path).notes, "there is nothing to say about 1, 2, 3"


def test_a_missing_folder_suggests_what_was_meant(tmp_path, files):
    write(tmp_path / "flowers", bare(files))
    refuses(str(tmp_path / "flower"), "no such folder", f"did you mean {tmp_path / 'flowers'}?")
    refuses("fashion_mnist", "did you mean fashion-mnist?")
    refuses("CIFAR-10", "did you mean cifar10?")
    refuses(str(tmp_path / "a" / "b"), f"its folder {tmp_path / 'a'} does not exist")
    refuses(tmp_path / "flowers" / "cat" / "a.png", "neither an archive", "nor a list")


def test_folders_without_classes_or_images_are_explained(tmp_path, files):
    (tmp_path / "empty").mkdir()
    assert refuses(tmp_path / "empty").endswith("; it is empty")
    (tmp_path / "empty" / "cat").mkdir()
    assert refuses(tmp_path / "empty").endswith("; its folders are empty")
    refuses(
        write(tmp_path / "heic", {"a/1.psd": b"x", "b/2.PSD": b"x"}), "no pictures", "all of its 2 files end in .psd"
    )
    refuses(write(tmp_path / "flat", {"1.png": files[0]}), "no class folders")
    refuses(write(tmp_path / "flat2", {"train/1.png": files[0], "test/1.png": files[1]}), "no class folders")
    one = load_data(write(tmp_path / "one", {"cat/1.png": files[0]}))
    assert one.classes == ("cat",), "it can be checked and scored"
    with pytest.raises(DataError, match="only one class, cat; a classifier needs at least two"):
        open_dataset(one)
    refuses(
        write(tmp_path / "wrapped", {"in/cat/1.png": files[0], "in/dog/1.png": files[1]}),
        f"use {tmp_path / 'wrapped' / 'in'}",
    )


def test_an_empty_class_folder_is_named(tmp_path, files):
    root = write(tmp_path / "bare", bare(files))
    (root / "bee").mkdir()
    write(root, {"wasp/readme.txt": b"none yet"})
    refuses(root, "class folders without pictures", "bee, wasp")
    root = write(tmp_path / "split", split(files))
    (root / "train" / "maybe").mkdir()
    refuses(root, "train/maybe")


def test_split_folders_whose_classes_differ_are_refused(tmp_path, files):
    contents = split(files)
    refuses(write(tmp_path / "a", {**contents, "test/maybe/1.png": files[30]}), "only the test split has maybe")
    only_train = load_data(write(tmp_path / "b", {**contents, "train/maybe/1.png": files[30]}))
    assert only_train.classes == ("maybe", "no", "yes")
    refuses(write(tmp_path / "c", {**contents, "valid/no/1.png": files[30]}), "val and valid are the same split")
    refuses(write(tmp_path / "d", {**contents, "extra/no/1.png": files[30]}), "beside extra")


def test_two_unicode_forms_of_one_name_are_refused(tmp_path, files):
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    root = write(tmp_path, {f"{form}/1.png": data for form, data in zip(forms, files, strict=False)})
    if len(list(root.iterdir())) < 2:
        pytest.skip("this file system holds both forms for one name")
    refuses(root, "two Unicode forms", r"caf\xe9")
    only = load_data(write(tmp_path / "only", {f"{forms[1]}/1.png": files[0], "b/1.png": files[1]}))
    assert only.classes == ("b", forms[0]), "class names are composed, wherever the folder was made"


def test_an_unreadable_folder_is_named_and_an_unreadable_file_is_a_image_error(tmp_path, files, monkeypatch):
    root = write(tmp_path, bare(files))
    data = load_data(root)
    (root / "cat" / "a.png").unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        data.images.read(data.names.index("cat/a.png"))
    listing = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    refuses(root, "dog cannot be listed: Permission denied")


def test_the_users_folder_is_never_written(tmp_path, files):
    root = write(tmp_path, bare(files))
    before = {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}
    data = load_data(root)
    data.images.content_key()
    assert {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))} == before


# ---- content keys


def test_the_content_key_follows_bytes_names_and_order(tmp_path, files, monkeypatch):
    monkeypatch.setattr(image_sources, "MIN_AGE_SECONDS", -60.0)  # trust files that are this young
    root = write(tmp_path / "a", bare(files))
    key = load_data(root).images.content_key()
    assert load_data(root).images.content_key() == key
    assert load_data(write(tmp_path / "b", bare(files))).images.content_key() == key, "a copy is the same set"
    (root / "cat" / "a.png").write_bytes(files[20])
    changed = load_data(root).images.content_key()
    assert changed != key
    (root / "cat" / "a.png").rename(root / "cat" / "z.png")
    assert load_data(root).images.content_key() not in (key, changed)


class Clock(NamedTuple):
    """It always shows the same time, in seconds, as a test needs it."""

    shown: float

    def time(self) -> float:
        return self.shown


def test_a_known_folder_is_not_read_again_but_a_young_one_is(tmp_path, files, monkeypatch):
    root = write(tmp_path, bare(files))
    reads = []
    read = image_sources.FileImages.read
    monkeypatch.setattr(image_sources.FileImages, "read", lambda self, row: reads.append(row) or read(self, row))
    images = load_data(root).images
    newest = max(path.stat().st_ctime for path in root.rglob("*.png"))
    monkeypatch.setattr(image_sources, "time", Clock(newest))
    for _ in range(2):
        images.content_key()
    assert len(reads) == 10, "just written: a change within the clock's tick would not show"
    monkeypatch.setattr(image_sources, "time", Clock(newest + 60))
    for _ in range(3):
        images.content_key()
    assert len(reads) == 15


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, files, monkeypatch):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder should be")
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(blocked))
    monkeypatch.setattr(image_sources, "MIN_AGE_SECONDS", -60.0)
    assert load_data(write(tmp_path / "set", bare(files))).images.content_key()


# ---- archives

PACKERS = {
    ".tar": pack_tar,
    ".tar.gz": lambda path, contents: pack_tar(path, contents, "w:gz"),
    ".tgz": lambda path, contents: pack_tar(path, contents, "w:gz"),
    ".zip": pack_zip,
}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("wrapper", ["", "./", "holidays 2024/"])
def test_an_archive_gives_what_its_folder_gives(tmp_path, files, suffix, wrapper):
    litter = {"__MACOSX/cat/._a.png": b"x", f"{wrapper}.DS_Store": b"x", ".git/config": b"x"}
    for number, contents in enumerate((bare(files), split(files))):
        folder = load_data(write(tmp_path / f"folder{number}", contents))
        packed = {**litter, **{wrapper + name: data for name, data in contents.items()}}
        data = load_data(PACKERS[suffix](tmp_path / f"my set{number}{suffix}", packed))
        assert data.names == folder.names and data.classes == folder.classes and data.notes == ()
        assert data.labels.tolist() == folder.labels.tolist()
        assert (data.splits is None) == (folder.splits is None)
        assert data.splits is None or data.splits.tolist() == folder.splits.tolist()
        assert [data.images.read(row) for row in range(len(data))] == [contents[name] for name in data.names]
        assert data.name == f"my-set{number}"
        assert data.images.content_key() == data.images.content_key()


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", ["../cat/x.png", "/cat/x.png", "cat/../../x.png", "C:\\cat\\x.png", "..\\x.png"])
def test_names_that_climb_out_are_refused(tmp_path, files, suffix, name):
    path = PACKERS[suffix](tmp_path / f"bad{suffix}", {**bare(files), name: files[0]})
    refuses(path, "leads out of the archive", name.replace("\\", "/" if suffix == ".zip" else "\\\\")[-5:])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, files, kind):
    path = pack_tar(tmp_path / "bad.tar", bare(files))
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("cat/evil.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    refuses(path, "cat/evil.png is ", "link" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "not a regular file")


@pytest.mark.parametrize(("kind", "words"), [(stat.S_IFLNK, "is a link"), (stat.S_IFCHR, "not a regular file")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, files, kind, words):
    path = pack_zip(tmp_path / "bad.zip", bare(files))
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("cat/evil.png")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refuses(path, "cat/evil.png", words)


def test_bombs_are_refused_without_unpacking_them(tmp_path, files, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED_BYTES", 1 << 20)
    bomb = {**bare(files), "cat/bomb.png": bytes(8 << 20)}
    refuses(pack_zip(tmp_path / "bomb.zip", bomb), "cat/bomb.png", "200 times its size")
    refuses(pack_tar(tmp_path / "bomb.tar.gz", bomb, "w:gz"), "200 times its size")


def test_a_readme_beside_the_wrapping_folder_does_no_harm(tmp_path, files):
    wrapped = {f"pets/{name}": data for name, data in bare(files).items()}
    data = load_data(pack_zip(tmp_path / "a.zip", {**wrapped, "README.md": b"hello", "docs/license/x.txt": b"free"}))
    assert data.classes == ("ant", "cat", "dog")
    assert data.notes == ("left out: 2 files without the extension of a picture, such as README.md",)


def test_a_full_disk_is_not_called_a_damaged_archive(tmp_path, files, monkeypatch):
    path = pack_tar(tmp_path / "set.tar.gz", bare(files), "w:gz")

    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives, "tempfile", SimpleNamespace(TemporaryFile=full))
    refuses(path, "cannot be unpacked into", "the disk is full", "set FIRSTLIGHT_CACHE")


def test_counts_and_sizes_of_members_are_capped(tmp_path, files, monkeypatch):
    path = pack_tar(tmp_path / "set.tar", bare(files))
    monkeypatch.setattr(archive_index, "MAX_MEMBERS", 4)
    refuses(path, "more than 4 members")
    monkeypatch.undo()
    monkeypatch.setattr(archive_index, "MAX_MEMBER_BYTES", 10)
    refuses(path, "cat/b.png", "more than the limit of 10")


def test_a_zip_that_lies_about_sizes_gives_image_errors(tmp_path, files):
    path = pack_zip(tmp_path / "lies.zip", bare(files))
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    assert struct.unpack_from("<I", data, central + 24)[0] == len(files[0])
    struct.pack_into("<I", data, central + 24, len(files[0]) - 1)
    path.write_bytes(data)
    lying = load_data(path)
    with pytest.raises(ImageError, match="wrong checksum"):
        lying.images.read(lying.names.index("cat/b.png"))
    assert lying.images.read(0) == files[4]


def test_a_changed_byte_in_a_zip_is_caught_by_its_checksum(tmp_path, files):
    path = pack_zip(tmp_path / "stored.zip", bare(files), zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(files[0]) + 50] ^= 1
    path.write_bytes(data)
    changed = load_data(path)
    with pytest.raises(ImageError, match="wrong checksum"):
        changed.images.read(changed.names.index("cat/b.png"))


def test_an_encrypted_or_strangely_compressed_zip_is_refused(tmp_path, files):
    path = pack_zip(tmp_path / "secret.zip", bare(files))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refuses(path, "cat/b.png is encrypted")
    refuses(pack_zip(tmp_path / "lzma.zip", bare(files), zipfile.ZIP_LZMA), "method 14", "use deflate")


def test_damaged_and_misnamed_archives_are_refused(tmp_path, files):
    good = {suffix: PACKERS[suffix](tmp_path / f"good{suffix}", bare(files)).read_bytes() for suffix in PACKERS}
    for suffix, data in good.items():
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(b"")
        refuses(path, "empty")
        path.write_bytes(data[: len(data) // 2 - 100])
        refuses(path, f"broken{suffix}")
        path.write_bytes(b"no archive at all, just words" * 40)
        refuses(path, "cannot be read as")
    (tmp_path / "wrong.zip").write_bytes(good[".tgz"])
    refuses(tmp_path / "wrong.zip", "named .zip but holds a .tar.gz archive")
    (tmp_path / "wrong.tar").write_bytes(good[".zip"])
    refuses(tmp_path / "wrong.tar", "named .tar but holds a .zip archive")
    damaged = bytearray(good[".tar"])
    second = damaged.index(b"cat/a.png")
    damaged[second : second + 200] = b"\xff" * 200
    (tmp_path / "damaged.tar").write_bytes(damaged)
    refuses(tmp_path / "damaged.tar", f"damaged at byte {second:,}")
    refuses(pack_zip(tmp_path / "none.zip", {}), "no pictures")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for data in files[:2]:
            archive.writestr("cat/a.png", data)
    refuses(tmp_path / "twice.zip", "cat/a.png is in the archive twice")


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_threads_read_one_archive_without_disturbing_each_other(tmp_path, files, suffix):
    contents = {f"{n % 2}/{n:02d}.png": data for n, data in enumerate(files)}
    data = load_data(PACKERS[suffix](tmp_path / f"set{suffix}", contents))
    wrong = []

    def work(seed: int) -> None:
        rows = np.random.default_rng(seed).integers(0, len(data), 300)
        wrong.extend(row for row in rows if data.images.read(row) != contents[data.names[row]])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_real_archive_is_read_as_it_is(shared_data):
    clothing = load_data(shared_data / "clothing10.tar")
    assert [int((clothing.splits == part).sum()) for part in range(3)] == [750, 341, 372]
    assert len(clothing.classes) == 10 and clothing.notes == ()
    assert decode(clothing.images.read(7)).pixels.shape[2] == 3


@pytest.mark.slow
def test_an_archive_of_sixty_thousand_real_images_is_read_in_one_pass(shared_data, monkeypatch):
    reads = []
    following = tarfile.TarFile.next
    monkeypatch.setattr(tarfile.TarFile, "next", lambda archive: reads.append(None) or following(archive))
    cifar = load_data(shared_data / "cifar10-jpeg.tar.gz")
    assert 60_000 <= len(reads) < 61_000, "one look at each member, and at the few folders"
    assert cifar.classes == CIFAR_CLASSES
    assert np.bincount(cifar.labels * 3 + cifar.splits).tolist() == [5000, 0, 1000] * 10
    assert decode(cifar.images.read(59_999)).pixels.shape == (32, 32, 3)


# ---- arrays


def test_arrays_and_tensors_give_the_same_samples(digits):
    import torch

    images, labels = digits[0][:50], digits[1][:50]
    rgb = np.stack([images] * 3, axis=-1)
    gray = load_data((images, labels))
    assert gray.images.read(3).shape == (8, 8, 1) and (gray.images.read(3)[..., 0] == images[3]).all()
    assert gray.classes == tuple("0123456789") and gray.labels.tolist() == labels.tolist()
    assert gray.names[3] == "00003" and gray.splits is None and gray.name == gray.source == "arrays"
    for same in (images[..., None], images.astype(np.uint16) * 257, images / 255, torch.from_numpy(images)[:, None]):
        assert load_data((same, list(labels))).images.content_key() == gray.images.content_key()
    color = load_data((rgb, torch.from_numpy(labels)))
    tensor = load_data((torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255, labels))
    assert color.images.content_key() == tensor.images.content_key() != gray.images.content_key()


def test_whole_number_labels_keep_their_order_and_words_are_sorted(digits):
    images = digits[0][:4]
    assert load_data((images, [10, 2, 10, -1])).classes == ("-1", "2", "10")
    named = load_data((images, np.array(["dog", "cat", "dog", "ant"])))
    assert named.classes == ("ant", "cat", "dog") and named.labels.tolist() == [2, 1, 2, 0]


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((4, 8, 8), np.uint8), [0, 1, 0], "4 pictures but 3 labels"),
        (np.zeros((0, 8, 8), np.uint8), [], "no pictures"),
        (np.zeros((2, 8, 8), np.uint8), [[1, 0], [1, 1]], "labels have shape (2, 2), but row 1 is not one 1 and zeros"),
        (np.zeros((2, 8, 8), np.uint8), [0.5, 1], "label 0 (0.5) is not a whole number"),
        (np.zeros((2, 8, 8), np.uint8), ["a", " "], "label 1 is empty"),
        (np.zeros((2, 3, 8, 8), np.uint8), [0, 1], "NumPy [N, H, W, C]"),
        (np.zeros((2, 8, 8, 4), np.uint8), [0, 1], "C = 1 or 3"),
        (np.zeros((2, 64), np.uint8), [0, 1], "shape (2, 64)"),
        (np.full((2, 8, 8), 16.0), [0, 1], "float64 from 16 to 16"),
        (np.full((2, 8, 8), -0.5), [0, 1], "floats in 0..1"),
        (np.full((2, 8, 8), np.nan), [0, 1], "floats in 0..1"),
        (np.full((2, 8, 8), 200, np.int64), [0, 1], "int64 from 200"),
    ],
)
def test_arrays_that_could_be_misread_are_refused(images, labels, words):
    refuses((images, labels), words)


# ---- named sets


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def idx_set(digits) -> dict[str, bytes]:
    images, labels = digits[0], digits[1].astype(np.uint8)
    return {
        "train-images-idx3-ubyte": idx(images[:60]),
        "train-labels-idx1-ubyte": idx(labels[:60]),
        "t10k-images-idx3-ubyte": idx(images[60:90]),
        "t10k-labels-idx1-ubyte": idx(labels[60:90]),
    }


def test_digits_need_no_files(digits):
    data = load_data("digits")
    assert len(data) == 1797 and data.splits is None and data.classes == tuple("0123456789")
    np.testing.assert_array_equal(data.labels, digits[1])
    pixels = np.stack([data.images.read(row) for row in range(1797)])
    np.testing.assert_array_equal(pixels[..., 0], digits[0])
    assert pixels.max() == 255


@pytest.mark.parametrize(
    ("name", "folder", "end"),
    [
        ("mnist", "MNIST/raw", ""),
        ("mnist", "mnist", ".gz"),
        ("fashion-mnist", "FashionMNIST/raw", ".gz"),
        ("kmnist", "kmnist", ""),
    ],
)
def test_idx_files_are_found_in_either_layout_raw_or_packed(tmp_path, idx_set, name, folder, end):
    pack = gzip.compress if end else bytes
    write(tmp_path / folder, {file + end: pack(data) for file, data in idx_set.items()})
    data = load_data(name, data_root=tmp_path)
    assert len(data) == 90 and data.splits.tolist() == [0] * 60 + [2] * 30 and len(data.classes) == 10
    assert data.names[0] == "train/00000" and data.names[60] == "test/00000"
    pixels = np.stack([data.images.read(row)[..., 0] for row in range(90)])
    assert idx(pixels[:60]) == idx_set["train-images-idx3-ubyte"]
    assert idx(pixels[60:]) == idx_set["t10k-images-idx3-ubyte"]
    assert idx(data.labels[60:].astype(np.uint8)) == idx_set["t10k-labels-idx1-ubyte"]


def test_idx_files_agree_with_torchvision(tmp_path, idx_set):
    from torchvision.datasets import FashionMNIST

    write(tmp_path / "FashionMNIST" / "raw", idx_set)
    theirs = FashionMNIST(tmp_path, train=False)
    ours = load_data("fashion-mnist", data_root=tmp_path)
    assert list(ours.classes) == theirs.classes
    np.testing.assert_array_equal(theirs.data.numpy(), [ours.images.read(60 + row)[..., 0] for row in range(30)])


def test_the_data_root_comes_from_the_environment(tmp_path, idx_set, monkeypatch):
    write(tmp_path / "mnist", idx_set)
    monkeypatch.setenv("FIRSTLIGHT_DATA", str(tmp_path))
    assert len(load_data("mnist")) == 90


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"\0\0\x0d\x03" + data[4:],
        lambda data: data[:7],
        lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:],
        lambda data: b"",
        lambda data: b"<html>" + data,
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx_files_are_refused(tmp_path, idx_set, damage, packed):
    broken = damage(idx_set["train-images-idx3-ubyte"])
    write(tmp_path / "mnist", idx_set)
    if packed:
        (tmp_path / "mnist" / "train-images-idx3-ubyte").unlink()
        write(tmp_path / "mnist", {"train-images-idx3-ubyte.gz": gzip.compress(broken)})
    else:
        write(tmp_path / "mnist", {"train-images-idx3-ubyte": broken})
    refuses("mnist", "train-images-idx3-ubyte", "download it again", data_root=tmp_path)


def test_a_cut_gzip_file_is_refused_and_labels_must_fit(tmp_path, idx_set):
    write(tmp_path / "a" / "mnist", {**idx_set, "t10k-labels-idx1-ubyte": idx(np.zeros(29, np.uint8))})
    refuses("mnist", "do not match", data_root=tmp_path / "a")
    write(tmp_path / "b" / "mnist", {**idx_set, "t10k-labels-idx1-ubyte": idx(np.full(30, 10, np.uint8))})
    refuses("mnist", "do not match", data_root=tmp_path / "b")
    packed = {f"{name}.gz": gzip.compress(data)[:-20] for name, data in idx_set.items()}
    write(tmp_path / "c" / "mnist", packed)
    refuses("mnist", "train-images-idx3-ubyte.gz cannot be read", data_root=tmp_path / "c")


def python2_pickle(pieces: list[tuple[str, object]]) -> bytes:
    """A dictionary as CIFAR's authors pickled it, by hand: byte strings, and arrays by numpy.core.multiarray."""

    def text(value: str) -> bytes:
        return b"T" + struct.pack("<I", len(value)) + value.encode("latin1")

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def array(value: np.ndarray) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0) + b"t" + text("b") + b"tR"
        kind = b"cnumpy\ndtype\n(" + text("u1") + number(0) + number(1) + b"tR("
        kind += number(3) + text("|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        shape = b"(" + b"".join(number(side) for side in value.shape) + b"t"
        content = b"T" + struct.pack("<I", value.size) + value.tobytes()
        return made + b"(" + number(1) + shape + kind + b"I00\n" + content + b"tb"

    def any_value(value: object) -> bytes:
        if isinstance(value, np.ndarray):
            return array(value)
        if isinstance(value, list):
            return b"](" + b"".join(any_value(each) for each in value) + b"e"
        return text(value) if isinstance(value, str) else number(value)

    return b"\x80\x02}(" + b"".join(text(key) + any_value(value) for key, value in pieces) + b"u."


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of random pictures in the published files' own pickle dialect, with their checksums declared."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3072), dtype=np.uint8)
    *rest, files = named_sets._CIFAR_SETS["cifar10"]
    contents = {
        name: python2_pickle([("labels", [0, 1, 2, number]), ("data", pixels[number])])
        for number, name in enumerate(name for name in files if name != "batches.meta")
    }
    contents["batches.meta"] = python2_pickle([("label_names", list(CIFAR_CLASSES))])
    write(tmp_path / "cifar-10-batches-py", contents)
    declared = {name: hashlib.md5(contents[name]).hexdigest() for name in files}
    monkeypatch.setitem(named_sets._CIFAR_SETS, "cifar10", (*rest, declared))
    return tmp_path, pixels


def test_cifar_pickles_are_read_without_numpy_or_pickle_warnings(small_cifar):
    root, pixels = small_cifar
    data = load_data("cifar10", data_root=root)
    assert data.classes == CIFAR_CLASSES and data.splits.tolist() == [0] * 20 + [2] * 4
    assert data.labels.tolist() == [0, 1, 2, 0, 0, 1, 2, 1, 0, 1, 2, 2, 0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 2, 5]
    np.testing.assert_array_equal(data.images.read(5), pixels[1, 1].reshape(3, 32, 32).transpose(1, 2, 0))


def test_a_pickle_that_is_not_the_published_file_is_never_opened(small_cifar):
    root, _ = small_cifar
    (root / "cifar-10-batches-py" / "test_batch").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    refuses("cifar10", "test_batch is not the published file", data_root=root)


def test_even_a_trusted_pickle_can_build_arrays_only(tmp_path):
    import pickle

    for evil in (b"cos\nsystem\n(S'true'\ntR.", b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR."):
        path = tmp_path / "evil"
        path.write_bytes(evil)
        with pytest.raises(pickle.UnpicklingError, match="does not belong in a set of pictures"):
            named_sets._unpickle(path, hashlib.md5(evil).hexdigest())


@pytest.mark.parametrize(
    ("name", "bring"),
    [("kmnist", "t10k-labels-idx1-ubyte (raw or .gz) into"), ("cifar100", "cifar-100-python.tar.gz into")],
)
def test_without_network_the_files_to_bring_are_named(tmp_path, name, bring, capfd):
    refuses(name, "cannot be downloaded", bring, str(tmp_path), data_root=tmp_path)
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_the_real_sets_are_found_and_are_the_published_ones(shared_data):
    published = {
        "mnist": ("6bbc9ace898e44ae57da46a324031adb", "27ae3e4e09519cfbb04c329615203637"),
        "fashion-mnist": ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "15d484375f8d13e6eb1aabb0c3f46965"),
    }
    for name, (train_images, test_labels) in published.items():
        data = load_data(name, data_root=shared_data)
        assert np.bincount(data.splits).tolist() == [60_000, 0, 10_000]
        train = np.stack([data.images.read(row)[..., 0] for row in range(60_000)])
        assert hashlib.md5(idx(train)).hexdigest() == train_images
        assert hashlib.md5(idx(data.labels[60_000:].astype(np.uint8))).hexdigest() == test_labels


def test_a_name_means_the_named_set_and_a_path_the_folder(tmp_path, files, monkeypatch):
    monkeypatch.chdir(write(tmp_path, {f"digits/{name}": data for name, data in bare(files).items()}))
    assert len(load_data("digits")) == 1797
    assert len(load_data("./digits")) == len(load_data(Path("digits"))) == 5
    assert load_data("./digits").name == "digits"
    assert set(NAMED_SETS) == {"digits", "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100"}


def test_tensors_of_a_number_type_that_numpy_lacks_are_refused():
    images = torch.zeros(4, 1, 8, 8, dtype=torch.bfloat16)
    with pytest.raises(DataError, match="bfloat16"):
        load_data((images, [0, 0, 1, 1]))
