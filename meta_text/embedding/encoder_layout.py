"""What a folder says about the way from tokens to one vector: the files of sentence-transformers and model2vec."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from meta_text.embedding.pretrained import MODULES
from meta_text.embedding.sentence_encoder import Pooling
from meta_text.errors import ModelFileError
from meta_text.parsing import parse_json

POOLINGS: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
OLD_POOLINGS = {  # how versions before 5 wrote the same
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS: dict[str, type[nn.Module]] = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU}
TOKEN_STATES = {"method": "forward", "method_output_name": "last_hidden_state"}
KNOWN = ("Transformer", "StaticEmbedding", "Pooling", "Dense", "Normalize", "Dropout")


class Layout(NamedTuple):
    """From a text to its vector: the folder of the transformer or the token matrix, and all that follows."""

    start: Path
    is_static: bool = False
    is_model2vec: bool = False
    pooling: Pooling = "mean"
    pool_prompt: bool = True
    head: nn.Module | None = None
    normalize: bool = False


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is no file. Raises ModelFileError for anything else in it."""
    try:
        found = parse_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read as JSON ({error}); download it again") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{path} holds a {type(found).__name__}, a JSON object is needed; download it again")
    return found


def read_layout(folder: Path) -> Layout:
    """What modules.json and the files that it names say; a folder without it is a plain transformer or model2vec's.

    A plain transformer is pooled by the mean, or by the last token where it was made to continue texts, and is not
    normalized: as sentence-transformers does. Raises ModelFileError for what has no equal here.
    """
    made_as = read_json(folder / "config_sentence_transformers.json").get("model_type") or "SentenceTransformer"
    if made_as != "SentenceTransformer":
        raise ModelFileError(
            f"{folder} is a {made_as}; a SentenceTransformer, which gives one vector per text, is needed. Take another "
            "model, or pass a function that computes the vectors"
        )
    config = read_json(folder / "config.json")
    if config.get("model_type") == "model2vec" or _has_tensor(folder / "model.safetensors", "embeddings"):
        return Layout(folder, is_static=True, is_model2vec=True, normalize=bool(config.get("normalize", False)))
    if not (folder / MODULES).exists():
        continues_texts = str((config.get("architectures") or [""])[0]).endswith("ForCausalLM")
        return Layout(folder, pooling="last" if continues_texts and config.get("is_causal", True) else "mean")
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    start = modules[0][1]
    if kinds[0] == "StaticEmbedding" and set(kinds[1:]) <= {"Normalize"}:
        return Layout(start, is_static=True, normalize="Normalize" in kinds)
    rest = kinds[2:]
    if kinds[:2] != ["Transformer", "Pooling"] or rest != sorted(rest) or rest.count("Normalize") > 1:
        raise ModelFileError(
            f"{folder}/{MODULES} lists {', '.join(kinds)}; supported are Transformer, Pooling, any number of Dense and "
            "at most one Normalize, or StaticEmbedding and Normalize. Pass a function that computes the vectors instead"
        )
    pooling, pool_prompt = _pooling(modules[1][1])
    layers = [layer for kind, path in modules[2:] if kind == "Dense" for layer in _dense(path)]
    return Layout(
        start,
        pooling=pooling,
        pool_prompt=pool_prompt,
        head=nn.Sequential(*layers).requires_grad_(False) if layers else None,
        normalize="Normalize" in rest,
    )


def default_prompt(folder: Path) -> str | None:
    """The prompt that config_sentence_transformers.json puts before every text; None where it names none."""
    config = read_json(folder / "config_sentence_transformers.json")
    prompts, name = config.get("prompts") or {}, config.get("default_prompt_name")
    if name is None:
        return None
    if not isinstance(prompts.get(name), str):
        raise ModelFileError(
            f"{folder}/config_sentence_transformers.json names the prompt '{name}', but has only "
            f"{', '.join(prompts) or 'none'}; pass prompt=, which may be empty"
        )
    return cast(str, prompts[name])


def default_truncation(folder: Path) -> int | None:
    """How many numbers of a vector config_sentence_transformers.json keeps, if it says so."""
    kept = read_json(folder / "config_sentence_transformers.json").get("truncate_dim")
    return None if kept is None else int(kept)


