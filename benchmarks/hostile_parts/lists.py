"""Lists of pictures, recipes, corrections, and options: mutated, handmade, and out of range."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.commands import Ran
from hostile_parts.mutations import generator, mutated
from hostile_parts.place import Place

VALUES = (
    "-1",
    "0",
    "1e30",
    "nan",
    "inf",
    "-inf",
    "",
    "99999999999999999999",
    "x" * 5000,
    "../..",
    "true",
    "1,2",
    "\x1b[31m",
)
QUICK = ("--model=mlp", "--hidden=8", "--epochs=1", "--batch-size=32")
SPARE_BYTES = 256 * 2**20
SECONDS, TRAINING_BYTES = 120.0, 2**30  # for what trains


def rows(place: Place) -> Iterator[Row]:
    """Yield a row for each kind of file, and one for the options."""
    names = [str(file) for file in sorted(place.pictures.rglob("*.png"))[:40]]
    files = place.fresh("lists")
    lines = [
        f"{name},{Path(name).parent.name},{('train', 'valid', 'test')[number % 3]}" for number, name in enumerate(names)
    ]
    table = "\n".join(["image,label,split", *lines]) + "\n"
    recipe = (place.run / "recipe.toml").read_bytes()
    decided = "\n".join(["image,label,action", *(f"{name},3,relabel" for name in names)]) + "\n"
    kinds: dict[str, tuple[int, bytes, str, Callable[[Path], Any]]] = {
        "lists in CSV, mutated": (500, table.encode(), "list.csv", _loaded),
        "lists in TSV, mutated": (300, table.replace(",", "\t").encode(), "list.tsv", _loaded),
        "lists in JSON lines, mutated": (100, _json_lines(names), "list.jsonl", _loaded),
        "lists in Parquet, mutated": (500, _parquet(names, files), "list.parquet", _loaded),
        "recipes, mutated": (500, recipe, "recipe.toml", _recipe),
        "corrections, mutated": (300, decided.encode(), "corrections.csv", _corrections),
    }
    for name, (count, original, file, read) in kinds.items():
        attempt = Mutated(original, files / file, read)
        yield tried(name, place.count(count), attempt, spare_bytes=SPARE_BYTES)
    made = list(handmade(table, names))
    yield tried("lists, handmade", len(made), lambda number: _commanded(files / made[number][0], made[number][1]))
    trained: dict[str, tuple[list[Any], Callable[[Place, Any], Found]]] = {
        "recipes, handmade": (list(recipes()), _trained),
        "options out of range": (list(words_of_options()), _asked),
        "folders of splits and classes, handmade": (list(split_folders()), _split),
    }
    for name, (given, attempt_one) in trained.items():

        def train(number: int, given: list[Any] = given, attempt_one: Callable[..., Found] = attempt_one) -> Found:
            return attempt_one(place, given[number])

        yield tried(name, place.count(len(given)), train, seconds=SECONDS, spare_bytes=TRAINING_BYTES)


class Mutated:
    """A mutated file is read, or refused with one line."""

    def __init__(self, original: bytes, file: Path, read: Callable[[Path], Any]) -> None:
        self.original, self.file, self.read = original, file, read

    def __call__(self, number: int) -> Found:
        """Try one."""
        data = mutated(self.original, generator(self.file.name, number))
        self.file.write_bytes(data)
        self.read(self.file)
        return Found("", len(data))


def _loaded(file: Path) -> None:
    from firstlight.data.sources import load_data

    samples = load_data(file)
    assert len(samples) == len(samples.labels) > 0
    json.dumps(samples.classes)


def _recipe(file: Path) -> None:
    from firstlight.training.recipe_file import from_toml

    from_toml(file)


def _corrections(file: Path) -> None:
    from firstlight.data.corrections import read_corrections

    read_corrections(file)


def _json_lines(names: list[str]) -> bytes:
    return "\n".join(json.dumps({"image": name, "label": "a"}) for name in names).encode()


def _parquet(names: list[str], folder: Path) -> bytes:
    import pyarrow
    from pyarrow import parquet

    contents = [{"bytes": Path(name).read_bytes(), "path": name} for name in names]
    labels = [Path(name).parent.name for name in names]
    parquet.write_table(pyarrow.table({"image": contents, "label": labels}), folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


def handmade(table: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of lists; many are wrong, and none may do harm."""
    first, second = names[:2]
    texts = [
        "", "\n", "image,label", "image,label\n", "image,image,label\na,b,c\n", "a,b,c\n" * 3, table * 2,
        "\ufeff" + table, table.replace("\n", "\r"), table.replace("\n", "\r\n"), table.replace(",", ";"),
        table.replace("image", "IMAGE"),
        f"image,label\n/etc/passwd,a\n{first},b\n", f"image,label\n/dev/zero,a\n{first},b\n",
        f"image,label\nhttp://127.0.0.1:9/x.png,a\n{first},b\n", f"image,label\nfile://{first},a\n",
        f"image,label\n../../../../etc/passwd,a\n{first},b\n", f"image,label\n{first},=cmd()\n{second},@x\n",
        f'image,label\n"{first}\n",a\n', f"image,label\n{first},{'x' * 10**6}\n{second},b\n",
        f"image,label\n{'x' * 10**7},a\n",
        f"image,label\n{first}\0,a\n", f'image,label\n"{first},a\n', f"image,label\n{first},\x1b[31mred\n{second},b\n",
        f"image,label\n{first},a\n{first},b\n", f"image,label,split\n{first},a,dev2\n",
        f"image,label\n{first},\u202eb\n",
        "image,label\n" + f"{first},a\n" * 100_000, "image," + "label," * 10_000 + "\n", '"' * 10**6, "," * 10**6,
        f"image,label\n{first},NaN\n{second},inf\n", f"image,label\n,a\n{second},\n",
        "sep=,\n" + table, "sep=\n" + table,
    ]  # fmt: skip
    for text in texts:
        yield "list.csv", text.encode("utf-8", "surrogatepass")
    for encoding in ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "shift-jis"):
        yield "list.csv", table.replace("label", "label").encode(encoding)
    for data in (b"PK\x03\x04" * 9, b"PAR1", b"PAR1" + b"\xff" * 99 + b"PAR1", b"\x89PNG\r\n\x1a\n", b"\x80\x04."):
        yield "list.csv", data
        yield "list.parquet", data
    for suffix in ("json", "xlsx", "txt", "yaml", "pkl", "npz"):
        yield f"list.{suffix}", table.encode()


