"""Files of pretrained weights: found in the libraries' caches or downloaded, verified, and their license checked.

The caches are shared with torchvision, timm and other programs: `torch.hub`'s folder and Hugging Face's.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from firstlight.errors import ModelFileError, RecipeError
from firstlight.files import atomic_path
from firstlight.models.libraries import UNKNOWN_LICENSE, Published
from firstlight.models.spec import NetworkSpec
from firstlight.models.tensor_file import TensorFile, open_weights
from firstlight.progress import progress

Licenses = Literal["any", "permissive"]

PERMISSIVE = ("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc0-1.0", "isc", "mit", "unlicense")
TIMEOUT_SECONDS = 10.0  # without a byte
MEGABYTE = 2**20  # bytes

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")  # the beginning of the file's SHA-256, as PyTorch names its files


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of weights on this machine, verified.

    Attributes:
        path: of the file.
        source: where it comes from, the same on every machine: a URL, a hub's repository, or a file's bare name.
        license: its SPDX identifier in lower case, or `unknown`.
        sha256: of the whole file, 64 hexadecimal digits.
    """

    path: Path
    source: str
    license: str
    sha256: str


def find_weights(spec: NetworkSpec, file: Path | str | None = None, *, license: Licenses = "any") -> Weights:
    """Return the weights of a network: the given file, or else the published one, downloaded if it is not in a cache.

    A file that is downloaded or found in a cache is verified by its published hash, where there is one.

    Args:
        spec: a network of timm or torchvision; its name may end in `.TAG`, where there are several weights.
        file: `.safetensors` or `.pth`, taken as it is; a `license` in its header is believed.
        license: `permissive` refuses weights that not everyone may use, change and sell, and those without a license.

    Raises:
        RecipeError: if no weights are published for it, or their license is refused.
        ModelFileError: if the file cannot be read or downloaded, or is not the one that was published.
    """
    record = spec.published
    assert record is not None, f"{spec.name} has no published weights"
    if file is not None:
        file = Path(file)
        found = Weights(path=file, source=file.name, license=_license_of(file), sha256=_sha256(file))
        _refuse_license(file.name, found.license, license)
        return found
    if not record.url:
        raise RecipeError(
            "no weights are published for it; name a file of them as `weights`, or take another network",
            field="model",
            value=spec.name,
        )
    _refuse_license(spec.name, record.license, license)
    find = _find_on_hub if record.hub else _find_by_url
    path, sha256 = find(spec.name, record)
    return Weights(path=path, source=record.hub or record.url, license=record.license, sha256=sha256)


def _refuse_license(what: str, found: str, allowed: Licenses) -> None:
    if allowed == "permissive" and found not in PERMISSIVE:
        fault = "does not state its license" if found == UNKNOWN_LICENSE else f"is licensed as {found}"
        raise RecipeError(
            f"{what} {fault}, and only permissive weights are wanted ({', '.join(PERMISSIVE)}); "
            "take others, or choose any",
            field="weights_license",
            value=allowed,
        )


def _license_of(file: Path) -> str:
    with open_weights(file) as opened:
        is_safetensors = opened.read(9)[8:] == b"{"
    if not is_safetensors:
        return UNKNOWN_LICENSE
    with TensorFile(file) as tensors:
        stated = tensors.metadata.get("license") or tensors.metadata.get("licence")
    return (stated or UNKNOWN_LICENSE).strip().lower()


def _find_by_url(name: str, record: Published) -> tuple[Path, str]:
    """Return the file in torch.hub's folder and its SHA-256."""
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

    with urlopen(url, timeout=TIMEOUT_SECONDS) as response, target.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0)
        with progress(f"downloading {url.rpartition('/')[2]}", size // MEGABYTE, "MB") as advance:
            while piece := response.read(MEGABYTE):
                file.write(piece)
                advance()
        if file.tell() < size:
            raise OSError(f"it broke off after {file.tell():,} of {size:,} bytes")


def _find_on_hub(name: str, record: Published) -> tuple[Path, str]:
    """Return the file in Hugging Face's cache and its SHA-256, by which the cache names its files."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    found = try_to_load_from_cache(record.hub, record.file)
    if not isinstance(found, str):
        try:
            # First, because it fails at once without a network: the download would try again for half a minute or more.
            get_hf_file_metadata(hf_hub_url(record.hub, record.file), timeout=TIMEOUT_SECONDS)
            found = hf_hub_download(record.hub, record.file, etag_timeout=TIMEOUT_SECONDS)
        except Exception as error:  # from one of half a dozen libraries
            raise _cannot_fetch(name, record, error) from error
    path = Path(found)
    name_in_cache = path.readlink().name if path.is_symlink() else ""
    return path, _verified(path, name_in_cache if len(name_in_cache) == 64 else "", str(path))


def _cannot_fetch(name: str, record: Published, error: Exception, otherwise: str = "") -> ModelFileError:
    reason = next(iter(str(getattr(error, "reason", error)).splitlines()), "") or type(error).__name__
    advice = ", ".join(part for part in (f"set `weights` to that {record.file}", otherwise) if part)
    return ModelFileError(
        f"{name}: its weights are not on this machine and cannot be downloaded ({reason}); "
        f"download {record.url} where there is a network, and {advice}"
    )


def _verified(path: Path, beginning: str, what: str) -> str:
    """Return a file's SHA-256, which has to begin as published."""
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
