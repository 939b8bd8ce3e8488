"""Models on disk: config.json, model.safetensors, tokenizer.json. No pickle is written or read."""

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from meta_text.adaptation import Adaptation
from meta_text.calibration import Calibration
from meta_text.config import Recipe, parse_recipe
from meta_text.embedding import Embedding, find_model
from meta_text.model import MetaModel, build_embedding, build_model
from meta_text.rows import read_rows

FORMAT_VERSION = 1
TASK, SUPPORT, EMBEDDING = "task.safetensors", "support.jsonl", "embedding"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".npy")


class ModelFileError(ValueError):
    """What a saved model lacks, with the file and the way out."""


def model_tensors(model: MetaModel) -> dict[str, Tensor]:
    """The learner's tensors, and the embedding's where training changed them."""
    tensors = {f"learner.{name}": tensor for name, tensor in model.learner.state_dict().items()}
    body = model.embedding.body.state_dict() if model.embedding.trained else {}
    tensors |= {f"embedding.{name}": tensor for name, tensor in body.items() if name in model.embedding.trained}
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def load_tensors(model: MetaModel, tensors: dict[str, Tensor], source: Path) -> None:
    """Put saved tensors in place. Raises ModelFileError unless names and shapes agree exactly."""
    own = model_tensors(model)
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or unknown:
        raise ModelFileError(
            f"{source} does not fit its config.json: missing {missing[:3] or 'none'}, unknown {unknown[:3] or 'none'}; "
            f"save the model again with this version"
        )
    for part, module in (("learner", model.learner), ("embedding", model.embedding.body)):
        state = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
        try:
            module.load_state_dict(state, strict=False)  # names were compared above; frozen weights are not in the file
        except RuntimeError as error:
            raise ModelFileError(f"{source} does not fit its config.json: {error}") from None


