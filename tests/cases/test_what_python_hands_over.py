"""Whatever people hold labeled pictures in goes in as it is; anything else is one line that says what to give."""

import io
import shutil
import sys

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import firstlight as fl
from firstlight.data.samples import Samples
from firstlight.errors import WrongTypeError

SIDE, COUNT = 12, 30
KINDS = ("bee", "cat", "dog")


@pytest.fixture(scope="module")
def pictures():
    """Striped pictures of three kinds, uint8 [N, H, W, 3]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    waves = [np.sin((0.5 + kind) * (x * np.cos(kind) + y * np.sin(kind))) for kind in range(3)]
    stack = [127 + 70 * waves[n % 3][..., None] + rng.normal(0, 20, (SIDE, SIDE, 3)) for n in range(COUNT)]
    return np.clip(stack, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def numbers():
    return np.arange(COUNT) % 3


@pytest.fixture(scope="module")
def words(numbers):
    return [KINDS[number] for number in numbers]


@pytest.fixture(scope="module")
def paths(pictures, words, tmp_path_factory):
    root = tmp_path_factory.mktemp("files")
    made = []
    for number, (pixels, word) in enumerate(zip(pictures, words, strict=True)):
        made.append(root / word / f"{number:03d}.png")
        made[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(made[-1])
    return made


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return file.getvalue()


def pixels_of(samples: Samples) -> list[np.ndarray]:
    """Return what would be packed."""
    contents = [samples.images.read(row) for row in range(len(samples))]
    return [np.asarray(Image.open(io.BytesIO(one))) if isinstance(one, bytes) else one for one in contents]


def holds(samples: Samples, pictures, classes=("0", "1", "2")) -> bool:
    return (
        samples.classes == tuple(classes)
        and samples.labels.tolist() == [number % 3 for number in range(len(pictures))]
        and all(np.array_equal(*pair) for pair in zip(pixels_of(samples), pictures, strict=True))
        and len(set(samples.names)) == len(samples)
        and samples.images.content_key() == samples.images.content_key()
    )


# ---- labels


@pytest.mark.parametrize(
    ("form", "classes"),
    {
        "[N, 1]": (lambda n: n[:, None], "012"),
        "float [N, 1]": (lambda n: n[:, None].astype(float), "012"),
        "whole floats": (lambda n: n.astype(np.float32), "012"),
        "one-hot": (lambda n: np.eye(3)[n], "012"),
        "one-hot bool": (lambda n: np.eye(3, dtype=bool)[n], "012"),
        "one-hot tensor": (lambda n: torch.eye(3)[torch.from_numpy(n)], "012"),
        "tensor": (torch.from_numpy, "012"),
        "list of tensors": (lambda n: list(torch.from_numpy(n)), "012"),
        "list of numbers": (lambda n: n.tolist(), "012"),
        "objects": (lambda n: n.astype(object), "012"),
        "words": (lambda n: [KINDS[one] for one in n], KINDS),
        "bytes": (lambda n: np.array([KINDS[one].encode() for one in n]), KINDS),
        "word [N, 1]": (lambda n: np.array([[KINDS[one]] for one in n]), KINDS),
    }.values(),
)
def test_labels_come_in_any_of_their_usual_forms(pictures, numbers, form, classes):
    assert holds(fl.load_data((pictures, form(numbers))), pictures, classes)


def test_booleans_are_two_classes(pictures, numbers):
    samples = fl.load_data((pictures, numbers > 0))
    assert samples.classes == ("False", "True")
    assert samples.labels.tolist() == (numbers > 0).astype(int).tolist()


# ---- pictures


@pytest.mark.parametrize(
    "form",
    {
        "list, not tuple": lambda p, y: [p, y],
        "list of arrays": lambda p, y: (list(p), y),
        "object array": lambda p, y: (np.array([*p, None], dtype=object)[:-1], y),
        "tensor": lambda p, y: (torch.from_numpy(p).permute(0, 3, 1, 2), y),
        "list of tensors": lambda p, y: ([torch.from_numpy(one).permute(2, 0, 1) for one in p], y),
        "PIL images": lambda p, y: ([Image.fromarray(one) for one in p], y),
        "bytes": lambda p, y: ([png(one) for one in p], y),
        "Hugging Face's dicts": lambda p, y: ([{"bytes": png(one), "path": None} for one in p], y),
        "dict": lambda p, y: {"image": p, "label": y},
        "list of pairs": lambda p, y: list(zip(p, y, strict=True)),
        "tuple of pairs": lambda p, y: tuple(zip(p, y, strict=True)),
        "list of dicts": lambda p, y: [{"image": one, "label": kind} for one, kind in zip(p, y, strict=True)],
    }.values(),
)
def test_pictures_come_in_any_of_their_usual_forms(pictures, numbers, form):
    assert holds(fl.load_data(form(pictures, numbers)), pictures)


def test_two_pictures_in_a_list_are_two_pictures(pictures):
    for given in ([pictures[0], pictures[1]], [Image.fromarray(pictures[0]), Image.fromarray(pictures[1])]):
        samples = fl.load_data((given, ["a", "b"]))
        assert samples.classes == ("a", "b")
        assert all(np.array_equal(*pair) for pair in zip(pixels_of(samples), pictures[:2], strict=True))
    with pytest.raises(WrongTypeError, match="has no labels for its pictures"):
        fl.load_data([pictures[0], Image.fromarray(pictures[1])])


@pytest.mark.parametrize(
    "form", [list, tuple, np.array, lambda p: [str(one) for one in p], lambda p: np.array(list(map(str, p)))]
)
def test_paths_are_files_with_their_own_names(paths, words, pictures, form):
    samples = fl.load_data((form(paths), words))
    assert holds(samples, pictures, KINDS)
    assert samples.names == tuple(map(str, paths))


def test_pictures_of_different_sizes_and_a_broken_one_train_a_model(pictures, words, tmp_path):
    ragged = [one[: SIDE - number % 4] for number, one in enumerate(np.concatenate([pictures] * 8))]
    rng = np.random.default_rng(1)
    ragged = [np.clip(one + rng.normal(0, 9, one.shape), 0, 255).astype(np.uint8) for one in ragged]
    mixed = [
        png(one) if number % 5 == 0 else Image.fromarray(one) if number % 5 == 1 else one
        for number, one in enumerate(ragged)
    ]
    mixed[7] = b"no picture"
    given = (mixed, words * 8)
    found = fl.check(given).to_json()
    assert found["quarantined"] == [{"image": "00007", "reason": "holds text, not a picture"}]
    assert found["sizes"] == {f"{SIDE - cut}x{SIDE}": 60 - (cut == 3) for cut in (0, 1, 2, 3)}
    run = fl.train(given, model="mlp", hidden=(16,), epochs=2, img_size=12, out=tmp_path / "run")
    assert run.record.quarantined == 1
    assert fl.evaluate(run, given).evaluation.n == run.test.n


def test_copies_are_found_among_pictures_in_memory(pictures, words):
    files = [png(one) for one in pictures]
    found = fl.check(([*files, pictures[3], Image.fromarray(pictures[4])], [*words, words[3], words[4]])).to_json()
    assert found["duplicates"] == [["00003", "00030"], ["00004", "00031"]]


# ---- tables


def columns_of(paths, words):
    return {
        "filename": [str(path) for path in paths],
        "class": words,
        "split": ["train", "val", "test"] * 10,
        "group": [str(n // 6) for n in range(COUNT)],
    }


def frames():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    return {"pandas": pandas.DataFrame, "polars": polars.DataFrame, "pyarrow": pyarrow.table, "dict": dict}


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "dict"])
def test_a_data_frame_is_read_as_a_list_is(kind, paths, words, pictures):
    samples = fl.load_data(frames()[kind](columns_of(paths, words)))
    assert holds(samples, pictures, KINDS)
    assert samples.splits.tolist() == [0, 1, 2] * 10
    assert samples.groups == tuple(str(n // 6) for n in range(COUNT))


def test_the_rows_of_a_data_frame_keep_their_order_whatever_its_index(paths, words, pictures):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": paths, "target": pandas.Categorical(words)}, index=range(100, 100 + COUNT))
    assert holds(fl.load_data(frame), pictures, KINDS)
    assert holds(fl.load_data((frame["path"], frame["target"])), pictures, KINDS)


@pytest.mark.parametrize("kind", ["pandas", "polars", "dict"])
def test_cells_of_a_data_frame_may_be_pictures(kind, pictures, numbers):
    make = frames()[kind]
    for cells in ([png(one) for one in pictures], [{"bytes": png(one), "path": "x.png"} for one in pictures]):
        assert holds(fl.load_data(make({"image": cells, "label": numbers.astype(float).tolist()})), pictures)
    if kind == "pandas":
        images = [Image.fromarray(one) for one in pictures]
        assert holds(fl.load_data(make({"image": images, "label": numbers})), pictures)
        assert holds(fl.load_data(make({"image": list(pictures), "label": numbers})), pictures)


def test_unusual_columns_are_named(pictures, numbers):
    table = {"scan": list(pictures), "finding": numbers}
    assert holds(fl.load_data(table, image_column="scan", label_column="finding"), pictures)
    refuses(table, "no column of picture files (found: scan, finding)")


def test_a_missing_label_is_named_with_its_row(pictures, words):
    pandas = pytest.importorskip("pandas")
    for empty in (None, float("nan"), pandas.NA, "", " "):
        frame = {"image": list(pictures), "label": [*words[:4], empty, *words[5:]]}
        refuses(frame, "label 4 is")


# ---- data sets


class Pairs(torch.utils.data.Dataset):
    """A data set as people write them."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_any_map_style_data_set_of_torch(pictures, numbers, words):
    tensors = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    assert holds(fl.load_data(torch.utils.data.TensorDataset(tensors, torch.from_numpy(numbers))), pictures)
    floats = torch.utils.data.TensorDataset(tensors / 255, torch.from_numpy(numbers))
    assert holds(fl.load_data(floats), pictures)
    pil = [Image.fromarray(one) for one in pictures]
    assert holds(fl.load_data(Pairs(list(zip(pil, words, strict=True)))), pictures, KINDS)
    assert holds(fl.load_data(Pairs(list(zip(pil, numbers, strict=True)), classes=list(KINDS))), pictures, KINDS)
    dicts = [{"image": one, "label": torch.tensor(kind)} for one, kind in zip(pil, numbers, strict=True)]
    assert holds(fl.load_data(Pairs(dicts)), pictures)
    longer = [(one, kind, {"id": 3}) for one, kind in zip(pil, numbers, strict=True)]
    assert holds(fl.load_data(Pairs(longer)), pictures)


