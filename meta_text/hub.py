"""Models on disk: config.json, model.safetensors, tokenizer.json. No pickle is written or read."""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from meta_text.config import parse_recipe
from meta_text.embedding import Embedding
from meta_text.model import MetaModel, build_embedding, build_model

FORMAT_VERSION = 1


class ModelFileError(ValueError):
    """What a saved model lacks, with the file and the way out."""


def model_tensors(model: MetaModel) -> dict[str, Tensor]:
    """The learner's tensors, and the embedding's where training changed them."""
    tensors = {f"learner.{name}": tensor for name, tensor in model.learner.state_dict().items()}
    if model.embedding.trainable:
        trained = {name for name, p in model.embedding.body.named_parameters() if p.requires_grad}
        body = model.embedding.body.state_dict()
        tensors |= {f"embedding.{name}": tensor for name, tensor in body.items() if name in trained}
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


def save_model(model: MetaModel, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
    """Write a model folder; a reader sees the old one or the new one, never half."""
    folder = Path(folder)
    with replacing(folder) as partial:
        write_model(model, partial, extra)


def write_model(model: MetaModel, folder: Path, extra: dict[str, Any] | None = None) -> None:
    """The three files of a model, into an existing folder."""
    config = {
        "format_version": FORMAT_VERSION,
        "library": "meta_text",
        "recipe": model.recipe.as_dict(),
        "embedding_weights_sha256": None if model.embedding.trainable else model.embedding.weights_hash(),
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
    config = _read_config(folder)
    recipe = parse_recipe(config["recipe"])
    if recipe.embedding.kind == "learned":
        embedding = _learned_from(folder, recipe.embedding.width, recipe.embedding.max_tokens)
    else:
        embedding = build_embedding(recipe, [])
    wanted = config.get("embedding_weights_sha256")
    if wanted is not None and embedding.weights_hash() != wanted:
        raise ModelFileError(
            f"{folder} was trained on other weights of '{recipe.embedding.model}' (SHA-256 {wanted[:12]}...) than those found here "
            f"({embedding.weights_hash()[:12]}...); install the same embedding"
        )
    model = build_model(recipe, embedding)
    path = folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); copy the whole folder again") from None
    load_tensors(model, tensors, path)
    return model.eval()


def _read_config(folder: Path) -> dict[str, Any]:
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


def _learned_from(folder: Path, width: int, max_tokens: int) -> Embedding:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    body = nn.Embedding.from_pretrained(torch.empty(tokenizer.get_vocab_size(), width), freeze=False)
    return Embedding("learned", tokenizer, body, width, max_tokens, "learned", "full")
