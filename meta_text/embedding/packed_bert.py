"""A BERT encoder with its matrices in 4 bits: as a folder, and as transformers' own BertModel."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from meta_text.embedding.e5_tokenizer import E5Tokenizer
from meta_text.embedding.four_bits import PackedLinear, RowTable
from meta_text.errors import ModelFileError
from meta_text.files import file_sha256, save_tensors, whole_file
from meta_text.parsing import parse_json

SHAPE = (  # what config.json says of the network
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps",
)  # fmt: skip
TABLE = "embeddings.word_embeddings"
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
PIECES = "pieces.model"  # the same tokenizer, for `sentencepiece`; folders of earlier versions have none
AGAIN = "copy the whole folder again, or save the model again"


class PackedBert(NamedTuple):
    """All that an encoder is: the shape of the network, its tensors by BertModel's names, and its tokenizer."""

    shape: dict[str, Any]
    tensors: dict[str, Tensor]
    tokenizer: Tokenizer | E5Tokenizer


def is_packed(folder: Path) -> bool:
    """Whether `write_packed` made this folder, or began to."""
    try:
        config = parse_json((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "packed" in config


def write_packed(model: PackedBert, folder: Path) -> None:
    """Its files, each whole or not at all; config.json comes last and says what the others are."""
    save_tensors({name: tensor.contiguous() for name, tensor in model.tensors.items()}, folder / WEIGHTS)
    with whole_file(folder / TOKENIZER) as partial:
        partial.write_text(model.tokenizer.to_str(), encoding="utf-8")
    names = [WEIGHTS, TOKENIZER]
    if isinstance(model.tokenizer, E5Tokenizer):
        names.append(PIECES)
        with whole_file(folder / PIECES) as partial:
            partial.write_bytes(model.tokenizer.to_proto())
    config = {
        "library": "meta_text",
        "model_type": "bert",
        **model.shape,
        "packed": {"layout": "Q4_0", "sha256": {name: file_sha256(folder / name) for name in names}},
    }
    with whole_file(folder / "config.json") as partial:
        partial.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def read_packed(folder: Path) -> PackedBert:
    """Tensors are memory-mapped. Raises ModelFileError for a folder that is incomplete or changed."""
    try:
        config = parse_json((folder / "config.json").read_bytes())
        shape, sha256 = {key: config[key] for key in SHAPE}, config["packed"]["sha256"]
        names = [WEIGHTS, TOKENIZER, *([PIECES] if PIECES in sha256 else [])]
        changed = [name for name in names if file_sha256(folder / name) != sha256[name]]
        if changed:
            raise ModelFileError(f"{folder / changed[0]} is not the file that config.json describes; {AGAIN}")
        tensors = load_file(folder / WEIGHTS)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, SafetensorError, KeyError, TypeError) as error:
        raise ModelFileError(f"{folder} holds no whole encoder ({type(error).__name__}: {error}); {AGAIN}") from None
    return PackedBert(shape, tensors, _read_tokenizer(folder, PIECES in sha256))


def _read_tokenizer(folder: Path, has_pieces: bool) -> Tokenizer | E5Tokenizer:
    if has_pieces:
        return E5Tokenizer.from_proto((folder / PIECES).read_bytes())
    text = (folder / TOKENIZER).read_text(encoding="utf-8")
    return E5Tokenizer.from_str(text) or Tokenizer.from_str(text)


def build_body(model: PackedBert) -> nn.Module:
    """The encoder as a BertModel, over the very tensors given. Raises ModelFileError where they do not fit its shape."""
    from transformers import BertConfig, BertModel

    shape = model.shape
    config = BertConfig(**shape, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with torch.device("meta"):  # nothing is drawn or filled: all tensors come from the file
        body: Any = BertModel(config, add_pooling_layer=False)
        for name, module in list(body.named_modules()):
            if isinstance(module, nn.Linear):
                parent, _, child = name.rpartition(".")
                setattr(body.get_submodule(parent), child, PackedLinear(module.in_features, module.out_features))
        body.embeddings.word_embeddings = RowTable(shape["vocab_size"], shape["hidden_size"])
    body.set_attn_implementation("eager")
    try:
        body.load_state_dict(model.tensors, assign=True)
    except RuntimeError as error:
        what = " ".join(str(error).split())
        raise ModelFileError(f"the tensors of this encoder do not fit its config.json: {what}; {AGAIN}") from None
    positions = torch.arange(shape["max_position_embeddings"])[None]
    body.embeddings.position_ids, body.embeddings.token_type_ids = positions, torch.zeros_like(positions)
    encoder: nn.Module = body.eval()
    return encoder


def parts_of(body: nn.Module, tokenizer: Tokenizer | E5Tokenizer) -> PackedBert:
    """What `build_body` was given, for an encoder that has no folder."""
    config: Any = body.config
    return PackedBert({key: getattr(config, key) for key in SHAPE}, dict(body.state_dict()), tokenizer)
