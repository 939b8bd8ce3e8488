"""Models on disk: config.json, model.safetensors, tokenizer.json. No pickle is written or read."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from meta_text.config import Recipe, saved_recipe
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.packed_bert import parts_of, write_packed
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.errors import ConfigError, HubError, InputError, ModelFileError
from meta_text.files import file_sha256, save_tensors
from meta_text.model.build import build_embedding, build_model
from meta_text.model.calibration import Calibrations
from meta_text.model.mixture import Prior
from meta_text.model.model import MetaModel
from meta_text.model.results import Result
from meta_text.parsing import parse_json
from meta_text.wording import without_hint

FORMAT_VERSION = 1
EMBEDDING = "embedding"
MULTILABEL = "multilabel"  # in config.json, if texts may have several labels
AGAIN = "copy the whole folder again, or save the model again"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".npy")
Stored = TypeVar("Stored")


@dataclass(frozen=True)
class StoredModel:
    """What config.json must say about a model; the first folders of format version 1 lack the fields with defaults."""

    recipe: dict[str, Any]
    calibration: Calibrations
    results: list[Result]
    embedding_weights_sha256: str | None = None
    embedding_commit: str | None = None
    tokenizer_sha256: str | None = None
    prior: Prior = field(default_factory=Prior)  # of the weights of several encoders


def model_tensors(model: MetaModel) -> dict[str, Tensor]:
    """The learner's tensors, and the embedding's if training changed them."""
    tensors = {f"learner.{name}": tensor for name, tensor in model.learner.state_dict().items()}
    body = {} if isinstance(model.embedding, EncoderBlocks) else model.embedding.body.state_dict()
    tensors |= {f"embedding.{name}": tensor for name, tensor in body.items() if name in model.embedding.trained_names}
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
    parts: dict[str, nn.Module] = {"learner": model.learner}
    if isinstance(model.embedding, Embedding):
        parts["embedding"] = model.embedding.body
    for part, module in parts.items():
        state = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
        try:
            module.load_state_dict(state, strict=False)  # names were compared above; frozen weights are not in the file
        except RuntimeError as error:
            raise ModelFileError(f"{source} does not fit its config.json: {error}") from None


def write_model(model: MetaModel, folder: Path, extra: dict[str, Any] | None = None) -> None:
    """Write the files of a model into an existing folder; no tokenizer.json if its encoders have their own."""
    save_tensors(model_tensors(model), folder / "model.safetensors")
    if isinstance(model.embedding, Embedding):
        (folder / "tokenizer.json").write_text(model.embedding.tokenizer.to_str(), encoding="utf-8")
    config = {
        "format_version": FORMAT_VERSION,
        "library": "meta_text",
        "recipe": model.recipe.as_dict(),
        "calibration": asdict(model.calibration),
        "results": [result.as_dict() for result in model.results],
        "embedding_weights_sha256": None if model.embedding.trained_names else model.embedding.weights_hash(),
        "embedding_commit": model.embedding.commit,
        "tokenizer_sha256": file_sha256(folder / "tokenizer.json") if model.embedding.kind != "encoders" else None,
        "prior": asdict(model.prior),
        **(extra or {}),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_model(folder: str | Path, encoders: Sequence[SentenceEncoder] = ()) -> MetaModel:
    """Read a model folder, strictly. Raises ModelFileError naming the file; a local embedding needs no network.

    encoders: those of the user's own that the folder cannot name, or others than it was saved with.
    """
    folder = Path(folder)
    stored = checked(StoredModel, read_config(folder), f"{folder}/config.json")
    refuse_pickles(folder)
    expected_sha256, path = stored.embedding_weights_sha256, folder / "model.safetensors"
    tensors = read_tensors(path)
    recipe = _recipe_of(folder, stored)
    embedding: Embedding | EncoderBlocks
    if encoders:
        embedding = _own_encoders(folder, recipe, encoders)
        recipe = replace(recipe, embedding=replace(recipe.embedding, encoders=embedding.sources))
    else:
        embedding = _embedding_of(folder, recipe, stored)
    if expected_sha256 is not None and not encoders and embedding.weights_hash() != expected_sha256:
        raise ModelFileError(
            f"{folder} was trained on other weights of '{embedding.model}' (SHA-256 {expected_sha256[:12]}...) than "
            f"those found here ({embedding.weights_hash()[:12]}...); install the same embedding"
        )
    try:
        model = build_model(recipe, embedding, n_classes=len(tensors.get("learner.joint_head", ())))
    except ConfigError as error:
        raise ModelFileError(
            f"{folder}/config.json: {without_hint(str(error))}; upgrade meta_text, or {AGAIN}"
        ) from None
    load_tensors(model, tensors, path)
    model = model.with_findings(calibration=stored.calibration, results=stored.results, prior=stored.prior)
    model.embedding.settle()
    return model.eval()


def embedding_source(folder: Path) -> tuple[str, str | None] | None:
    """Name and revision of the pretrained embedding that a model folder needs; None if it contains its own."""
    stored = checked(StoredModel, read_config(folder), f"{folder}/config.json")
    settings = _recipe_of(folder, stored).embedding
    if settings.kind in ("learned", "encoders") or (folder / EMBEDDING).is_dir():
        return None
    _check_is_named(folder, settings.model)
    return settings.model, settings.revision or stored.embedding_commit


def _check_is_named(folder: Path, embedding: str) -> None:
    """Raises ModelFileError for an embedding that was a folder of its publisher's, and was not published with the model."""
    if embedding.startswith("("):
        raise ModelFileError(
            f"{folder} was published without its embedding {embedding}, a folder that only its publisher has; "
            "ask for it to be published again with embed=True (--embed)"
        )


