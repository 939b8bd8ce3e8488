"""How a frozen transformer is run on a processor: float32, bfloat16, or int8 through ONNX Runtime, whichever measures fastest.

The choice is made once for a machine, number of threads and set of weights, and kept on disk. It serves
`fit` and `predict`; training always computes the same way, so that its runs repeat bit by bit.
"""

import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from meta_text.embedding.embedding import Embedding
from meta_text.embedding.token_cache import cache_root
from meta_text.embedding.token_states import TokenIds, TokenStates, masked_mean
from meta_text.extras import missing_packages

Engine = Callable[[TokenIds], TokenStates]
ENGINES = ("float32", "bfloat16", "int8")
LEAST_AGREEMENT = 0.98  # cosine of a sentence vector with that of float32, of the worst probe (int8 MiniLM: .99)
REPEATS = 5
PROBES = (
    "my card was swallowed by the machine and I need a new one before I travel",
    "how long does a transfer take",
    "The second half of the film drags, but the ending makes up for it.",
    "book a table for two at eight",
    "refund",
    "is there a fee for paying in another currency",
    "I was charged twice for the same order, please look into it as soon as you can",
    "what's the weather like in Lima this weekend?",
)

log = logging.getLogger(__name__)


def choose(embedding: Embedding) -> str:
    """Measure what this processor offers, put the fastest into the embedding, and say so in one line.

    META_TEXT_ENGINE names one instead, or "training": as training computes. An engine whose sentence vectors
    stray from float32 is not taken. Raises ValueError for a name that is none, or that this machine cannot run.
    """
    key = _key(embedding)
    stored = cache_root() / "engines" / f"{key}.json"
    wanted = os.environ.get("META_TEXT_ENGINE")
    if wanted is not None:
        if wanted not in (choices := (*_available(), "training")):
            raise ValueError(
                f"META_TEXT_ENGINE={wanted}; this machine runs {', '.join(choices)}"
                " (int8 needs `pip install 'meta_text[onnx]'`)"
            )
        found: dict[str, Any] = {"engine": wanted, "why": "as META_TEXT_ENGINE says"}
    elif stored.exists():
        found = json.loads(stored.read_text("utf-8"))
    else:
        found = _measure(embedding, key)
        stored.parent.mkdir(parents=True, exist_ok=True)
        partial = stored.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(found), encoding="utf-8")
        partial.replace(stored)
    embedding.engine = None if found["engine"] == "training" else make(embedding, found["engine"], key)
    note = f"{embedding.model.rsplit('/', 1)[-1]} runs in {found['engine']}: {found['why']}"
    log.info(note)
    return note


def make(embedding: Embedding, name: str, key: str) -> Engine:
    """An engine by name."""
    return _int8(embedding, key) if name == "int8" else lambda tokens: embedding.compute(tokens, name == "bfloat16")


def _available() -> list[str]:
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    has_onnx = not missing_packages("onnx")
    return ["float32", *(["bfloat16"] if has_bf16 else []), *(["int8"] if has_onnx else [])]


def _measure(embedding: Embedding, key: str) -> dict[str, Any]:
    tokens = embedding.tokenize(PROBES * 8)
    seconds: dict[str, float] = {}
    vectors: dict[str, Tensor] = {}
    for name in _available():
        engine = make(embedding, name, key)
        with torch.inference_mode():
            vectors[name] = masked_mean(*engine(tokens))
            seconds[name] = min(_timed(engine, tokens) for _ in range(REPEATS))
    agreement = {name: float(F.cosine_similarity(v, vectors["float32"]).min()) for name, v in vectors.items()}
    fit = [name for name in seconds if agreement[name] >= LEAST_AGREEMENT]
    best = min(fit, key=lambda name: seconds[name])
    told = ", ".join(
        f"{name} {seconds['float32'] / seconds[name]:.1f}x" + ("" if name in fit else " but too inexact")
        for name in seconds
    )
    return {"engine": best, "why": f"speeds measured here were {told}", "seconds": seconds, "agreement": agreement}


def _timed(engine: Engine, tokens: TokenIds) -> float:
    started = time.perf_counter()
    engine(tokens)
    return time.perf_counter() - started


def _int8(embedding: Embedding, key: str) -> Engine:
    """Dynamic quantisation of all matrix products; the graph is kept beside the choice."""
    import onnxruntime

    path = cache_root() / "engines" / f"{key}.int8.onnx"
    if not path.exists():
        _quantise(embedding, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(tokens: TokenIds) -> TokenStates:
        (states,) = session.run(None, {"token_ids": tokens.ids.numpy(), "mask": tokens.mask.numpy()})
        return TokenStates(torch.from_numpy(states), tokens.mask)

    return run


def _quantise(embedding: Embedding, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from meta_text.embedding.onnx_graph import TokenStatesOnly, write_graph

    path.parent.mkdir(parents=True, exist_ok=True)
    exact, partial = path.with_suffix(f".{os.getpid()}.float32"), path.with_suffix(f".{os.getpid()}.partial")
    write_graph(TokenStatesOnly(embedding), exact, ["states"], {})
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # it recommends a step for convolutions
    quantize_dynamic(exact, partial, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"], per_channel=True)
    root.setLevel(level)
    exact.unlink()
    partial.replace(path)


def _key(embedding: Embedding) -> str:
    """The machine, the software and the weights that a choice holds for."""
    facts = (_processor(), torch.get_num_threads(), torch.__version__, *_available(), embedding.weights_hash())
    return hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.processor())
