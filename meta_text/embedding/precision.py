"""The precision in which `fit` and `predict` run a frozen transformer on a processor.

A rule decides: bfloat16 if the processor has units for it, else float32. Nothing is measured or stored, so every
process on a machine makes the same choice. Training always computes the same way, so that its runs repeat bit by bit.
In float32 a plain BERT reads windows without padding; bfloat16 keeps the padding that its rounding was tested with.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from meta_text.embedding.batching import Windows
from meta_text.embedding.device import has_bf16_units
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.token_states import TokenStates
from meta_text.embedding.unpadded_bert import UnpaddedBert, is_plain_bert
from meta_text.errors import ConfigError

VARIABLE = "META_TEXT_ENGINE"


@dataclass(frozen=True)
class Engine:
    """How windows of token ids become padded token states, and why this way."""

    name: str
    note: str  # one line for people; empty if there was nothing to choose
    read: Callable[[Windows], TokenStates]
    pads: bool = True  # the windows that are read together, before they are read


def available() -> tuple[str, ...]:
    """The engines of this machine."""
    return ("float32", *(["bfloat16"] if has_bf16_units() else []), "training")


def choose(embedding: Embedding) -> Engine:
    """The engine of an embedding: by the rule above, or by META_TEXT_ENGINE; "training" computes as training does.

    Raises ConfigError for a name that is not available on this machine.
    """
    if embedding.kind != "transformer" or embedding.device.type != "cpu" or not embedding.is_frozen:
        return Engine("training", "", lambda windows: embedding(embedding.padded(windows)))
    requested = os.environ.get(VARIABLE)
    name, why = (
        ("bfloat16", "this processor has units for it") if has_bf16_units() else ("float32", "no bfloat16 units")
    )
    if requested == "int8":
        why += f"; {VARIABLE}=int8 no longer exists, because int8 answers depended on the other texts in the batch"
        warnings.warn(f"{VARIABLE}=int8 no longer exists and {name} is used; unset it", stacklevel=2)
    elif requested:
        name, why = requested, f"set by {VARIABLE}"
    if name not in available():
        raise ConfigError(
            f"{VARIABLE}={name} is not available on this machine; use {', '.join(available())}, or unset it"
        )
    note = f"{embedding.model.rsplit('/', 1)[-1]} runs in {name}: {why}"
    if name == "training":
        return Engine(name, note, lambda windows: embedding(embedding.padded(windows)))
    if name == "float32" and is_plain_bert(embedding.body):
        return Engine(name, note, _unpadded(embedding), pads=False)
    return Engine(name, note, lambda windows: embedding.compute(embedding.padded(windows), name == "bfloat16"))


def _unpadded(embedding: Embedding) -> UnpaddedBert:
    return embedding.once("float32", lambda: UnpaddedBert(embedding.body))
