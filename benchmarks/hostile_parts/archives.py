"""Archives and folders that lead elsewhere, loop, lie about their sizes, or hold what is no file."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.commands import Ran
from hostile_parts.mutations import generator, mutated
from hostile_parts.place import Place

ESCAPES = (
    "../escaped.png", "../../escaped.png", "a/../../escaped.png", "/tmp/escaped.png", "a/../../../escaped.png",
    "..\\escaped.png", "C:\\escaped.png", "C:escaped.png", "//host/escaped.png", "a/./../..//escaped.png",
    "\u2025/escaped.png",
    "a\0/escaped.png", "~/escaped.png", "$HOME/escaped.png", "a/" * 300 + "escaped.png", "x" * 300 + "/escaped.png",
)  # fmt: skip
MOST_WRITTEN = 64 * 2**20  # bytes below the cache, for any of these archives
MUTATED = 200
SECONDS = 120.0  # one of them has 20,000 members


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for archives made by hand, one for mutated ones, and one for folders."""
    pictures = {file.name: file.read_bytes() for file in sorted(place.pictures.rglob("*.png"))[:24]}
    made = list(archives(pictures))
    yield tried("archives, handmade", len(made), lambda number: checked(place, *made[number]), seconds=SECONDS)
    good = dict(made[:3])
    kinds = list(good)

    def damaged(number: int) -> Found:
        suffix = kinds[number % len(kinds)]
        return checked(place, suffix, mutated(good[suffix], generator("archive", number)))

    yield tried("archives, mutated", place.count(MUTATED), damaged)
    trees = list(TREES.items())
    yield tried("folders, handmade", len(trees), lambda number: planted(place, *trees[number], list(pictures.values())))