def test_a_subset_is_a_part_with_the_same_classes(pictures, numbers):
    data = Pairs(list(zip(pictures, numbers, strict=True)), classes=list(KINDS))
    part = torch.utils.data.Subset(torch.utils.data.Subset(data, range(3, 30)), [0, 1, 2, 3])
    samples = fl.load_data(part)
    assert samples.classes == KINDS
    assert all(np.array_equal(*pair) for pair in zip(pixels_of(samples), pictures[3:7], strict=True))


def test_an_image_folder_is_its_files_without_its_transforms(paths, words):
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    root = paths[0].parents[1]
    change = transforms.Compose([transforms.Resize(4), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    data, folder = fl.load_data(ImageFolder(root, transform=change)), fl.load_data(root)
    assert (data.names, data.classes, data.labels.tolist()) == (folder.names, folder.classes, folder.labels.tolist())
    assert data.images.content_key() == folder.images.content_key()
    assert "the transforms of the data set were left out" in data.notes[0]
    assert fl.load_data(ImageFolder(root)).notes == ()
    assert fl.load_data(torch.utils.data.Subset(ImageFolder(root), [0, 29])).names == (
        folder.names[0],
        folder.names[29],
    )


def test_a_set_of_torchvision_is_read_without_its_transforms(tmp_path):
    from torchvision import transforms
    from torchvision.datasets import FakeData

    change = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,)), transforms.RandomErasing()]
    )
    data = FakeData(size=12, image_size=(3, 8, 8), num_classes=2, transform=change)
    samples = fl.load_data(data)
    assert samples.images.read(0).shape == (8, 8, 3)
    assert data.transform is change, "the data set of the user stays as it is"