def _recipe_of(folder: Path, stored: StoredModel) -> Recipe:
    try:
        return saved_recipe(stored.recipe)
    except ConfigError as error:
        raise ModelFileError(f"{folder}/config.json: {error}") from None


def checked(kind: type[Stored], values: Any, where: str) -> Stored:
    """A part of config.json as a dataclass. Raises ModelFileError naming what is missing or of the wrong kind."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        problem = "is missing" if first["type"] == "missing" else f"is {str(first['input'])[:40]!r}"
        raise ModelFileError(f"{where}: '{key}' {problem} ({first['msg'].lower()}); {AGAIN}") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Raises ModelFileError for a file that is missing or not safetensors."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); copy the whole folder again") from None
    return tensors


def write_embedding(model: MetaModel, folder: Path) -> None:
    """Write the pretrained embedding's own files, so that the model needs nothing else."""
    if isinstance(model.embedding, EncoderBlocks):
        raise ModelFileError(
            f"the encoders {model.embedding.model} cannot be saved with a classifier; leave embed out: the folder names them"
        )
    if model.embedding.kind == "learned":
        return  # its vectors and tokenizer are in the model's own files
    target = folder / EMBEDDING
    target.mkdir()
    if model.embedding.folder is None:  # one that was packed in memory, because no cache could be written
        write_packed(parts_of(model.embedding.body, model.embedding.tokenizer), target)
        return
    for path in sorted(model.embedding.folder.iterdir()):
        if path.suffix in (".json", ".safetensors"):
            _check_link(path)
            shutil.copyfile(path, target / path.name)


def _check_link(path: Path) -> None:
    """Raises ModelFileError for a link out of its folder, which would publish another file of this machine.

    In the cache of the Hub, a snapshot's files are links to the folder `blobs` of the same repository.
    """
    real, folder = path.resolve(), path.parent.resolve()
    if not real.is_relative_to(folder) and real.parent != folder.parents[1] / "blobs":
        raise ModelFileError(f"{path} is a link to {real}, which may be anything; put a copy of that file in its place")


