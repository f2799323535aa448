"""Features are the network's own, computed once; what they depend on is in their name, and nothing is half-made."""

import copy
import dataclasses
import shutil

import numpy as np
import pytest
import torch
from tests.worlds import in_ranks

from firstlight.data.augment import Augment
from firstlight.data.dataset import open_dataset
from firstlight.data.recipe import DataRecipe
from firstlight.data.sources import load_data
from firstlight.errors import TrainingError
from firstlight.models.classifier import Classifier
from firstlight.progress import announcements_to
from firstlight.training.transfer import features
from firstlight.training.transfer.features import extract_features

ROWS = np.array([5, 3, 200, 0, 77, 41, 12, 250, 6, 9])


def make_dataset(images, labels, side=32):
    return open_dataset(load_data((images, labels)), DataRecipe(img_size=side))


def spy_on_features(monkeypatch, act):
    """Call `act` with the images of every forward pass, before it."""
    whole = features.optimized

    def spied(classifier):
        model = whole(classifier)
        own = model.features

        def compute(images):
            act(images)
            return own(images)

        model.features = compute
        return model

    monkeypatch.setattr(features, "optimized", spied)


def make_classifier(backbone, *, seed=0, input_size=(1, 32, 32), resize="crop", classes=10):
    """A classifier in which random weights are in place, and statistics of batch norms that are not the first ones."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Classifier(
            architecture={"name": backbone.name, "head": "linear"},
            classes=tuple(map(str, range(classes))),
            input_size=input_size,
            resize=resize,
        )
        for layer in made.network.body.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.uniform_(-0.5, 0.5)
                layer.running_var.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="module")
def data(some_digits, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTLIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return make_dataset(*some_digits)


@pytest.fixture(scope="module")
def classifier(backbone):
    return make_classifier(backbone)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache for every test; gives the folder of the features."""
    monkeypatch.setenv("FIRSTLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / features.FEATURES.folder


@pytest.fixture
def passes(monkeypatch):
    """How many pictures each call of the network was given."""
    seen = []
    spy_on_features(monkeypatch, lambda images: seen.append(len(images)))
    return seen


def pictures(data, rows):
    return torch.from_numpy(np.array(data.store.pixels[rows])).permute(0, 3, 1, 2)


def own_features(classifier, images):
    """What the network itself says, without folding, layouts or a cache."""
    network = classifier.eval().network
    with torch.inference_mode():
        return network.features(classifier.normalize(images)).numpy()


def test_features_are_the_networks_own_in_the_order_of_the_rows(classifier, data):
    found = extract_features(classifier, data, ROWS, "weights")
    assert found.dtype == np.float32
    wanted = own_features(classifier, pictures(data, ROWS))
    assert wanted.std(axis=0).max() > 0.01, "all pictures given the same to it: the test would see nothing"
    assert np.asarray(found) == pytest.approx(wanted, abs=1e-4, rel=1e-3)


def test_the_head_on_the_features_gives_the_logits_of_the_classifier(classifier, data):
    with torch.inference_mode():
        logits = classifier.network.head(
            torch.from_numpy(np.array(extract_features(classifier, data, ROWS, "weights")))
        )
        wanted = classifier.eval()(pictures(data, ROWS))
    torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-3)


def test_batches_of_any_size_give_the_same_features(classifier, data, monkeypatch, passes):
    whole = np.array(extract_features(classifier, data, ROWS, "weights"))
    monkeypatch.setattr(features, "scoring_batch_size", lambda *_: 3)
    assert np.asarray(extract_features(classifier, data, ROWS, "another name")) == pytest.approx(
        whole, abs=1e-5, rel=1e-4
    )
    assert passes == [10, 3, 3, 3, 1]


def test_the_second_pass_is_the_mirror_image(classifier, data):
    found = extract_features(classifier, data, ROWS, "weights", feature_pass=1)
    mirrored = pictures(data, ROWS).flip(3)
    assert np.asarray(found) == pytest.approx(own_features(classifier, mirrored), abs=1e-4, rel=1e-3)
    assert not np.allclose(found, extract_features(classifier, data, ROWS, "weights"), atol=1e-3)