def archives(pictures: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield suffixes and contents of archives; the first three are good ones."""
    good = {f"{'ab'[number % 2]}/{name}": data for number, (name, data) in enumerate(pictures.items())}
    one = next(iter(pictures.values()))
    yield from ((".zip", zipped(good)), (".tar", tarred(good)), (".tar.gz", tarred(good, "w:gz")))
    for name in ESCAPES:
        yield ".zip", zipped(good | {name.replace("\0", "_"): one})
        yield ".tar", tarred(good | {name: one})
    for kind in b"123456?":  # links, devices, a folder, a pipe, and none of these
        for target in ("../../escaped.png", "/etc/passwd", "a"):
            yield ".tar", tarred(good, more=[_member("a/link.png", bytes([kind]), target)])
    yield ".zip", zipped(good | {"a/bomb.png": b"\0" * 200_000_000})
    yield ".tar.gz", tarred(good | {"a/bomb.png": b"\0" * 200_000_000}, "w:gz")
    yield ".tar.gz", tarred({f"a/{number}.png": b"" for number in range(20_000)}, "w:gz")
    yield ".zip", zipped({f"a/{number}.png": b"" for number in range(20_000)})
    yield ".tar", tarred({}, more=[_member("a/huge.png", tarfile.REGTYPE, "", size=2**50)])
    yield ".zip", zipped(good | {"a/inner.zip": zipped(good)})
    for data in (zipped(good), tarred(good), tarred(good, "w:gz")):
        for suffix in (".zip", ".tar", ".tar.gz", ".tgz"):
            yield suffix, data[: len(data) // 2]


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w", more: list[tarfile.TarInfo] | None = None) -> bytes:
    """Return a tar archive, with members besides the files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode, format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in more or []:
            archive.addfile(member)
    return target.getvalue()


def _member(name: str, kind: bytes, target: str, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, size
    return member


def checked(place: Place, suffix: str, data: bytes) -> Found:
    """Return what is wrong with how an archive is read: also what it wrote elsewhere, or too much."""
    folder = place.fresh("archives") / "deep" / "deeper"
    folder.mkdir(parents=True)
    file = folder / f"set{suffix}"
    file.write_bytes(data)
    before, cache = set(folder.parent.parent.rglob("*")), _size(place.folder / "cache")
    ran = Ran("check", file, "--json")
    written = set(folder.parent.parent.rglob("*")) - before
    if escaped := [path for path in written if path != file] + list(Path("/tmp").glob("escaped*")):
        return Found(f"it wrote {escaped[0]}", len(data))
    grown = _size(place.folder / "cache") - cache
    if grown > 2 * len(data) + MOST_WRITTEN:
        return Found(f"{grown:,} bytes in the cache for an archive of {len(data):,}", len(data))
    if "root:" in ran.out + ran.err:
        return Found("it read /etc/passwd", len(data))
    return Found(ran.fault, len(data) + MOST_WRITTEN)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _deep(root: Path) -> None:
    for _ in range(200):
        root = root / "d"
        root.mkdir()


def _bytes_name(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/a/caf\xe9.png")).write_bytes((root / "a" / "0.png").read_bytes())


TREES: dict[str, Callable[[Path], object]] = {
    "a link outside": lambda root: (root / "a" / "out.png").symlink_to("/etc/passwd"),
    "a folder outside": lambda root: (root / "c").symlink_to("/etc"),
    "a loop": lambda root: (root / "a" / "loop").symlink_to(root),
    "a link to itself": lambda root: (root / "a" / "self.png").symlink_to("self.png"),
    "a dangling link": lambda root: (root / "a" / "gone.png").symlink_to("nothing.png"),
    "a link to the parent": lambda root: (root / "up").symlink_to(".."),
    "a pipe": lambda root: os.mkfifo(root / "a" / "pipe.png"),
    "a pipe as class": lambda root: os.mkfifo(root / "c"),
    "a device": lambda root: os.mknod(root / "a" / "zero.png", stat.S_IFCHR | 0o666, os.makedev(1, 5)),
    "a link to a device": lambda root: (root / "a" / "zero.png").symlink_to("/dev/zero"),
    "a hard link": lambda root: os.link(root / "a" / "0.png", root / "b" / "same.png"),
    "deep": _deep,
    "a long name": lambda root: (root / ("x" * 250)).mkdir(),
    "two forms of one name": lambda root: [(root / name).mkdir() for name in ("caf\u00e9", "cafe\u0301")],
    "a name that is not UTF-8": _bytes_name,
    "a line end in a name": lambda root: (root / "a" / "x\ny.png").write_bytes((root / "a" / "0.png").read_bytes()),
    "an escape code in a name": lambda root: (root / "\x1b[2J").mkdir(),
    "an empty class": lambda root: (root / "c").mkdir(),
    "an empty picture": lambda root: (root / "a" / "empty.png").write_bytes(b""),
    "a folder named like a picture": lambda root: (root / "a" / "folder.png").mkdir(),
    "hidden files": lambda root: [(root / "a" / name).write_bytes(b"x") for name in (".DS_Store", "._0.png")],
    "a picture beside the classes": lambda root: shutil.copy(root / "a" / "0.png", root),
    "no permission": lambda root: (root / "b").chmod(0),
    "a class in both": lambda root: shutil.copytree(root / "a", root / "train" / "a"),
    "only splits": lambda root: [(root / name).mkdir() for name in ("train", "test")],
    "a class of one": lambda root: shutil.copytree(root / "a", root / "c", ignore=shutil.ignore_patterns("[1-9]*")),
    "a copy in another class": lambda root: shutil.copy(root / "a" / "0.png", root / "b" / "copy.png"),
    "a picture of another format": lambda root: (root / "a" / "1.png").write_bytes(b"GIF89a" + b"\0" * 40),
    "a great number of classes": lambda root: [(root / f"k{number}").mkdir() for number in range(2000)],
    "a trailing space": lambda root: (root / "a ").mkdir(),
}


def planted(place: Place, name: str, plant: Callable[[Path], object], pictures: list[bytes]) -> Found:
    """Return what is wrong with how a folder is checked and packed in which something is planted."""
    root = place.fresh("trees") / "set"
    for number, data in enumerate(pictures):
        file = root / "ab"[number % 2] / f"{number // 2}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    plant(root)
    ran = Ran("check", root, "--json")
    if "root:" in ran.out or "/etc/" in ran.out:
        return Found(f"{name}: it read what lies outside")
    return Found(ran.fault and f"{name}: {ran.fault}")
