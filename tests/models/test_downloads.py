"""Weights are found in the caches, fetched whole or not at all, verified, and refused where their license is."""

import hashlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from firstlight.errors import ModelFileError, RecipeError
from firstlight.models.downloads import PERMISSIVE, find_weights
from firstlight.models.libraries import Published
from firstlight.models.spec import NetworkSpec
from firstlight.progress import announcements_to

CONTENT = b"weights, for all that a download knows" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RESNET50 = "resnet50-11ad3fa6.pth"


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Caches of our own, empty; gives torch.hub's folder of checkpoints."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def published_at(url):
    record = Published(
        input_size=(3, 8, 8), mean=(0.5,) * 3, std=(0.5,) * 3, crop=1.0, license="mit", url=url, file=Path(url).name
    )
    return NetworkSpec(name="torchvision:small", published=record, pretrained=True)


def plant_on_hub(cache, content, name=SHA256):
    """Put content into Hugging Face's cache, as if it had been fetched under that SHA-256."""
    repository = cache / "models--timm--resnet50.a1_in1k"
    commit = "0123456789abcdef" * 2 + "01234567"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True)
    (repository / "blobs" / name).write_bytes(content)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit / "model.safetensors").symlink_to(f"../../blobs/{name}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision:resnet50", f"download https://download.pytorch.org/models/{RESNET50} "),
        ("torchvision:resnet50", f"set `weights` to that {RESNET50}, or put it into "),
        ("timm:resnet50.a1_in1k", "huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors on a computer"),
        ("timm:resnet50.a1_in1k", "set `weights` to that model.safetensors"),
        ("timm:gcvit_tiny", "github.com/rwightman/pytorch-image-models/releases/download/.*-ac783954.pth"),
    ],
)
def test_without_a_network_one_line_says_at_once_which_file_to_bring_and_where(name, words, caches, monkeypatch):
    lookups, refuse = [], socket.getaddrinfo

    def watched(host, *arguments, **options):
        lookups.append(host)
        return refuse(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"it waits {seconds} s for a network"))
    with pytest.raises(ModelFileError, match=words) as raised:
        find_weights(NetworkSpec.of(name))
    assert 1 <= len(lookups) <= 2, "it does not try again and again"
    assert "\n" not in str(raised.value)
    assert "tests have no network" in str(raised.value)
    assert not caches.exists() or not list(caches.iterdir()), "nothing half done is left"


def test_a_network_without_published_weights_is_one_clear_line():
    with pytest.raises(RecipeError, match="no weights are published for it; set `weights` to a file"):
        find_weights(NetworkSpec.of("timm:vit_giant_patch14_224"))


def test_a_file_in_torch_hubs_folder_is_taken(caches):
    small = published_at(f"https://example.org/small-{SHA256[:8]}.pth")
    caches.mkdir(parents=True)
    (caches / f"small-{SHA256[:8]}.pth").write_bytes(CONTENT)
    found = find_weights(small)
    assert found.path == caches / f"small-{SHA256[:8]}.pth"
    assert (found.source, found.license) == (f"https://example.org/small-{SHA256[:8]}.pth", "mit")
    assert found.sha256 == SHA256


def test_a_file_that_is_not_what_its_name_says_is_refused(caches):
    caches.mkdir(parents=True)
    (caches / RESNET50).write_bytes(CONTENT)
    with pytest.raises(ModelFileError, match=f"{RESNET50} is damaged.* with {SHA256[:8]}, not with 11ad3fa6; delete"):
        find_weights(NetworkSpec.of("torchvision:resnet50"))


def test_a_file_is_fetched_verified_and_kept(caches, tmp_path):
    origin = tmp_path / f"small-{SHA256[:8]}.pth"
    origin.write_bytes(CONTENT)
    small, told = published_at(origin.as_uri()), []
    with announcements_to(told.append):
        found = find_weights(small)
    assert told == [f"downloading weights: {origin.as_uri()}, 38 kB, license mit"]
    assert found.path.read_bytes() == CONTENT
    assert [file.name for file in caches.iterdir()] == [origin.name]
    origin.unlink()
    assert find_weights(small) == found, "it is not fetched twice"


def test_what_was_fetched_damaged_is_not_kept(caches, tmp_path):
    origin = tmp_path / f"small-{SHA256[:8]}.pth"
    origin.write_bytes(CONTENT[:-1])
    small = published_at(origin.as_uri())
    with pytest.raises(ModelFileError, match=f"what {origin.as_uri()} sent is damaged"):
        find_weights(small)
    assert list(caches.iterdir()) == []


def test_a_download_that_breaks_off_is_not_kept(caches):
    class BreaksOff(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), BreaksOff) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            small = published_at(f"http://127.0.0.1:{server.server_port}/small.pth")
            with pytest.raises(ModelFileError, match="it stopped after 4 of 1,000 bytes"):
                find_weights(small)
        finally:
            server.shutdown()
            thread.join()
    assert list(caches.iterdir()) == []


def test_a_file_in_hugging_faces_cache_is_taken(tmp_path):
    plant_on_hub(tmp_path / "hub", CONTENT)
    found = find_weights(NetworkSpec.of("timm:resnet50.a1_in1k"), license="permissive")
    assert found.path.read_bytes() == CONTENT
    assert (found.source, found.license, found.sha256) == ("timm/resnet50.a1_in1k", "apache-2.0", SHA256)


def test_a_damaged_file_in_hugging_faces_cache_is_refused(tmp_path):
    plant_on_hub(tmp_path / "hub", CONTENT[:-1])
    with pytest.raises(ModelFileError, match=f"is damaged.* not with {SHA256}; delete it"):
        find_weights(NetworkSpec.of("timm:resnet50.a1_in1k"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1", "is licensed as cc-by-nc-4.0, and only permissive"),
        ("timm:convnextv2_tiny", "is licensed as cc-by-nc-4.0, and only permissive"),
        ("timm:vit_small_patch16_dinov3", "is licensed as dinov3-license"),
    ],
)
def test_licenses_that_restrict_are_refused_before_anything_is_fetched(name, words):
    with pytest.raises(RecipeError, match=words) as raised:
        find_weights(NetworkSpec.of(name), license="permissive")
    assert str(raised.value).endswith("choose others, or set it to any")
    assert "\n" not in str(raised.value)


def test_the_license_of_a_file_is_what_its_header_says(tmp_path):
    file = tmp_path / "mine.safetensors"
    for metadata, license in (
        ({"license": "MIT"}, "mit"),
        ({"licence": "cc-by-nc-4.0"}, "cc-by-nc-4.0"),
        ({}, "unknown"),
    ):
        save_file({"weight": torch.ones(2)}, file, metadata=metadata)
        assert find_weights(NetworkSpec.of("torchvision:resnet18"), file).license == license
        if license in PERMISSIVE:
            find_weights(NetworkSpec.of("torchvision:resnet18"), file, license="permissive")
            continue
        with pytest.raises(RecipeError, match=r"mine.safetensors (is licensed as cc-by-nc|does not state its license)"):
            find_weights(NetworkSpec.of("torchvision:resnet18"), file, license="permissive")


def test_a_file_is_told_by_its_bare_name_and_hash(tmp_path):
    file = tmp_path / "mine.pth"
    torch.save({"weight": torch.ones(2)}, file)
    found = find_weights(NetworkSpec.of("timm:resnet18"), file)
    assert (found.path, found.source, found.license) == (file, "mine.pth", "unknown")
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(ModelFileError, match="there is no such file"):
        find_weights(NetworkSpec.of("timm:resnet18"), tmp_path / "gone.pth")