def transformer_settings(start: Path) -> dict[str, Any]:
    """What sentence-transformers wrote beside a transformer: max_seq_length, do_lower_case."""
    paths = (start / "sentence_bert_config.json", *sorted(start.glob("sentence_*_config.json")))
    path = next((path for path in paths if path.exists()), paths[0])
    said = read_json(path)
    task = said.get("transformer_task") or "feature-extraction"
    ways = said.get("modality_config") or {"text": TOKEN_STATES}
    if task != "feature-extraction" or ways.get("text") != TOKEN_STATES or "message" in ways:
        raise ModelFileError(
            f"{path} asks for {task} by {ways}; supported is feature-extraction of a text's last_hidden_state, without a chat "
            "template. Pass a function that computes the vectors instead"
        )
    return said


def _has_tensor(path: Path, name: str) -> bool:
    """Whether a file holds a tensor of this name; a file that cannot be read is reported where it is loaded."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as tensors:
            return name in tensors.keys()  # noqa: SIM118  # no dictionary
    except (OSError, SafetensorError):
        return False


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module in turn, without dropout, which does nothing once training is over."""
    path = folder / MODULES
    try:
        entries = [(str(entry["type"]), folder / str(entry["path"])) for entry in parse_json(path.read_bytes())]
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{path} is not a list of modules with a type and a path; download it again") from error
    for kind, _ in entries:
        if not kind.startswith("sentence_transformers."):
            raise ModelFileError(
                f"{path} names {kind}, which is code of the model's own; such code is never run here. "
                "Load the model yourself and pass a function that computes the vectors"
            )
    outside = [place for _, place in entries if not place.resolve().is_relative_to(folder.resolve())]
    if outside:
        raise ModelFileError(f"{path} names {outside[0]}, which is not in the model's folder; download it again")
    named = [(kind.rsplit(".", 1)[-1], place) for kind, place in entries]
    strange = [kind for kind, _ in named if kind not in KNOWN]
    if strange or not named:
        raise ModelFileError(
            f"{path} lists {', '.join(strange) or 'no module'}; supported are {', '.join(KNOWN)}. "
            "Pass a function that computes the vectors instead"
        )
    return [(kind, place) for kind, place in named if kind != "Dropout"]


def _pooling(folder: Path) -> tuple[Pooling, bool]:
    config = read_json(folder / "config.json")
    old = [mode for key, mode in OLD_POOLINGS.items() if config.get(key)]
    given = config.get("pooling_mode", old or ["mean"])
    modes = [given] if isinstance(given, str) else list(given)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ModelFileError(
            f"{folder}/config.json pools by {' and '.join(map(str, modes))}; supported is one of {', '.join(POOLINGS)}. "
            "Pass a function that computes the vectors instead"
        )
    return POOLINGS[modes[0]], bool(config.get("include_prompt", True))


def _dense(folder: Path) -> Sequence[nn.Module]:
    """A linear layer with its weights, and its activation function."""
    from safetensors.torch import load_file

    config = read_json(folder / "config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    kind = name.rsplit(".", 1)[-1]
    if not name.startswith("torch.nn.") or kind not in ACTIVATIONS:
        raise ModelFileError(
            f"{folder}/config.json has the activation function {name}; supported are {', '.join(ACTIVATIONS)} of "
            "torch.nn. Pass a function that computes the vectors instead"
        )
    inputs = {config.get(key) or "sentence_embedding" for key in ("module_input_name", "module_output_name")}
    if config.get("use_residual") or inputs != {"sentence_embedding"}:
        raise ModelFileError(
            f"{folder}/config.json has a residual or works on {', '.join(sorted(inputs))}; supported is a plain layer "
            "on sentence_embedding. Pass a function that computes the vectors instead"
        )
    path = folder / "model.safetensors"
    if not path.exists():
        found = ", ".join(sorted(file.name for file in folder.glob("*"))) or "nothing"
        raise ModelFileError(
            f"{folder} holds {found}, model.safetensors is needed (pickled weights are never read); load the model "
            "with sentence-transformers where you trust it, and save it again"
        )
    tensors = {key: tensor.float() for key, tensor in load_file(path).items()}
    weight = tensors.get("linear.weight")
    if weight is None or weight.ndim != 2:
        raise ModelFileError(f"{path} has no matrix linear.weight, only {', '.join(tensors)}; download it again")
    # skip_init: a new layer would draw its weights from the global random state
    layer = nn.utils.skip_init(
        nn.Linear, weight.shape[1], weight.shape[0], bias="linear.bias" in tensors, dtype=torch.float32
    )
    layer.load_state_dict({key.removeprefix("linear."): tensor for key, tensor in tensors.items()})
    return layer, ACTIVATIONS[kind]()
