"""Finding models (package, folder, Hugging Face Hub), saving classifiers whole, publishing them in one commit."""

import re
from functools import lru_cache
from pathlib import Path

from meta_text.embedding import precision as engine
from meta_text.embedding.pretrained import find_model
from meta_text.errors import ModelFileError
from meta_text.files import recover
from meta_text.hub_client import hub_errors
from meta_text.model.build import chosen_device
from meta_text.model.model import MetaModel
from meta_text.saving.model_folder import embedding_source, load_model

DEFAULT = Path(__file__).parents[1] / "default_model"
REPO_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
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

    A path never touches the network. Raises ModelFileError for a name that is neither, HubError from the Hub.
    """
    if str(name_or_path) == "default":
        return DEFAULT
    path = Path(name_or_path)
    recover(path)
    if path.is_dir():
        return path
    if path.exists():
        raise ModelFileError(
            f"{path} is a file; a folder that `meta-text fit` or `train` wrote, a Hub name, or 'default' is needed"
        )
    if not REPO_ID.fullmatch(str(name_or_path)):
        raise ModelFileError(
            f"no model at {name_or_path}: config.json is missing; "
            "a folder, a Hub name such as user/model, or 'default' is needed"
        )
    from huggingface_hub import snapshot_download

    with hub_errors(str(name_or_path), "pull"):
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


def fetch_embedding(
    folder: Path,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> None:
    """Make sure that the embedding of a model folder is here; nothing is fetched when a local copy exists."""
    source = embedding_source(folder)
    if source is not None:
        find_model(*source, cache_dir=cache_dir, token=token, local_files_only=local_files_only)


_pulled = lru_cache(maxsize=16)(find_folder)  # a name means one snapshot as long as the process runs


def shared_model(name_or_path: str, device: str | None) -> MetaModel:
    """The model of a folder on a device (None: CUDA if there is one), loaded once as long as its files stay the same."""
    is_here = name_or_path == "default" or Path(name_or_path).exists()
    folder = (find_folder if is_here else _pulled)(name_or_path).resolve()
    found = [(folder / name).stat() for name in ("config.json", "model.safetensors") if (folder / name).exists()]
    return _loaded(folder, str(chosen_device(device)), tuple((at.st_mtime_ns, at.st_size, at.st_ino) for at in found))


@lru_cache(maxsize=4)
def _loaded(folder: Path, device: str, stamp: tuple[tuple[int, int, int], ...]) -> MetaModel:
    """A model on a device, loaded once a process, its engine chosen."""
    model = load_model(folder).to(device)
    embedding = model.embedding
    if embedding.kind == "transformer" and embedding.device.type == "cpu":
        model.engine_note = engine.choose(embedding)
    return model