def test_a_data_set_that_is_another_one_every_time_is_refused(pictures, numbers):
    class Random(Pairs):
        def __getitem__(self, index):
            image, label = self.items[index]
            return np.roll(image, int(torch.randint(1, SIDE, ())), 0), label

    samples = fl.load_data(Random(list(zip(pictures, numbers, strict=True))))
    with pytest.raises(fl.UserError, match="changes every time it is read; give the data set without random"):
        samples.images.content_key()


def test_the_items_of_a_data_set_are_made_one_at_a_time(pictures, numbers, tmp_path):
    import threading

    busy = threading.Lock()

    class Fragile(Pairs):
        def __getitem__(self, index):
            assert busy.acquire(blocking=False), "two threads at once"
            try:
                return self.items[index]
            finally:
                busy.release()

    data = Fragile(
        [(Image.fromarray(one[: SIDE - n % 3]), k) for n, (one, k) in enumerate(zip(pictures, numbers, strict=True))]
    )
    assert fl.check(data, workers=4).to_json()["quarantined"] == []


def test_an_item_that_fails_is_set_aside_where_its_label_is_known(pictures, numbers):
    class Broken(Pairs):
        def __getitem__(self, index):
            if index == 5:
                raise OSError("image file is truncated")
            return self.items[index]

    data = Broken([(one[: SIDE - n % 2], k) for n, (one, k) in enumerate(zip(pictures, numbers, strict=True))])
    refuses(data, "Broken: item 5 cannot be read (OSError: image file is truncated)")
    data.targets = numbers.tolist()
    found = fl.check(data).to_json()
    assert found["quarantined"] == [{"image": "00005", "reason": "cannot be read: OSError: image file is truncated"}]


