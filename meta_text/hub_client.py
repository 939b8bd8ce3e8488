"""Downloads from the Hugging Face Hub, and readable messages for what it refuses."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

from meta_text.errors import HubError

Doing = Literal["pull", "push"]
ADVICE = {
    401: "no valid token was sent; log in with `hf auth login`, or pass token=",
    404: "it does not exist, or this token cannot see it; check the name, or pass token= if it is private",
    409: "somebody else is changing the repository; try again",
    412: "the repository has changed in the meantime; try again",
    429: "too many requests; wait a few minutes",
}
FORBIDDEN = {
    "pull": "this token has no read access; ask the owner for access, or use another token",
    "push": "this token has no write access; use one with write permission, or your own namespace",
}


def download(
    repo_id: str,
    patterns: list[str],
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """One snapshot of a repository, as a folder of the files that match `patterns`. Raises HubError."""
    from huggingface_hub import snapshot_download

    with hub_errors(repo_id, "pull"):
        return Path(
            snapshot_download(
                repo_id,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=local_files_only,
                force_download=force_download,
                allow_patterns=patterns,
            )
        )


def earlier_download(repo_id: str, revision: str | None, cache_dir: str | Path | None) -> Path | None:
    """The snapshot of an earlier download, complete or not; the Hub is not contacted."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, revision=revision, cache_dir=cache_dir, local_files_only=True))
    except HFValidationError:
        return None
    except LocalEntryNotFoundError as error:
        # newer clients know all files of the repository, and name the folder where one is missing
        incomplete = getattr(error, "snapshot_path", None)
        return None if incomplete is None else Path(incomplete)


def ask_for(repo_id: str, filename: str, snapshot: Path, token: str | bool | None = None) -> None:
    """Ask the Hub once whether a snapshot's commit has a file; that it has none is noted beside the snapshots."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    # the cache's folder is three above: models--user--name/snapshots/commit
    with hub_errors(repo_id, "pull"), suppress(RemoteEntryNotFoundError):
        hf_hub_download(repo_id, filename, revision=snapshot.name, cache_dir=snapshot.parents[2], token=token)


def is_known_to_lack(snapshot: Path, filename: str) -> bool:
    """Whether the Hub has said that a snapshot's commit has no such file."""
    return (snapshot.parents[1] / ".no_exist" / snapshot.name / filename).exists()


@contextmanager
def hub_errors(repo_id: str, doing: Doing) -> Iterator[None]:
    """Raise the errors of the Hub client as HubError."""
    from huggingface_hub import errors

    # the base error of whichever HTTP library the client uses: it is not an OSError
    network_error = cast(type[Exception], errors.HfHubHTTPError.__mro__[1])
    try:
        yield
    except errors.HFValidationError as error:
        raise HubError(f"'{repo_id}' is not a Hub name ({error}); use one such as user/model") from error
    except (network_error, OSError, RuntimeError) as error:
        raise HubError(_said(repo_id, doing, error)) from error


def _said(repo_id: str, doing: Doing, error: BaseException) -> str:
    from huggingface_hub import errors

    # large uploads and downloads wrap the HTTP error in errors of their own
    chain = list(_causes(error))
    answer = next((e for e in chain if isinstance(e, errors.HfHubHTTPError)), None)
    if isinstance(answer, errors.GatedRepoError):
        return f"'{repo_id}' is gated; ask for access on its page, then pass token="
    if isinstance(answer, errors.RevisionNotFoundError):
        return f"'{repo_id}' has no such revision; name a branch, tag or commit listed on its page"
    if isinstance(answer, errors.RepositoryNotFoundError):
        way_out = "pass token= if it is private" if doing == "pull" else "use a token with write permission"
        return f"the Hub has no repository '{repo_id}' that this token can see; check the name, or {way_out}"
    if answer is not None:
        return f"the Hub answered {answer.response.status_code} for '{repo_id}': {advice(answer.response.status_code, doing)}"
    if isinstance(error, errors.LocalEntryNotFoundError) and len(chain) == 1:
        return (
            f"'{repo_id}' has no local copy, and the Hub was not contacted; "
            "check the name, or leave local_files_only out"
        )
    kept = "; nothing was published, try again" if doing == "push" else "; check the connection and try again"
    # `datasets` says it itself; other clients' own words are at the end of the chain
    reason = error if isinstance(error, ConnectionError) else chain[-1]
    return f"the connection to the Hub failed for '{repo_id}' ({reason}){kept}"


@contextmanager
def at_once_without_address() -> Iterator[None]:
    """Let the Hub's client give up at once where the Hub's host has no address: its retries wait half a minute for one.

    What was fetched before is still found, and servers that answer are still asked again. Raises ConnectionError.
    """
    from huggingface_hub import constants

    unknown = None if constants.HF_HUB_OFFLINE else _without_address(constants.ENDPOINT)
    if unknown is None:
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ConnectionError(unknown) from error
    finally:
        constants.HF_HUB_OFFLINE = False


def _without_address(endpoint: str) -> str | None:
    """What the resolver says of a host that it does not know; None for others, and where a proxy would look it up."""
    address, proxies = urlsplit(endpoint), getproxies()
    if address.scheme in proxies or "all" in proxies:
        return None
    try:
        socket.getaddrinfo(address.hostname, None)
    except OSError as error:
        return f"{address.hostname}: {error}"
    return None


@contextmanager
def without_retry_lines() -> Iterator[None]:
    """Keep the Hub's client from printing a line or two per attempt: the error that ends them says it once."""
    log = logging.getLogger("huggingface_hub.utils._http")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def advice(status: int, doing: Doing) -> str:
    """What to do about an HTTP status."""
    if status == 403:
        return FORBIDDEN[doing]
    if status >= 500:
        return "a server error; " + ("nothing was published, " if doing == "push" else "") + "try again later"
    return ADVICE.get(status, "refused; its page may say why")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