@pytest.mark.parametrize(("number", "mirror"), [(2, True), (3, True), (1, False), (2, False)])
def test_later_passes_are_random_crops_of_every_image_by_its_row(number, mirror, classifier, data):
    crop = Augment(flip=mirror, crop_scale=features.MIN_CROP_AREA)
    images, _ = crop(
        pictures(data, ROWS), torch.zeros(10, dtype=torch.int64), torch.from_numpy(ROWS),
        seed=7, epoch=number, num_classes=1,
    )  # fmt: skip
    found = extract_features(classifier, data, ROWS, "weights", feature_pass=number, mirror=mirror, seed=7)
    assert np.asarray(found) == pytest.approx(own_features(classifier, images), abs=1e-4, rel=1e-3)
    backwards = extract_features(
        classifier, data, ROWS[::-1].copy(), "weights", feature_pass=number, mirror=mirror, seed=7
    )
    assert np.asarray(backwards)[::-1] == pytest.approx(np.asarray(found), abs=1e-4, rel=1e-3)


def test_without_mirroring_the_first_pass_stays_as_it_is(classifier, data):
    plain = extract_features(classifier, data, ROWS, "weights")
    assert np.array_equal(extract_features(classifier, data, ROWS, "weights", mirror=False), plain)


def test_a_second_time_needs_no_pass(classifier, data, passes):
    first = np.array(extract_features(classifier, data, ROWS, "weights"))
    assert sum(passes) == len(ROWS)
    assert np.array_equal(extract_features(classifier, data, ROWS, "weights"), first)
    assert sum(passes) == len(ROWS)


def test_the_head_and_the_classes_make_no_other_features(backbone, data, passes):
    extract_features(make_classifier(backbone), data, ROWS, "weights")
    extract_features(make_classifier(backbone, classes=3), data, ROWS, "weights")
    assert sum(passes) == len(ROWS)


def of_another_size(given):
    samples = given["data"].samples
    return {
        "data": open_dataset(samples, DataRecipe(img_size=40)),
        "classifier": changed(given["classifier"], input_size=(1, 40, 40)),
    }


def in_negative(given):
    samples = given["data"].samples
    return {"data": make_dataset(255 - samples.images.images[..., 0], samples.labels)}


def changed(classifier, **facts):
    """The same classifier but for some of its facts."""
    made = copy.copy(classifier)
    made.__dict__.update(facts)
    return made


def moved(classifier, name):
    """The same classifier, one of whose buffers has other values."""
    made = copy.deepcopy(classifier)
    getattr(made, name).add_(0.01)
    return made


