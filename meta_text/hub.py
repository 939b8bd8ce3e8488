"""Finding models (package, folder, Hugging Face Hub), saving classifiers whole, publishing them in one commit."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import cast

import torch

from meta_text import engine
from meta_text.adaptation import Adaptation
from meta_text.card import write_card
from meta_text.model import MetaModel
from meta_text.model_folder import (
    ModelFileError,
    load_model,
    replacing,
    write_adaptation,
    write_embedding,
    write_model,
)

DEFAULT = Path(__file__).parent / "default_model"
REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
WANTED = ["*.json", "*.jsonl", "*.safetensors", "*.txt", "*.md"]


class HubError(ValueError):
    """What the Hugging Face Hub refused, and the way out."""


def find_folder(
    name_or_path: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """A model's folder: the package's own for "default", a path as it is, or one snapshot of a Hub repository.

    A path never touches the network. Raises ModelFileError for a name that is neither, HubError from the Hub.
    """
    if str(name_or_path) == "default":
        return DEFAULT
    path = Path(name_or_path)
    if path.is_dir():
        return path
    if path.exists():
        raise ModelFileError(
            f"{path} is a file; a folder that `meta-text fit` or `train` wrote, a Hub name, or 'default' is needed"
        )
    if not REPO_ID.fullmatch(str(name_or_path)):
        raise ModelFileError(
            f"no model at {name_or_path}: config.json is missing; a folder, a Hub name such as user/model, or 'default' is needed"
        )
    from huggingface_hub import snapshot_download

    with hub_errors(str(name_or_path)):
        return Path(
            snapshot_download(
                str(name_or_path),
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=local_files_only,
                force_download=force_download,
                allow_patterns=WANTED,
            )
        )


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """What the Hub's client raises, as HubError: what was found, what is needed, the way out."""
    from huggingface_hub import errors

    # the HTTP library under the client, whatever it is called: its errors are not OSErrors
    network_error = cast(type[Exception], errors.HfHubHTTPError.__mro__[1])

    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(f"'{repo_id}' is gated; ask for access on its page, then pass token=") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"the Hub has no repository '{repo_id}' for this token; check the name, or pass token= if it is private"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"'{repo_id}' has no such revision; name a branch, tag or commit that its page lists") from error
    except errors.LocalEntryNotFoundError as error:
        raise HubError(
            f"'{repo_id}' is no folder here, and the Hub could not be asked; check the name, the connection, or local_files_only"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise HubError(f"the Hub answered {status} for '{repo_id}': {_advice(status)}") from error
    except (network_error, OSError, RuntimeError) as error:
        raise HubError(
            f"the connection to the Hub broke for '{repo_id}' ({error.__cause__ or error}); nothing was published, try again"
        ) from error


def _advice(status: int) -> str:
    known = {
        401: "no valid token was sent; log in with `hf auth login`, or pass token=",
        403: "this token may not write there; use one with write permission, or your own namespace",
        409: "somebody else is changing the repository; try again",
        412: "the repository has changed in the meantime; try again",
        429: "too many requests; wait some minutes",
    }
    return known.get(
        status, "a fault on its side; nothing was published, try again later" if status >= 500 else "refused"
    )


@lru_cache(maxsize=4)
def shared_model(name_or_path: str, device: str | None) -> MetaModel:
    """The model of a folder on a device (None: CUDA if there is one), loaded once a process, its engine chosen."""
    model = load_model(find_folder(name_or_path)).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    embedding = model.embedding
    if embedding.kind == "transformer" and not embedding.trainable and embedding.device.type == "cpu":
        model.engine_note = engine.choose(embedding)
    return model


def save_classifier(
    model: MetaModel,
    adapted: Adaptation | None,
    folder: str | Path,
    *,
    include_support: bool,
    embed: bool,
    repo_id: str | None = None,
) -> None:
    """A model folder with, if there are classes, their task, and a card. All or nothing."""
    with replacing(Path(folder)) as partial:
        stored = {}
        if adapted is not None:
            stored["classifier"] = write_adaptation(adapted, partial, include_support=include_support)
        write_model(model, partial, stored)
        if embed:
            write_embedding(model, partial)
        write_card(model, partial, stored.get("classifier"), repo_id)


def push_classifier(
    model: MetaModel,
    adapted: Adaptation | None,
    repo_id: str,
    *,
    include_support: bool = False,
    embed: bool = False,
    token: str | bool | None = None,
    private: bool | None = None,
    branch: str | None = None,
    commit_message: str = "Upload a meta_text model",
) -> str:
    """Publish in one commit; returns its address. Raises HubError."""
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save_classifier(model, adapted, folder, include_support=include_support, embed=embed, repo_id=repo_id)
        with hub_errors(repo_id):
            api = HfApi(token=token)
            full_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if branch is not None:
                api.create_branch(full_id, branch=branch, exist_ok=True)
            commit = api.upload_folder(
                repo_id=full_id,
                folder_path=folder,
                revision=branch,
                commit_message=commit_message,
                delete_patterns=[*WANTED, ".eval_results/*"],  # what an older upload left
            )
    return str(commit.commit_url)
