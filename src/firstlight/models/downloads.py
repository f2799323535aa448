"""Files of pretrained weights: embedded, in the libraries' caches, or downloaded; verified, and their license checked.

The caches are shared with torchvision, timm and other programs: `torch.hub`'s folder and Hugging Face's.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from firstlight.errors import DownloadError, ModelFileError, RecipeError
from firstlight.files import atomic_path, expand_user
from firstlight.models import embedded
from firstlight.models.libraries import UNKNOWN_LICENSE, Published
from firstlight.models.spec import NetworkSpec
from firstlight.models.tensor_file import TensorFile, open_weights
from firstlight.progress import announce, progress
from firstlight.runtime.offline import offline_by
from firstlight.runtime.time_limit import answer_within

Licenses = Literal["any", "permissive"]

PERMISSIVE = ("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc0-1.0", "isc", "mit", "unlicense")
TIMEOUT_SECONDS = 10.0  # without a byte
FIRST_ANSWER_SECONDS = 4.0  # until the server says how large the file is; without a network some never answer
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
    """Return the weights of a network: the given file, the embedded ones, or the published ones, downloaded if need be.

    A file that is embedded, downloaded, or found in a cache is verified by its published hash, where there is one.
    Before a download, its size and license are shown.

    Args:
        spec: a network of timm or torchvision; its name may end in `.TAG`, where there are several weights.
        file: `.safetensors` or `.pth`, taken as it is; a `license` in its header is believed.
        license: `permissive` refuses weights that not everyone may use, change and sell, and those without a license.

    Raises:
        RecipeError: if no weights are published for it, or their license is refused.
        DownloadError: if the file is not on this machine and cannot be downloaded.
        ModelFileError: if the file cannot be read, or is not the one that was published.
    """
    if file is not None:
        file = expand_user(file)
        found = Weights(path=file, source=file.name, license=_license_of(file), sha256=_sha256(file))
        _refuse_license(file.name, found.license, license)
        return found
    if (found_here := find_here(spec)) is not None:
        _refuse_license(spec.name, found_here.license, license)
        return found_here
    record = _record_of(spec)
    if not record.url:
        raise RecipeError(
            "no weights are published for it; set `weights` to a file, or choose another network",
            field="model",
            value=spec.name,
        )
    _refuse_license(spec.name, record.license, license)
    fetch = _fetch_from_hub if record.hub else _fetch_by_url
    return _weights(record, *fetch(spec.name, record))


def find_here(spec: NetworkSpec) -> Weights | None:
    """Return the weights of a network if they are on this machine, verified; None if they would have to be downloaded.

    Raises:
        ModelFileError: if the file is not the one that was published.
    """
    if spec.name in embedded.NAMES and (file := embedded.embedded_file()) is not None:
        if (sha256 := _sha256(file)) != embedded.SHA256:
            raise ModelFileError(
                f"{file} is damaged or was changed: its SHA-256 begins with {sha256[:8]}, not with "
                f"{embedded.SHA256[:8]}; install {embedded.PACKAGE} again"
            )
        return Weights(path=file, source=embedded.SOURCE, license=embedded.LICENSE, sha256=sha256)
    record = _record_of(spec)
    if not record.url:
        return None
    path = _in_hub_cache(record) if record.hub else _in_torch_cache(record)
    return _weights(record, path, _published_beginning(path, record)) if path.exists() else None


def _record_of(spec: NetworkSpec) -> Published:
    assert spec.published is not None, f"{spec.name} has no published weights"
    return spec.published


def _weights(record: Published, path: Path, beginning: str) -> Weights:
    """Return a file as weights, after checking that its SHA-256 begins as published."""
    sha256 = _verified(path, beginning, str(path))
    return Weights(path=path, source=record.hub or record.url, license=record.license, sha256=sha256)


def _refuse_license(what: str, found: str, allowed: Licenses) -> None:
    if allowed == "permissive" and found not in PERMISSIVE:
        fault = "does not state its license" if found == UNKNOWN_LICENSE else f"is licensed as {found}"
        raise RecipeError(
            f"{what} {fault}, and only permissive weights are wanted ({', '.join(PERMISSIVE)}); "
            "choose others, or set it to any",
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


def _in_torch_cache(record: Published) -> Path:
    """Return where torch.hub keeps the file, whether it is there or not."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / record.file