CHANGES = {
    "weights": lambda _: {"weights": "b"},
    "rows": lambda given: {"rows": given["rows"] + 1},
    "their order": lambda given: {"rows": given["rows"][::-1].copy()},
    "pass": lambda _: {"feature_pass": 1},
    "crop": lambda _: {"feature_pass": 3},
    "seed": lambda _: {"seed": 1},
    "mirroring": lambda _: {"mirror": False},
    "resize": lambda given: {"classifier": changed(given["classifier"], resize="crop:0.875")},
    "architecture": lambda given: {"classifier": changed(given["classifier"], architecture={"name": "timm:another"})},
    "mean": lambda given: {"classifier": moved(given["classifier"], "mean")},
    "std": lambda given: {"classifier": moved(given["classifier"], "std")},
    "size": of_another_size,
    "pictures": in_negative,
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_features_depend_on_makes_another_pass(what, classifier, data, passes):
    given = {"classifier": classifier, "data": data, "rows": ROWS, "weights": "a", "feature_pass": 2, "seed": 0}
    extract_features(**given)
    extract_features(**given)
    assert sum(passes) == len(ROWS)
    extract_features(**{**given, **CHANGES[what](given)})
    assert sum(passes) == 2 * len(ROWS)


HERE = "firstlight.training.transfer.features"


@pytest.mark.parametrize(
    "change",
    [
        (f"{HERE}.FEATURES", dataclasses.replace(features.FEATURES, version=1000)),
        (f"{HERE}.MIN_CROP_AREA", 0.75),
        ("torch.__version__", "0.75"),
    ],
)
def test_another_way_of_computing_makes_another_pass(change, classifier, data, passes, monkeypatch):
    extract_features(classifier, data, ROWS, "weights", feature_pass=2)
    monkeypatch.setattr(*change)
    extract_features(classifier, data, ROWS, "weights", feature_pass=2)
    assert sum(passes) == 2 * len(ROWS)


def test_the_seed_matters_to_crops_only(classifier, data, passes):
    for number in (0, 1):
        extract_features(classifier, data, ROWS, "weights", feature_pass=number, seed=0)
        extract_features(classifier, data, ROWS, "weights", feature_pass=number, seed=1)
    assert sum(passes) == 2 * len(ROWS)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_pass_leaves_nothing(stop, classifier, data, cache, monkeypatch):
    monkeypatch.setattr(features, "scoring_batch_size", lambda *_: 3)
    calls = []

    def stops_in_the_middle(_images):
        calls.append(len(list(cache.glob("*.npy")) + list(cache.glob(".*.part"))))
        if len(calls) == 3:
            raise stop

    with monkeypatch.context() as patch:
        spy_on_features(patch, stops_in_the_middle)
        with pytest.raises(stop):
            extract_features(classifier, data, ROWS, "weights")
    assert calls == [1, 1, 1], "it was under way, in a folder of another name"
    assert not list(cache.iterdir())
    found = extract_features(classifier, data, ROWS, "weights")
    assert np.asarray(found) == pytest.approx(own_features(classifier, pictures(data, ROWS)), abs=1e-4, rel=1e-3)


def planted(file, change):
    """Change a file that may be mapped by a reader, who keeps the earlier one."""
    content = change(file.read_bytes())
    file.unlink()
    file.write_bytes(content)


DAMAGES = {
    "empty": lambda _: b"",
    "cut off": lambda whole: whole[:-1],
    "one bit": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    "not a number": lambda whole: whole[:-4] + np.float32("nan").tobytes(),
    "zeroed": lambda whole: whole[:128] + bytes(len(whole) - 128),
    "another shape": lambda whole: whole.replace(b"(10,", b"(5, "),
    "a pickle": lambda _: b"\x80\x04.",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_features_are_computed_again_and_say_so(damage, classifier, data, cache, passes):
    first = extract_features(classifier, data, ROWS, "weights")
    before, (folder,), said = np.array(first), cache.iterdir(), []
    planted(folder / "features.npy", DAMAGES[damage])
    with announcements_to(said.append):
        assert np.array_equal(extract_features(classifier, data, ROWS, "weights"), before)
    assert sum(passes) == 2 * len(ROWS)
    assert [line.split(" (")[0] for line in said] == ["note: the features in the cache were damaged"]
    assert list(cache.iterdir()) == [folder]
    assert np.array_equal(first, before), "a process that had them open goes on reading"


def test_a_file_in_the_way_is_replaced(classifier, data, cache):
    before = np.array(extract_features(classifier, data, ROWS, "weights"))
    (folder,) = cache.iterdir()
    shutil.rmtree(folder)
    folder.write_text("a file")
    assert np.array_equal(extract_features(classifier, data, ROWS, "weights"), before)


def test_features_that_are_not_finite_are_told_and_not_kept(classifier, data, cache):
    broken = copy.deepcopy(classifier)
    next(iter(broken.network.body.parameters())).data.fill_(torch.nan)
    with pytest.raises(TrainingError, match="features of this picture are not finite"):
        extract_features(broken, data, ROWS, "weights")
    assert not list(cache.iterdir())


def test_computing_features_leaves_the_classifier_as_it_was(classifier, data):
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    extract_features(classifier, data, ROWS, "weights", feature_pass=2)
    assert set(classifier.state_dict()) == set(before)
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())
    assert classifier.network.head.out_features == 10


def test_many_images_that_do_not_fit_into_memory_are_read_from_disk(classifier, data, monkeypatch):
    whole = np.array(extract_features(classifier, data, ROWS, "weights"))
    monkeypatch.setattr("firstlight.data.loader.HOST_RESIDENT_BYTES", 0)
    monkeypatch.setattr(features, "scoring_batch_size", lambda *_: 4)
    assert np.asarray(extract_features(classifier, data, ROWS, "another name")) == pytest.approx(
        whole, abs=1e-5, rel=1e-4
    )


def test_a_dataset_is_recognized_by_what_it_holds(data, some_digits, classifier, passes):
    extract_features(classifier, data, ROWS, "weights")
    again = make_dataset(*(part.copy() for part in some_digits))
    extract_features(classifier, dataclasses.replace(again), ROWS, "weights")
    assert sum(passes) == len(ROWS)


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_processes_compute_them_together_and_write_them_once(  # noqa: PLR0917 - fixtures
    ranks, classifier, data, passes, monkeypatch, cache
):
    model = features.optimized(classifier)  # once, since it cannot be done in several threads
    monkeypatch.setattr(features, "optimized", lambda _classifier: model)
    monkeypatch.setattr(features, "scoring_batch_size", lambda *_: 3)
    wanted = np.array(extract_features(classifier, data, ROWS, "weights"))
    shutil.rmtree(cache)
    passes.clear()

    def compute(_mine):
        return np.array(extract_features(classifier, data, ROWS, "weights"))

    for found in in_ranks(ranks, compute):
        assert np.array_equal(found, wanted)
    assert sorted(passes) == [1, 3, 3, 3], "each picture once"
    assert all(np.array_equal(found, wanted) for found in in_ranks(3, compute))
    assert len(passes) == 4