def refuse_pickles(folder: Path) -> None:
    """Raises ModelFileError for a folder with a file that can run code when it is loaded."""
    pickles = [p.name for p in sorted(folder.rglob("*")) if p.suffix in PICKLES]
    if pickles:
        raise ModelFileError(
            f"{folder} holds {pickles[0]}, a format that can run code when it is loaded; "
            "only safetensors and JSON are read: remove it, or get the model from its author again"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder, with its format version checked."""
    path = folder / "config.json"
    if not path.is_file():
        inner = folder / "model"  # `train --out` writes the model beside its checkpoints
        way_out = (
            f"did you mean {inner}?"
            if (inner / "config.json").is_file()
            else "name a folder that `meta-text fit` wrote, or FOLDER/model of `meta-text train --out FOLDER`"
        )
        raise ModelFileError(f"no model at {folder}: config.json is missing; {way_out}")
    config = _read_json(path)
    if not isinstance(config, dict):
        raise ModelFileError(f"{path} holds a {type(config).__name__}; an object is needed: {AGAIN}")
    if "format_version" not in config:
        raise ModelFileError(f"{path} has no format_version, so it is not a meta_text model; {AGAIN}")
    version = config["format_version"]
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {version!r} but this package reads {FORMAT_VERSION}; upgrade meta_text"
        )
    return config


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{path} is not JSON ({error.msg}, line {error.lineno}); {AGAIN}") from None
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{path} is not UTF-8 (byte {error.start}); {AGAIN}") from None


def _own_encoders(folder: Path, recipe: Recipe, encoders: Sequence[SentenceEncoder]) -> EncoderBlocks:
    if recipe.embedding.kind != "encoders":
        raise ModelFileError(
            f"the model in {folder} reads token states of its own embedding '{recipe.embedding.model}', so it cannot work "
            "on another one; leave embedding out, or take a model that weighs encoders, such as the recipe 'mixture' trains"
        )
    return EncoderBlocks(encoders)


def _embedding_of(folder: Path, recipe: Recipe, stored: StoredModel) -> Embedding | EncoderBlocks:
    """The embedding from the folder's own files if it has them, else by its name in the recipe, at its saved commit."""
    settings = recipe.embedding
    unknown = [name for name in settings.encoders if name.startswith("(")] if settings.kind == "encoders" else []
    if unknown:
        order = f"a list of {', '.join(settings.encoders)}, in this order" if len(settings.encoders) > 1 else "it"
        raise ModelFileError(
            f"{folder} was saved with the encoder {unknown[0]}, which only its owner can make; pass {order} as embedding="
        )
    if settings.kind == "learned":
        tokenizer = _read_tokenizer(folder / "tokenizer.json", stored.tokenizer_sha256)
        empty = torch.empty(tokenizer.get_vocab_size(), settings.width, dtype=torch.float32)
        body = nn.Embedding.from_pretrained(empty, freeze=False)
        return Embedding("learned", tokenizer, body, settings.width, settings.max_tokens, "learned", "full")
    if (folder / EMBEDDING).is_dir():
        settings = replace(settings, model=str(folder / EMBEDDING), revision=None)
    elif settings.kind != "encoders":
        _check_is_named(folder, settings.model)
        settings = replace(settings, revision=settings.revision or stored.embedding_commit)
    try:
        return build_embedding(replace(recipe, embedding=settings), [], stored.embedding_commit)
    except (InputError, HubError) as error:
        if settings.kind != "encoders":
            raise
        raise type(error)(
            f"{folder} was saved with the encoders {', '.join(settings.encoders)}: {error}. If one lies elsewhere now, "
            "pass all of them, in this order, as embedding="
        ) from error


def _read_tokenizer(path: Path, sha256: str | None) -> Tokenizer:
    if not path.is_file():
        raise ModelFileError(f"{path} is missing; {AGAIN}")
    if sha256 is not None and file_sha256(path) != sha256:
        raise ModelFileError(f"{path} is not the file that config.json describes; {AGAIN}")
    values = _read_json(path)
    if not isinstance(values, dict) or "model" not in values:
        raise ModelFileError(f"{path} is not a tokenizer ('model' is missing); {AGAIN}")
    return Tokenizer.from_file(str(path))
