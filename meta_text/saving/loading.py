"""Finding models (package, folder, Hugging Face Hub), and loading each once per process."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from meta_text.embedding.device import chosen_device
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.given_vectors import VectorEncoder
from meta_text.embedding.pretrained import find_model
from meta_text.embedding.process import one_thread_at_a_time, own_settings
from meta_text.errors import HubError, ModelFileError
from meta_text.files import KINDS, recover
from meta_text.hub_client import download
from meta_text.model.model import MetaModel
from meta_text.saving.model_folder import embedding_source, load_model
from meta_text.wording import did_you_mean

DEFAULT = Path(__file__).parents[1] / "default_model"
REPO_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
FILE_ENDINGS = (*KINDS, ".gz", ".zip", ".toml", ".txt", ".md", ".safetensors", ".onnx")  # no model's name ends so
WANTED = ["*.json", "*.jsonl", "*.safetensors", "*.txt", "*.md"]


def find_folder(
    name_or_path: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """A model's folder: the package's own for "default", a path as it is, or one snapshot of a Hub repository.

    Only a name of the form user/model that is no folder here is asked of the Hub: not one that starts with ./, ../, /
    or ~, has more slashes or none, or ends like a file. Raises ModelFileError for what is none of these, HubError from
    the Hub.
    """
    if str(name_or_path) == "default":
        return DEFAULT
    path = Path(name_or_path).expanduser().resolve()
    recover(path)
    if path.is_dir():
        return path
    if path.exists():
        raise ModelFileError(
            f"{path} is a file; a folder that `meta-text fit` or `train` wrote, a Hub name, or 'default' is needed"
        )
    name = str(name_or_path)
    if not REPO_ID.fullmatch(name) or name.lower().endswith(FILE_ENDINGS):
        raise ModelFileError(
            f"no model at {name_or_path}: there is no such folder; "
            "a folder, a Hub name such as user/model, or 'default' is needed"
            f"{did_you_mean(name, ['default'])}"
        )
    try:
        return download(
            name,
            WANTED,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            force_download=force_download,
        )
    except HubError as error:
        hint = did_you_mean(path.name, _folders_beside(path))
        raise HubError(f"there is no folder {name} here{hint}; as a name on the Hub: {error}") from error


def _folders_beside(path: Path) -> list[str]:
    return [one.name for one in path.parent.iterdir() if one.is_dir()] if path.parent.is_dir() else []


def fetch_embedding(
    folder: Path,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> None:
    """Make sure that the embedding of a model folder is on this machine; nothing is fetched if a local copy exists."""
    source = embedding_source(folder)
    if source is not None:
        find_model(*source, cache_dir=cache_dir, token=token, local_files_only=local_files_only)


_pulled = lru_cache(maxsize=16)(find_folder)  # a name means the same snapshot for the whole process


def shared_model(name_or_path: str, device: str | None, embedding: Any = None) -> MetaModel:
    """The model of a folder on a device (None: CUDA if available), loaded again only if its files change.

    embedding: the encoders that it works on, if not those that it was saved with (see `open_encoders`).
    """
    spec = tuple(embedding) if isinstance(embedding, list) else embedding
    is_here = name_or_path == "default" or Path(name_or_path).expanduser().exists()
    with one_thread_at_a_time(), own_settings():
        folder = (find_folder if is_here else _pulled)(name_or_path).resolve()
        files = [(folder / name).stat() for name in ("config.json", "model.safetensors") if (folder / name).exists()]
        stamp = tuple((at.st_mtime_ns, at.st_size, at.st_ino) for at in files)
        at_once = _loaded if _is_hashable(spec) else _loaded.__wrapped__
        return _with_free_width(at_once(folder, str(chosen_device(device)), stamp, spec))


def _is_hashable(spec: Any) -> bool:
    """A list of lists, an array and an object that defines only equality are not."""
    try:
        hash(spec)
    except TypeError:
        return False
    return True


def _with_free_width(model: MetaModel) -> MetaModel:
    """The model itself; or, where it takes ready vectors, one whose vectors have no width yet: each `fit` fixes its own."""
    return (
        model.with_encoders(EncoderBlocks([VectorEncoder()], model.embedding.device)) if model.reads_vectors else model
    )


@lru_cache(maxsize=4)
def _loaded(folder: Path, device: str, stamp: tuple[tuple[int, int, int], ...], spec: Any) -> MetaModel:
    """A model on a device, loaded once per process."""
    return load_model(folder, () if spec is None else open_encoders(spec)).on(torch.device(device))