@pytest.mark.slow  # importing it takes seconds
def test_data_sets_of_hugging_face(pictures, numbers, words, paths):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat", "bee"])})
    files = [{"bytes": png(one), "path": None} for one in pictures]
    data = datasets.Dataset.from_dict({"image": files, "label": numbers.tolist()}, features=features)
    assert holds(fl.load_data(data), pictures, ("dog", "cat", "bee"))
    plain = datasets.Dataset.from_dict({"path": [str(path) for path in paths], "kind": words})
    refuses(plain, "no column of labels (found: path, kind)")
    assert holds(fl.load_data(plain, label_column="kind"), pictures, KINDS)
    both = fl.load_data(datasets.DatasetDict({"train": data, "validation": data.select(range(9))}))
    assert np.bincount(both.splits).tolist() == [30, 9]
    assert both.names[30] == "valid/00000"
    unknown = datasets.Dataset.from_dict({"image": files[:3], "label": [0, 1, -1]}, features=features)
    assert fl.load_data(unknown).notes == ("1 picture without a label left out",)
    refuses(data.to_iterable_dataset(), "streamed")


def test_parts_by_split_become_one_set(pictures, numbers, words):
    given = {"train": (pictures[:20], words[:20]), "test": (pictures[20:], words[20:])}
    samples = fl.load_data(given)
    assert samples.splits.tolist() == [0] * 20 + [2] * 10
    assert [KINDS[label] for label in samples.labels] == words
    assert samples.names[0] == "train/00000" and samples.names[20] == "test/00000"
    keras = ((pictures[:20], numbers[:20, None]), (pictures[20:], numbers[20:, None]))
    assert fl.load_data(keras).splits.tolist() == samples.splits.tolist()
    lists = {"train": (list(map(png, pictures[:20])), words[:20]), "valid": (pictures[20:, :5], words[20:])}
    joined = fl.load_data(lists)
    assert joined.splits.tolist() == [0] * 20 + [1] * 10
    assert np.array_equal(joined.images.read(25), pictures[25, :5])
    assert joined.images.content_key() != samples.images.content_key()
    refuses({"val": given["train"], "valid": given["test"]}, "val and valid are the same split")


# ---- anything else


def refuses(given, *wanted, **choices):
    with pytest.raises(fl.UserError) as told:
        fl.load_data(given, **choices)
    message = str(told.value)
    assert "\n" not in message and len(message) < 400, message
    for word in wanted:
        assert word in message, message


class Stream(torch.utils.data.IterableDataset):
    """A data set that has no items."""

    def __iter__(self):
        return iter([])


class Nameless:
    """What no part of this knows."""