def _commanded(file: Path, data: bytes) -> Found:
    file.write_bytes(data)
    return Found(Ran("check", file, "--json").fault, len(data))


def recipes() -> Iterator[str]:
    """Yield recipes that are wrong, in TOML or not."""
    deep = "a = " + "[" * 10_000 + "]" * 10_000
    yield from (
        "", "x", deep, "[a]\n" * 2, "a.b.c.d = 1", "seed = 1e400", "seed = nan", "seed = -1", 'seed = "x"',
        "seed = [1]",
        "[optimization]\nepochs = 0", "[optimization]\nepochs = -3", "[optimization]\nlr = nan",
        "[optimization]\nlr = inf",
        "[optimization]\nlr = -1.0", "[optimization]\nbatch_size = 0", "[optimization]\nepochs = 1.5",
        "[optimization]\nx = 1",
        "[model]\nname = 7", '[model]\nname = "../../x"', "[model]\nhidden = [0]", "[model]\nhidden = [-1]",
        "[model]\nhidden = [99999999999]", '[model]\nname = "timm:x"', "[data]\nimg_size = 0",
        "[data]\nimg_size = 999999",
        '[data]\nsplit = "1/1/x"', '[data]\nsplit = "nan/1/1"', '[data]\nresize = "crop:1e99"',
        "[data]\nmax_pixels = -1",
        "source = 3", 'device = "cuda:999"', 'device = "\\u001b[31m"', "\x00", "\ufeff[data]", "a = 1979-05-27",
        "[[data]]",
        "x = " + "1" * 100_000, "x = " + '"' + "y" * 10**6 + '"',
        "".join(f"a{number} = 1\n" for number in range(50_000)),
    )  # fmt: skip


