"""Put a model on the Hugging Face Hub: its file, its card, and what was exported of it, in one commit.

Nothing is asked. What is going to be uploaded is announced before, and a repository that is made here is private.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from firstlight.delivery.wording import counted
from firstlight.errors import UserError
from firstlight.escaping import escape_name
from firstlight.models.hub import UNREACHABLE, host, is_repository, library_silenced, reason_of, require_library
from firstlight.progress import announce, phase
from firstlight.runtime.offline import offline_by
from firstlight.runtime.time_limit import answer_within

FIRST_ANSWER_SECONDS = 15.0  # until the hub says whether it has the repository
SILENT_SECONDS = 60.0  # without a byte, in one request
MOST_FAILURES = 3  # of requests in all; then one line says why, instead of minutes of trying again
PICTURES = (".png", ".jpg", ".jpeg", ".webp")  # how the names of golden pictures end
MESSAGE = "Model, card and exports by firstlight"
TOKEN_ADVICE = "set HF_TOKEN to one that may write, or log in once with: hf auth login"  # noqa: S105


@dataclass(frozen=True)
class Place:
    """A repository on the hub, such as `ada/birds`: whether it exists, and whether it is private, or will be."""

    repository: str
    exists: bool
    private: bool


@dataclass(frozen=True)
class Pushed:
    """What was put on the hub.

    Attributes:
        repository: such as `ada/birds`.
        url: where people see it.
        private: whether only those whom its owner permits can see it.
        commit: of what was uploaded, 40 hexadecimal digits.
        files: the size of each file in bytes, by its name there.
    """

    repository: str
    url: str
    private: bool
    commit: str
    files: dict[str, int]

    @property
    def to(self) -> Literal["hub"]:
        """What kind of export this is."""
        return "hub"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, as the command line prints it."""
        return {
            "to": self.to,
            "repository": self.repository,
            "url": self.url,
            "private": self.private,
            "commit": self.commit,
            "files": self.files,
        }


def look_up(repository: str) -> Place:
    """Return what the hub knows of a repository, before any work is done for it.

    Args:
        repository: such as `ada/birds`.

    Raises:
        UserError: if it is no name of a repository, huggingface_hub or a token is missing, the network may not be used
            or fails, or the token is not valid.
    """
    if not is_repository(repository):
        shown = escape_name(repository) or "an empty name"
        raise UserError(f"{shown} cannot be the name of a repository; write user/name, such as ada/birds")
    require_library()
    if (variable := offline_by()) is not None:
        raise UserError(f"{variable} is set, so nothing is uploaded; unset it to use the network")
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise UserError(f"there is no token for {host()}; {TOKEN_ADVICE}")
    try:
        return cast(Place, answer_within(FIRST_ANSWER_SECONDS, lambda: _place(HfApi(), repository)))
    except Exception as error:  # from one of half a dozen libraries
        raise _failed(repository, error) from error


def _place(api: Any, repository: str) -> Place:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        found = api.repo_info(repository, timeout=FIRST_ANSWER_SECONDS)
    except RepositoryNotFoundError:
        api.whoami()  # a token that is not valid sees no private repository either
        return Place(repository, exists=False, private=True)
    return Place(repository, exists=True, private=bool(found.private))


def _failed(repository: str, error: BaseException) -> UserError:
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    return UserError(f"{repository}: the upload to {host()} failed ({reason_of(cause)})")


def push(place: Place, files: Mapping[str, Path]) -> Pushed:
    """Upload files into a repository of models in one commit; it is made, as a private one, if it does not exist.

    Args:
        place: where to.
        files: by their names there.

    Raises:
        UserError: if the network fails, or the hub refuses. Then the repository stays as it was, or empty if it was
            made.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    announce(_what(place, files))
    try:
        with library_silenced(), _limits(), phase(f"uploading to {host()}"), ExitStack() as opened:
            if not place.exists:
                api.create_repo(place.repository, private=True, exist_ok=True)
            made = api.create_commit(place.repository, list(_additions(files, opened)), commit_message=MESSAGE)
    except Exception as error:  # from one of half a dozen libraries
        raise _failed(place.repository, error) from error
    sizes = {name: file.stat().st_size for name, file in files.items()}
    return Pushed(place.repository, f"{api.endpoint}/{place.repository}", place.private, made.oid, sizes)


def _what(place: Place, files: Mapping[str, Path]) -> str:
    seen = ("" if place.exists else "new, ") + ("private" if place.private else "public: everyone can see it")
    listed = ", ".join(f"{name} ({_size(file.stat().st_size)})" for name, file in files.items())
    pictures = sum(name.lower().endswith(PICTURES) for name in files)
    yours = f"; with {counted(pictures, 'picture')} made from your data" if pictures else ""
    return f"uploading to {host()}/{place.repository} ({seen}): {listed}{yours}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB" if count >= 1e3 else f"{count} bytes"


def _additions(files: Mapping[str, Path], opened: ExitStack) -> Iterator[Any]:
    """Yield the files as the hub's library takes them.

    They are given as open files, which it uploads over HTTP, as our tests do, and not by a protocol of its own.
    """
    from huggingface_hub import CommitOperationAdd

    for name, file in files.items():
        yield CommitOperationAdd(name, opened.enter_context(file.open("rb")))


@contextmanager
def _limits() -> Iterator[None]:
    """Let no request of the hub's library wait without end, and let it fail for good after a few failures.

    By itself it waits forever for an answer, and tries each request six times.
    """
    from huggingface_hub import get_session

    client = get_session()
    timeout, send, failures = client.timeout, client.send, 0

    def limited(*arguments: Any, **options: Any) -> Any:
        nonlocal failures
        try:
            response = send(*arguments, **options)
        except Exception as error:
            failures += 1
            if (
                failures >= MOST_FAILURES or type(error).__name__ == "ConnectError"
            ):  # which makes a client without limits
                raise OSError(str(error) or f"no answer in {SILENT_SECONDS:g} seconds") from error
            raise
        failures += response.status_code in UNREACHABLE
        if response.status_code in UNREACHABLE and failures >= MOST_FAILURES:
            raise OSError(f"the hub answers {response.status_code}; try again later")
        return response

    client.timeout, client.send = SILENT_SECONDS, limited
    try:
        yield
    finally:
        client.timeout = timeout
        del client.send