ODD = {
    "nothing": (None, "a NoneType is not a set of labeled pictures"),
    "a number": (3, "an int is not a set"),
    "an array alone": (np.zeros((4, 8, 8)), "has no labels; give a pair (images, labels)"),
    "a tensor alone": (torch.zeros(4, 3, 8, 8), "has no labels"),
    "a picture": (Image.new("L", (8, 8)), "has no labels"),
    "bytes": (b"\x89PNG", "has no labels"),
    "an object": (Nameless(), "a Nameless is not a set"),
    "a class": (Pairs, "not a set of labeled pictures"),
    "an empty list": ([], "empty list"),
    "an empty tuple": ((), "empty list"),
    "an empty dict": ({}, "no column"),
    "a list of paths": (["a.png", "b.png", "c.png"], "has no labels for its pictures"),
    "two paths": (["a.png", "b.png"], "a list of 2 has no labels for its pictures"),
    "four arrays": ((np.zeros((2, 8, 8)),) * 4, "or a dict of such pairs by split"),
    "an iterable data set": (Stream(), "can be read only in order"),
    "flat pictures": ((np.zeros((2, 64)), np.zeros(2)), "shape (2, 64); reshape them with reshape"),
    "a mask": ((np.ma.masked_equal(np.zeros((2, 8, 8), np.uint8), 0), [0, 1]), "some values are masked"),
    "NaN": ((np.full((2, 8, 8), np.nan), [0, 1]), "some are NaN"),
    "whole numbers": ((np.full((2, 8, 8), 200), [0, 1]), "as `.astype('uint8')` makes them"),
    "an address": ("https://example.com/photos.zip", "is a web address; download it first"),
    "a device": ("/dev/null", "/dev/null is neither a file nor a folder"),
    "a long name": ("x" * 5000, "File name too long; shorten it"),
    "one label": ((np.zeros((2, 8, 8)), [0]), "2 pictures but 1 label;"),
    "three arrays": ((np.zeros(3), np.zeros(3), np.zeros(3)), "has no labels for its pictures"),
    "a generator": ((n for n in range(3)), "a generator can be read only in order; give a list"),
    "a loader": (torch.utils.data.DataLoader(Pairs([(1, 2)])), "give its data set, `loader.dataset`"),
    "a set": ({"a.png"}, "give a list"),
    "a pair with None": ((None, [0, 1]), "the pictures are a NoneType"),
    "a pair without labels": ((np.zeros((2, 8, 8)), None), "the labels are a NoneType"),
    "labels of the wrong number": ((np.zeros((2, 8, 8)), [0, 1, 2]), "2 pictures but 3 labels"),
    "words and numbers": ((np.zeros((2, 8, 8)), ["a", 1]), "labels mix words and numbers"),
    "labels of several values": ((np.zeros((2, 8, 8)), [[0], [1, 2]]), "some labels have several values"),
    "labels that are dicts": ((np.zeros((2, 8, 8)), [{"a": 1}, {"b": 2}]), "labels are a dict each"),
    "a missing label": ((np.zeros((2, 8, 8)), [0, None]), "label 1 is missing"),
    "labels with NaN": ((np.zeros((2, 8, 8)), np.array([0, np.nan])), "label 1 (nan) is missing"),
    "fractions": ((np.zeros((2, 8, 8)), [0.5, 1]), "label 0 (0.5) is not a whole number"),
    "an image of 2 channels": (([np.zeros((8, 8, 2)), np.zeros((8, 8, 2))], [0, 1]), "C = 1 or 3"),
    "numbers for pictures": (([1, 2], [0, 1]), "picture 0: an int is not a picture"),
    "a path that is no file": ((["nowhere.png"], ["a"]), "picture 0: there is no file nowhere.png"),
    "a path with a zero byte": ((["a\0b", "c"], ["a", "b"]), "there is no file a\\x00b"),
    "text for pictures": (("a.png", "cat"), "the pictures are a str"),
    "rows without columns": ([{"a": 1}, {"a": 2}], "no column"),
    "items that are no pairs": (Pairs([1, 2, 3]), "its items are an int; each must be a pair"),
    "a data set of nothing": (Pairs([]), "there are no pictures in it"),
    "labels out of the classes": (Pairs([(np.zeros((8, 8)), 5), (np.zeros((8, 8)), 0)], ["a", "b"]),
                                  "label 0 (5) is not one of the 2 classes"),
    "Normalize": (([np.full((8, 8), -1.0), np.full((8, 8), 0.5)], [0, 1]), "without a Normalize step"),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_anything_else_is_one_line(what):
    given, words = ODD[what]
    refuses(given, words)


def test_splits_may_be_folders_and_archives(paths, words):
    folder = paths[0].parent.parent
    data = fl.load_data({"train": str(folder), "test": folder})
    assert data.splits.tolist() == [0] * COUNT + [2] * COUNT and data.classes == KINDS
    packed = shutil.make_archive(str(folder.parent / "packed"), "zip", folder)
    both = fl.load_data({"train": folder, "val": packed})
    assert both.splits.tolist() == [0] * COUNT + [1] * COUNT
    assert (both.name, both.source) == ("splits", f"train={folder}, val={packed}"), "neither part stands for both"
    with pytest.raises(fl.UserError, match="has splits of its own; give train only one of them"):
        fl.load_data({"train": fl.load_data({"train": folder, "test": folder})})


def test_data_sets_of_torchvision_lose_their_transforms_wherever_they_are(paths):
    torchvision = pytest.importorskip("torchvision")
    change = torchvision.transforms.Compose([torchvision.transforms.Resize(4), torchvision.transforms.ToTensor()])
    folder = torchvision.datasets.ImageFolder(str(paths[0].parent.parent), change)
    both = torch.utils.data.ConcatDataset([folder, torch.utils.data.Subset(folder, [0, 1])])
    for given, count in ((both, COUNT + 2), (torch.utils.data.Subset(both, range(7)), 7)):
        data = fl.load_data(given)
        assert len(data) == count and set(data.classes) <= set(KINDS)
        assert data.images.read(0).shape == (SIDE, SIDE, 3), "not the 4 x 4 pixels that the transform makes"
        assert any("transforms of the data set were left out" in note for note in data.notes)
    assert folder.transform is change, "the user's own data set is not changed"


def test_items_of_a_data_set_may_have_their_own_names(pictures, numbers):
    items = [{"pixels": p, "kind": int(n)} for p, n in zip(pictures, numbers, strict=True)]
    data = fl.load_data(items, image_column="pixels", label_column="kind")
    assert data.labels.tolist() == numbers.tolist()


def test_labels_may_be_a_data_frame(pictures, numbers, words):
    one = fl.load_data((pictures, pandas.DataFrame({"kind": words})))
    assert one.classes == KINDS and one.labels.tolist() == numbers.tolist()
    many = fl.load_data((pictures, pandas.get_dummies(pandas.Series(words))))
    assert many.classes == KINDS and many.labels.tolist() == numbers.tolist()


class Elsewhere:
    """An array of another library or in a file, which NumPy can read."""

    def __init__(self, values):
        self._values, self.shape, self.ndim = values, values.shape, values.ndim

    def __len__(self):
        return len(self._values)

    def __array__(self, dtype=None, copy=None):
        if self._values.dtype == np.int8:
            raise TypeError("it is on the GPU; use .get()")
        return self._values


def test_arrays_of_other_libraries_are_read_through_numpy(pictures, numbers):
    data = fl.load_data((Elsewhere(pictures), Elsewhere(numbers)))
    assert len(data) == COUNT and data.labels.tolist() == numbers.tolist()
    refuses((Elsewhere(np.zeros((2, 8, 8), np.int8)), [0, 1]), r"NumPy cannot read (it is on the GPU; use .get())")


def test_a_lazy_frame_is_refused_without_a_warning():
    polars = pytest.importorskip("polars")
    refuses(polars.DataFrame({"image": ["a.png"], "label": ["a"]}).lazy(), "give frame.collect()")


def test_channels_at_the_end_of_a_tensor_are_named():
    data = torch.utils.data.TensorDataset(torch.zeros(40, 8, 8, 3), torch.arange(40) % 2)
    with pytest.raises(fl.UserError, match=r"shape \(8, 8, 3\); a tensor is \[C, H, W\]"):
        fl.open_dataset(fl.load_data(data))


def test_no_library_is_imported_to_tell_what_something_is(pictures, numbers):
    before = set(sys.modules)
    fl.load_data((pictures, numbers))
    fl.load_data({"image": pictures, "label": numbers})
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not new & {"pandas", "polars", "datasets", "torchvision", "pyarrow"}