def write_model(model: MetaModel, folder: Path, extra: dict[str, Any] | None = None) -> None:
    """The three files of a model, into an existing folder."""
    config = {
        "format_version": FORMAT_VERSION,
        "library": "meta_text",
        "recipe": model.recipe.as_dict(),
        "calibration": model.calibration,
        "results": model.results,
        "embedding_weights_sha256": None if model.embedding.trained else model.embedding.weights_hash(),
        **(extra or {}),
    }
    save_file(model_tensors(model), folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(model.embedding.tokenizer.to_str(), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class replacing:  # noqa: N801  # a context manager, used like a function
    """Yields a new folder beside `target` and renames it into place when the block succeeds."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")

    def __enter__(self) -> Path:
        self.partial.mkdir(parents=True)
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            shutil.rmtree(self.partial)
            return
        old = self.target.with_name(f"{self.partial.name}.old")
        if self.target.exists():
            os.rename(self.target, old)
        os.rename(self.partial, self.target)
        shutil.rmtree(old, ignore_errors=True)


def load_model(folder: str | Path) -> MetaModel:
    """Read a model folder, strictly. Raises ModelFileError with the file at fault; no network for a local embedding."""
    folder = Path(folder)
    config = read_config(folder)
    refuse_pickles(folder)
    recipe = parse_recipe(config["recipe"])
    embedding = _embedding_of(folder, recipe)
    wanted = config.get("embedding_weights_sha256")
    if wanted is not None and embedding.weights_hash() != wanted:
        raise ModelFileError(
            f"{folder} was trained on other weights of '{recipe.embedding.model}' (SHA-256 {wanted[:12]}...) than those found here "
            f"({embedding.weights_hash()[:12]}...); install the same embedding"
        )
    path = folder / "model.safetensors"
    tensors = _read_tensors(path)
    model = build_model(recipe, embedding, n_classes=len(tensors.get("learner.joint_head", ())))
    load_tensors(model, tensors, path)
    model.calibration, model.results = config["calibration"], config["results"]
    model.embedding.settle()
    return model.eval()


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); copy the whole folder again") from None
    return tensors


def write_adaptation(adapted: Adaptation, folder: Path, *, include_support: bool) -> dict[str, Any]:
    """The task beside a model; returns what config.json must say of it."""
    save_file({name: t.detach().cpu().contiguous() for name, t in adapted.task.items()}, folder / TASK)
    if include_support:
        rows = [
            json.dumps({"text": text, "label": label}, ensure_ascii=False)
            for label, texts in adapted.support.items()
            for text in texts
        ]
        (folder / SUPPORT).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    labels = list(adapted.support)
    return {
        "labels": labels,
        "names": adapted.names,
        "shots": adapted.shots,
        "corrections": adapted.corrections,
        "task_sha256": _sha256(folder / TASK),
    }


def load_adaptation(folder: Path, model: MetaModel) -> Adaptation | None:
    """The classes that were saved with a model, or None. Raises ModelFileError where files and config disagree."""
    stored = read_config(folder).get("classifier")
    if stored is None:
        return None
    labels, names, shots = stored["labels"], stored["names"], stored["shots"]
    # cloned: a memory-mapped tensor is not aligned as a computed one, and sums would differ in the last bit
    task = {name: tensor.clone().to(model.embedding.device) for name, tensor in _read_tensors(folder / TASK).items()}
    if _sha256(folder / TASK) != stored["task_sha256"]:
        raise ModelFileError(f"{folder / TASK} is not the file that config.json describes; copy the whole folder again")
    if len(task["head"]) != len(labels):
        raise ModelFileError(
            f"{folder}/config.json lists {len(labels)} classes but {TASK} holds {len(task['head'])}; "
            "change classes through the classifier, not in the file"
        )
    support: dict[Any, tuple[str, ...]] = dict.fromkeys(labels, ())
    features: dict[str, Tensor] = {}
    if (folder / SUPPORT).exists():
        for row in read_rows(folder / SUPPORT):
            support[row["label"]] = (*support[row["label"]], row["text"])
        texts = [text for given in support.values() for text in given] + list(names or ())
        unique = list(dict.fromkeys(texts))
        features = dict(zip(unique, model.represent(unique)[0], strict=True))
    calibration = Calibration.of(model.calibration, names is not None)
    kept = None if names is None else tuple(names)
    corrections = tuple(stored.get("corrections", ()))  # not in the first folders of format version 1
    return Adaptation(model, calibration, support, kept, task, shots, features, corrections=corrections)


def write_embedding(model: MetaModel, folder: Path) -> None:
    """The pretrained embedding's own files, so that the model needs nothing else."""
    if model.embedding.kind == "learned":
        return  # its vectors and tokenizer are in the model's own files
    target = folder / EMBEDDING
    target.mkdir()
    for path in sorted(find_model(model.embedding.model).iterdir()):
        if path.suffix in (".json", ".safetensors"):
            shutil.copyfile(path, target / path.name)


def refuse_pickles(folder: Path) -> None:
    """Raises ModelFileError for a folder that holds a file which can run code when it is loaded."""
    found = [p.name for p in sorted(folder.rglob("*")) if p.suffix in PICKLES]
    if found:
        raise ModelFileError(
            f"{folder} holds {found[0]}, a format that can run code when it is loaded; "
            "only safetensors and JSON are read: remove it, or get the model from its author again"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder, its format version checked."""
    path = folder / "config.json"
    if not path.exists():
        raise ModelFileError(
            f"no model at {folder}: config.json is missing; name a folder that `meta-text train --out` wrote"
        )
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ModelFileError(
            f"{path} is not JSON ({error.msg}, line {error.lineno}); copy the whole folder again"
        ) from None
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {version!r}, this package reads {FORMAT_VERSION}; upgrade meta_text"
        )
    return config


def _embedding_of(folder: Path, recipe: Recipe) -> Embedding:
    """The embedding from the folder's own files where they are, else by its name in the recipe."""
    wanted = recipe.embedding
    if wanted.kind == "learned":
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        body = nn.Embedding.from_pretrained(torch.empty(tokenizer.get_vocab_size(), wanted.width), freeze=False)
        return Embedding("learned", tokenizer, body, wanted.width, wanted.max_tokens, "learned", "full")
    if (folder / EMBEDDING).is_dir():
        wanted = replace(wanted, model=str(folder / EMBEDDING), revision=None)
    return build_embedding(replace(recipe, embedding=wanted), [])
