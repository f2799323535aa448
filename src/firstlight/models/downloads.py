"""Published weights on this machine: found in the libraries' own caches, fetched if absent, verified, license known.

The caches are shared with torchvision, timm and whatever else uses them: `torch.hub`'s folder and Hugging Face's.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from firstlight.errors import ModelFileError, RecipeError
from firstlight.files import atomic_path
from firstlight.models.libraries import UNKNOWN_LICENCE, Published, published
from firstlight.models.weights import TensorFile, open_weights
from firstlight.progress import progress

Licenses = Literal["any", "permissive"]

PERMISSIVE = ("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc0-1.0", "isc", "mit", "unlicense")
TIMEOUT = 10.0  # seconds without a byte
MEGABYTE = 2**20

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")  # the beginning of the file's SHA-256, as PyTorch names its files


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of weights that is here and is what it should be.

    Attributes:
        path: where it lies on this machine.
        source: where it comes from, the same on every machine: a URL, a hub's repository, or a file's bare name.
        license: SPDX's word for it in small letters, or `unknown`.
        sha256: of the whole file, 64 hexadecimal digits.
    """

    path: Path
    source: str
    license: str
    sha256: str


def find_weights(name: str, file: Path | None = None, *, license: Licenses = "any") -> Weights:
    """Find the weights of a network: the user's file, or else the published one, which is fetched if it is not here.

    A file that is fetched or lies in a cache is verified by the hash it was published with, where it has one.

    Args:
        name: `timm:NAME` or `torchvision:NAME`; `.TAG` may follow, where there are several weights.
        file: `.safetensors` or `.pth`, taken as it is; what its header says of a `license` is believed.
        license: `permissive` refuses what may not be used, changed and sold by everyone, and what says nothing.

    Raises:
        RecipeError: if there is no such network, no weights of it, or their license is refused.
        ModelFileError: if the file cannot be read or fetched, or is not the one that was published.
    """
    record = published(name)
    if file is not None:
        found = Weights(path=file, source=file.name, license=_license_of(file), sha256=_sha256(file))
        _refuse_license(file.name, found.license, license)
        return found
    if not record.url:
        raise RecipeError(f"--backbone {name}: no weights are published for it; give --weights FILE, or take another")
    _refuse_license(name, record.license, license)
    find = _find_on_hub if record.hub else _find_by_url
    path, sha256 = find(name, record)
    return Weights(path=path, source=record.hub or record.url, license=record.license, sha256=sha256)


def _refuse_license(what: str, found: str, allowed: Licenses) -> None:
    if allowed == "permissive" and found not in PERMISSIVE:
        fault = "does not say its license" if found == UNKNOWN_LICENCE else f"is licensed as {found}"
        raise RecipeError(
            f"{what} {fault}, and only permissive weights are wanted ({', '.join(PERMISSIVE)}); "
            "take others, or --weights-license any"
        )


def _license_of(file: Path) -> str:
    with open_weights(file) as opened:
        is_safetensors = opened.read(9)[8:] == b"{"
    if not is_safetensors:
        return UNKNOWN_LICENCE
    with TensorFile(file) as tensors:
        said = tensors.metadata.get("license") or tensors.metadata.get("license")
    return (said or UNKNOWN_LICENCE).strip().lower()


def _find_by_url(name: str, record: Published) -> tuple[Path, str]:
    """Give the file in torch.hub's folder and its SHA-256."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / record.file
    hash_in_name = _HASH_IN_NAME.search(record.file)
    beginning = hash_in_name.group(1) if hash_in_name else ""
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                _fetch(record.url, temporary)
                _verified(temporary, beginning, f"what {record.url} sent")
        except OSError as error:
            raise _cannot_fetch(name, record, error, f"or put it into {path.parent}") from error
    return path, _verified(path, beginning, str(path))


def _fetch(url: str, target: Path) -> None:
    from urllib.request import urlopen

    with urlopen(url, timeout=TIMEOUT) as response, target.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0)
        with progress(f"fetching {url.rpartition('/')[2]} (MB)", size // MEGABYTE) as advance:
            while piece := response.read(MEGABYTE):
                file.write(piece)
                advance()
        if file.tell() < size:
            raise OSError(f"it broke off after {file.tell():,} of {size:,} bytes")


def _find_on_hub(name: str, record: Published) -> tuple[Path, str]:
    """Give the file in Hugging Face's cache and its SHA-256, by which the cache names what it holds."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    found = try_to_load_from_cache(record.hub, record.file)
    if not isinstance(found, str):
        try:
            # Asked first because it gives up at once: the download tries again for half a minute and more.
            get_hf_file_metadata(hf_hub_url(record.hub, record.file), timeout=TIMEOUT)
            found = hf_hub_download(record.hub, record.file, etag_timeout=TIMEOUT)
        except Exception as error:  # of half a dozen libraries below
            raise _cannot_fetch(name, record, error) from error
    path = Path(found)
    held_as = path.readlink().name if path.is_symlink() else ""
    return path, _verified(path, held_as if len(held_as) == 64 else "", str(path))


def _cannot_fetch(name: str, record: Published, error: Exception, otherwise: str = "") -> ModelFileError:
    reason = next(iter(str(getattr(error, "reason", error)).splitlines()), "") or type(error).__name__
    advice = ", ".join(part for part in (f"give it as --weights {record.file}", otherwise) if part)
    return ModelFileError(
        f"{name}: its weights are not on this machine and cannot be fetched ({reason}); "
        f"download {record.url} where there is a network, and {advice}"
    )


def _verified(path: Path, beginning: str, what: str) -> str:
    """Give a file's SHA-256, which has to begin as was published."""
    sha256 = _sha256(path)
    if not sha256.startswith(beginning):
        raise ModelFileError(
            f"{what} is damaged or not what was published: its SHA-256 begins with {sha256[: len(beginning)]}, "
            f"not with {beginning}; delete it and try again"
        )
    return sha256


def _sha256(path: Path) -> str:
    with open_weights(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
