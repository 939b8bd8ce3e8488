"""Sentence encoders as parts of an ONNX graph: inputs to vectors, and what a program needs to make those from texts."""

import copy
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from meta_text.embedding.lexical_encoder import LexicalEncoder
from meta_text.embedding.onnx_graph import TOKENS, TokenStatesOnly, token_examples
from meta_text.embedding.sentence_encoder import SentenceEncoder, TransformerEncoder
from meta_text.embedding.static_encoder import StaticEncoder


class EncoderGraph(nn.Module):
    """One encoder: its inputs -> a vector [width] for each text.

    kind: what metadata calls it. inputs: what the graph is given. tokenizer: by which texts become token ids, if they
    do. facts: what else metadata says of it.
    """

    kind: str
    inputs: tuple[str, ...] = TOKENS
    tokenizer: Tokenizer | None = None

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.facts = facts

    def examples(self, n_tokens: int) -> tuple[Tensor, ...]:
        """Inputs of three texts."""
        return token_examples(n_tokens)


class TransformerGraph(EncoderGraph):
    """Token ids of one window -> vectors; zeros for texts that the encoder cannot read, where others can."""

    kind = "transformer"

    def __init__(self, encoder: TransformerEncoder, *, alone: bool) -> None:
        embedding = encoder.embedding
        super().__init__(
            {"prompt": encoder.prompt, "max_tokens": embedding.max_tokens, "add_special_tokens": True},
        )
        self.tokenizer, self.encoder, self.head = embedding.tokenizer, copy.copy(encoder), copy.deepcopy(encoder.head)
        self.encoder.head = self.head  # the file's own: what is exported moves to the CPU
        self.states = TokenStatesOnly(embedding)
        self.read = Read(None if alone else embedding.piece_signs)

    def forward(self, token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B W"]:
        # a text without tokens is read as the padding's first one, as `tokenize` has it
        mask = mask | (~mask.any(1, keepdim=True) & (torch.arange(mask.shape[1]) == 0))
        vectors: Tensor = self.read(self.encoder.finish(self.states(token_ids, mask), mask), token_ids, mask)
        return vectors


class StaticGraph(EncoderGraph):
    """Token ids of a whole text -> the mean of their rows; zeros as above."""

    kind = "static"

    def __init__(self, encoder: StaticEncoder, *, alone: bool) -> None:
        super().__init__({"prompt": encoder.prompt, "max_tokens": None, "add_special_tokens": False})
        self.tokenizer, self.unknown, self.normalize = encoder.tokenizer, encoder.unknown, encoder.normalize
        self.matrix, self.token_rows = nn.Buffer(encoder.matrix), encoder.token_rows
        self.token_weights = encoder.token_weights
        self.read = Read(None if alone else encoder.piece_signs)

    def forward(self, token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B W"]:
        counted_BT = mask if self.unknown is None else mask & (token_ids != self.unknown)
        share_BT = counted_BT.float() if self.token_weights is None else counted_BT * self.token_weights[token_ids]
        rows_BT = token_ids if self.token_rows is None else self.token_rows[token_ids]
        means_BW = (self.matrix[rows_BT] * share_BT[..., None]).sum(1) / counted_BT.sum(1, keepdim=True).clamp(min=1)
        means_BW = functional.normalize(means_BW, dim=-1) if self.normalize else means_BW
        vectors: Tensor = self.read(means_BW, token_ids, mask)
        return vectors


class LexicalGraph(EncoderGraph):
    """The vector itself is the input: nothing in ONNX counts the n-grams of a text."""

    kind, inputs = "lexical", ("counts",)

    def __init__(self, encoder: LexicalEncoder) -> None:
        super().__init__({"width": encoder.width})

    def examples(self, n_tokens: int) -> tuple[Tensor, ...]:
        return (torch.ones(3, self.facts["width"]),)

    def forward(self, counts: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        return counts


class Read(nn.Module):
    """Vectors of the texts that an encoder can read, zeros for the others; signs: of `scripts.piece_signs`."""

    def __init__(self, signs: Tensor | None) -> None:
        super().__init__()
        self.signs = None if signs is None or not (signs > 0).any() else nn.Buffer(signs)

    def forward(self, vectors: Tensor, token_ids: Tensor, mask: Tensor) -> Float[Tensor, "B W"]:
        if self.signs is None:
            return vectors
        is_unread_B1 = (self.signs[token_ids].int() * mask).sum(1, keepdim=True) > 0
        return vectors * ~is_unread_B1


def encoder_graph(encoder: SentenceEncoder, *, alone: bool) -> EncoderGraph | None:
    """An encoder as part of a graph; None if it has no such form. alone: no other one could read a text in its place."""
    if isinstance(encoder, TransformerEncoder):
        return TransformerGraph(encoder, alone=alone)
    if isinstance(encoder, StaticEncoder):
        return StaticGraph(encoder, alone=alone)
    return LexicalGraph(encoder) if isinstance(encoder, LexicalEncoder) else None