def _trained(place: Place, recipe: str) -> Found:
    folder = place.fresh("recipes")
    (folder / "recipe.toml").write_text(recipe, "utf-8")
    words = ["train", place.pictures, "--recipe", folder / "recipe.toml", "--out", folder / "run", "--json", "--quiet"]
    ran = Ran(*words, *([] if "[model]" in recipe else QUICK))
    return Found(ran.fault, len(recipe))


def words_of_options() -> Iterator[list[str]]:
    """Yield the words of every option of `train` with a value that is none, or out of range."""
    from firstlight.cli.commands import Train
    from firstlight.cli.options import options_of

    for option in options_of(Train):
        if not option.positional and option.name not in (
            "help",
            "out",
            "resume",
            "recipe",
            "json",
            "quiet",
            "data_root",
        ):
            yield from ([f"{option.flag}={value}"] for value in VALUES)


def _asked(place: Place, words: list[str]) -> Found:
    folder = place.fresh("options")
    chosen = [word for word in QUICK if word.partition("=")[0] != words[0].partition("=")[0]]
    ran = Ran("train", place.pictures, *chosen, *words, "--out", folder / "run", "--json", "--quiet")
    return Found(ran.fault)


def split_folders() -> Iterator[list[str]]:
    """Yield the names of the files of a set, below its folder; an entry that ends in `/` is an empty folder."""
    strange = [
        "a",
        "=1+1",
        "-x",
        "@x",
        "a\nb",
        "a\tb",
        "\x1b[31m",
        "é",
        "e\u0301",
        "..x",
        "a" * 200,
        "<b>",
        "CON",
        " a ",
        "\udcff",
    ]
    for name in strange:
        yield [f"{name}/{number}.png" for number in range(12)] + [f"b/{number}.png" for number in range(12)]
        yield [
            f"{split}/{one}/{number}.png" for split in ("train", "test") for one in (name, "c") for number in range(9)
        ]
    yield from (
        [], ["a/"], ["a/", "b/"], ["a/1.png"], ["a/1.png", "b/"], ["train/a/1.png"], ["test/a/1.png"],
        ["train/", "test/"],
        ["train/a/1.png", "valid/b/1.png", "test/c/1.png"], ["a/b/c/d/e/f/1.png"], ["1.png", "2.png"], ["train/1.png"],
        [f"{number}/1.png" for number in range(300)], ["a/1.txt", "b/1.txt"], ["train/a/1.png", "Train/a/2.png"],
    )  # fmt: skip


def _split(place: Place, names: list[str]) -> Found:
    folder = place.fresh("folders") / "set"
    folder.mkdir()
    pictures = sorted(place.pictures.rglob("*.png"))
    for number, name in enumerate(names):
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            shutil.copy(pictures[number % len(pictures)], path)
    checked = Ran("check", folder, "--json")
    trained = Ran("train", folder, *QUICK, "--out", folder.parent / "run", "--quiet")
    return Found(checked.fault or trained.fault or _read_back(folder.parent / "run", names))


def _read_back(run: Path, names: list[str]) -> str:
    """Return what is wrong with the tables of a run: cells that a spreadsheet runs, or names that were changed."""
    import csv

    from firstlight.data.split import read_split

    for file in run.glob("*.csv"):
        for cells in csv.reader(file.open(encoding="utf-8", errors="surrogateescape", newline="")):
            if any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not _is_number(cell) for cell in cells):
                return f"{file.name} holds a formula: {cells!r}"
    if (run / "split.csv").is_file() and not read_split(run / "split.csv").keys() <= set(names):
        return "split.csv does not read back"
    return ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
