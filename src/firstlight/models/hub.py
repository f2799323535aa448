"""Models on the Hugging Face Hub, written as `hf:user/name` or `hf:user/name@revision`.

Only `model.safetensors` is ever downloaded, into Hugging Face's cache, and only what matches its digests stays there.
"""

import hashlib
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from firstlight.errors import DownloadError, ModelFileError, UserError
from firstlight.escaping import escape_name
from firstlight.models.model_file import verify_model
from firstlight.progress import announce, is_silent
from firstlight.runtime.offline import offline_by
from firstlight.runtime.time_limit import answer_within

PREFIX = "hf:"
HUB_FILE = "model.safetensors"
ANSWER_SECONDS = 10.0  # until the hub says what it has; without a network some look-ups of names never end
UNREACHABLE = (408, 425, 429, 500, 502, 503, 504)  # answers of a server that another try may change

_ADDRESS = re.compile(r"hf:/{0,2}([\w.-]{1,96}/[\w.-]{1,96})(?:@([\w./-]{1,200}))?", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubAddress:
    """Where a model is on the hub: a repository such as `ada/birds`, and a branch, tag, or commit."""

    repository: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision != "main" else "")

    @classmethod
    def of(cls, text: str) -> "HubAddress":
        """Return the address that a text such as `hf:ada/birds@v1` names.

        Raises:
            ModelFileError: if it names none.
        """
        parts = _ADDRESS.fullmatch(text)
        if parts is None or not is_repository(parts[1]) or ".." in (parts[2] or ""):
            raise ModelFileError(
                f"{escape_name(text)} names no model on the hub; write hf:user/name, or hf:user/name@revision"
            )
        return cls(parts[1], parts[2] or "main")


def is_repository(text: str) -> bool:
    """Return whether a text can be the name of a repository, such as `ada/birds`."""
    user, slash, name = text.partition("/")
    parts = (user, name)
    return bool(slash) and all(_REPOSITORY.fullmatch(part) and "--" not in part and ".." not in part for part in parts)


def repository_of(file: Path) -> str | None:
    """Return the repository whose model lies in Hugging Face's cache as this file; None if it lies elsewhere."""
    folders = file.absolute().parents
    if len(folders) < 3 or folders[1].name != "snapshots" or not folders[2].name.startswith("models--"):
        return None
    return folders[2].name.removeprefix("models--").replace("--", "/")


def fetch_model(text: str) -> Path:
    """Return the model file of a model on the hub, downloaded if it is not in the cache yet; one line announces it.

    Without a network, and with HF_HUB_OFFLINE or FIRSTLIGHT_OFFLINE set, it is taken from the cache as it is there.

    Args:
        text: such as `hf:ada/birds`, or `hf:ada/birds@v1`.

    Raises:
        ModelFileError: if the address is wrong, or the file is not a whole model file of ours; it is not kept then.
        DownloadError: if it is not in the cache and cannot be downloaded.
        UserError: if huggingface_hub is not installed.
    """
    where = HubAddress.of(text)
    require_library()
    cached = _in_cache(where.repository, where.revision)
    variable = offline_by()
    if cached is not None and (variable is not None or _COMMIT.fullmatch(where.revision)):
        return cached
    if variable is not None:
        why = f"it is not on this machine, and {variable} is set"
        raise DownloadError(f"{where}: {why}; unset it, or download the model on a computer with a network", why=why)
    announce(f"reading {where} from {host()}, if it is not in the cache yet")
    try:
        described = answer_within(ANSWER_SECONDS, lambda: _describe(where))
    except Exception as error:  # from one of half a dozen libraries
        if cached is not None and _is_unreachable(error):
            announce(f"note: {host()} cannot be reached ({reason_of(error)}); {where} is the one in the cache")
            return cached
        raise _refused(where, error) from error
    known = _in_cache(where.repository, described.commit_hash)
    try:
        path = _download(where)
    except Exception as error:
        raise _refused(where, error) from error
    if known is None:
        _verify(where, path, described.etag or "")
    return path


def require_library() -> None:
    """Refuse to go on without huggingface_hub.

    Raises:
        UserError: if it is not installed.
    """
    if find_spec("huggingface_hub") is None:
        raise UserError("the hub needs huggingface_hub; install it with: pip install 'firstlight[hub]'")


@contextmanager
def library_silenced(*, bars: bool = False) -> Iterator[None]:
    """Keep the hub's library from writing to stderr within the block; what fails is told in our own words.

    Args:
        bars: whether it may show its bars of progress, where a person sees them.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    verbosity, were_disabled = logging.get_verbosity(), are_progress_bars_disabled()
    logging.set_verbosity_error()
    if not (bars and sys.stderr.isatty() and not is_silent()) and not were_disabled:
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if not were_disabled:
            enable_progress_bars()


def host() -> str:
    """Return the name of the computer that the hub is on, as `HF_ENDPOINT` says."""
    from huggingface_hub import constants

    endpoint = str(constants.ENDPOINT)
    return urlsplit(endpoint).hostname or endpoint


def reason_of(error: BaseException) -> str:
    """Return in a few words why the hub did not do what was asked; never a header, and so never a token."""
    status = _status_of(error)
    kind = type(error).__name__
    if kind in ("EntryNotFoundError", "RemoteEntryNotFoundError", "LocalEntryNotFoundError") and status == 404:
        return f"it has no {HUB_FILE}, and firstlight reads no other file"
    if kind == "RevisionNotFoundError":
        return "it has no such revision"
    if kind == "GatedRepoError":
        return "its owner has to give you access first"
    not_seen = "there is no such repository, or you may not see it: check its name, and your token in HF_TOKEN"
    words = {
        401: not_seen,
        403: "your token does not permit this",
        404: not_seen,
        429: "too many requests; try again later",
    }
    if status is not None:
        return words.get(status, f"the hub answers {status}; try again later")
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    shown = escape_name(first, 200) or kind
    return f"it cannot be reached: {shown}" if kind.startswith("Connect") else shown


def _in_cache(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, HUB_FILE, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _describe(where: HubAddress) -> Any:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(where.repository, HUB_FILE, revision=where.revision)
    return get_hf_file_metadata(url, timeout=ANSWER_SECONDS)


def _download(where: HubAddress) -> Path:
    from huggingface_hub import hf_hub_download

    with library_silenced(bars=True):
        found = hf_hub_download(where.repository, HUB_FILE, revision=where.revision, etag_timeout=ANSWER_SECONDS)
    return Path(found)


def _verify(where: HubAddress, path: Path, etag: str) -> None:
    """Refuse a downloaded file that is not what the hub announced, or not a whole model file; it is deleted then."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if _SHA256.fullmatch(etag) and sha256 != etag:
            raise ModelFileError("its SHA-256 is not the one that the hub states; it was damaged on the way, try again")
        verify_model(path)
    except ModelFileError as error:
        reason = str(error).replace(f"{path}: ", "").replace(f"{path} ", "it ")
        blob = path.resolve()
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise ModelFileError(f"{where}: {reason}") from error


def _refused(where: HubAddress, error: BaseException) -> ModelFileError:
    if isinstance(error, UserError):
        return ModelFileError(str(error))
    why = reason_of(error)
    return DownloadError(f"{where} cannot be downloaded from {host()}: {why}", why=why)


def _status_of(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _is_unreachable(error: BaseException) -> bool:
    """Return whether the hub did not answer, rather than refuse."""
    status = _status_of(error)
    return status in UNREACHABLE if status is not None else not isinstance(error, UserError)