def _in_hub_cache(record: Published) -> Path:
    """Return where Hugging Face's cache has the file; a path that does not exist if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(record.hub, record.file)
    return Path(found) if isinstance(found, str) else Path(record.file, "is not in the cache")


def _published_beginning(path: Path, record: Published) -> str:
    """Return how a file's SHA-256 begins by its name: in its URL, or in Hugging Face's cache; empty if neither says."""
    if record.hub:
        name_in_cache = path.readlink().name if path.is_symlink() else ""
        return name_in_cache if len(name_in_cache) == 64 else ""
    hash_in_name = _HASH_IN_NAME.search(record.file)
    return hash_in_name.group(1) if hash_in_name else ""


def _fetch_by_url(name: str, record: Published) -> tuple[Path, str]:
    """Download the file into torch.hub's folder."""
    path = _in_torch_cache(record)
    beginning = _published_beginning(path, record)
    try:
        _require_network()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            _fetch(record, temporary)
            _verified(temporary, beginning, f"what {record.url} sent")
    except OSError as error:
        raise _cannot_fetch(name, record, error, f"or put it into {path.parent}") from error
    return path, beginning


def _fetch(record: Published, target: Path) -> None:
    from urllib.request import urlopen

    response = answer_within(FIRST_ANSWER_SECONDS, lambda: urlopen(record.url, timeout=TIMEOUT_SECONDS))
    with response, target.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0)
        _announce_download(record, size)
        with progress(f"downloading {record.file}", size // MEGABYTE, "MB") as advance:
            while piece := response.read(MEGABYTE):
                file.write(piece)
                advance()
        if file.tell() < size:
            raise OSError(f"it stopped after {file.tell():,} of {size:,} bytes")


def _fetch_from_hub(name: str, record: Published) -> tuple[Path, str]:
    """Download the file into Hugging Face's cache."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(record.hub, record.file)
    try:
        _require_network()
        # First, because it fails at once without a network: the download would try again for half a minute or more.
        described = answer_within(FIRST_ANSWER_SECONDS, lambda: get_hf_file_metadata(url, timeout=TIMEOUT_SECONDS))
        _announce_download(record, described.size or 0)
        path = Path(hf_hub_download(record.hub, record.file, etag_timeout=TIMEOUT_SECONDS))
    except Exception as error:  # from one of half a dozen libraries
        raise _cannot_fetch(name, record, error) from error
    return path, _published_beginning(path, record)


def _require_network() -> None:
    if (variable := offline_by()) is not None:
        raise OSError(f"{variable} is set")


def _announce_download(record: Published, size: int) -> None:
    words = f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
    amount = f", {words}" if size else ""
    where = f"{record.hub}/{record.file}" if record.hub else record.url
    announce(f"downloading weights: {where}{amount}, license {record.license}")


def _cannot_fetch(name: str, record: Published, error: Exception, otherwise: str = "") -> DownloadError:
    reason = next(iter(str(getattr(error, "reason", error)).splitlines()), "") or type(error).__name__
    advice = ", ".join(part for part in (f"set `weights` to that {record.file}", otherwise) if part)
    why = f"its weights are not on this machine and cannot be downloaded ({reason})"
    return DownloadError(
        f"{name}: {why}; download {record.url} on a computer with internet access, and {advice}", why=why
    )


def _verified(path: Path, beginning: str, what: str) -> str:
    """Return a file's SHA-256, which has to begin as published."""
    sha256 = _sha256(path)
    if not sha256.startswith(beginning):
        raise ModelFileError(
            f"{what} is damaged, or is not the published file: its SHA-256 begins with {sha256[: len(beginning)]}, "
            f"not with {beginning}; delete it and try again"
        )
    return sha256


def _sha256(path: Path) -> str:
    with open_weights(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
