"""A frozen BERT over the tokens of many windows at once, without padding.

All tokens are the rows of one matrix, so that windows of any lengths share every product. Only attention works window
by window: those of one length together, without a mask. So nothing but a window's own tokens enters its states.
"""

from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meta_text.embedding.four_bits import PackedLinear
from meta_text.embedding.token_states import TokenStates


class Layer(NamedTuple):
    """Transformers' own modules of one layer."""

    query_key_value: tuple[nn.Module, ...]
    attended: nn.Module
    attention_norm: nn.LayerNorm
    widened: nn.Module
    narrowed: nn.Module
    norm: nn.LayerNorm


class Group(NamedTuple):
    """Windows of one length: their places in what was given, and their rows."""

    places: list[int]
    length: int
    rows: slice


def is_plain_bert(body: nn.Module) -> bool:
    """Whether a body is transformers' own BertModel: an encoder in float32 with absolute positions and gelu."""
    from transformers import BertModel
    from transformers.models.bert.modeling_bert import BertLayer

    if type(body) is not BertModel:
        return False
    config: Any = body.config
    return (
        config.hidden_act == "gelu"
        and not config.is_decoder
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and all(type(layer) is BertLayer and _has_plain_maps(layer) for layer in body.encoder.layer)
        and all(parameter.dtype == torch.float32 for parameter in body.parameters())
    )


def _has_plain_maps(layer: Any) -> bool:
    maps = (*_inputs(layer), layer.attention.output.dense, layer.intermediate.dense, layer.output.dense)
    return all(type(part) in (nn.Linear, PackedLinear) for part in maps)


def _inputs(layer: Any) -> tuple[nn.Module, ...]:
    attention = layer.attention.self
    return attention.query, attention.key, attention.value


class UnpaddedBert:
    """Windows of token ids to token states, as `body` computes them up to rounding."""

    def __init__(self, body: nn.Module) -> None:
        bert: Any = body
        self.embeddings, self.heads = bert.embeddings, bert.config.num_attention_heads
        self.layers = [
            Layer(
                _inputs(part),
                part.attention.output.dense,
                part.attention.output.LayerNorm,
                part.intermediate.dense,
                part.output.dense,
                part.output.LayerNorm,
            )
            for part in bert.encoder.layer
        ]

    @torch.no_grad()
    def __call__(self, windows: Sequence[Sequence[int]]) -> TokenStates:
        groups = _by_length(windows)
        x_TE = self._embedded([windows[i] for group in groups for i in group.places])
        for layer in self.layers:
            context_TE = self._attention([part(x_TE) for part in layer.query_key_value], groups)
            x_TE = _normed(layer.attended(context_TE).add_(x_TE), layer.attention_norm)
            wide_TF = F.gelu(layer.widened(x_TE))
            x_TE = _normed(layer.narrowed(wide_TF).add_(x_TE), layer.norm)
        return _padded(x_TE, groups)

    def _embedded(self, windows: Sequence[Sequence[int]]) -> Float[Tensor, "T E"]:
        parts = self.embeddings
        ids = torch.tensor([piece for window in windows for piece in window])
        places = torch.cat([torch.arange(len(window)) for window in windows])
        tokens = parts.word_embeddings(ids) + parts.token_type_embeddings.weight[0]
        return _normed(tokens + parts.position_embeddings.weight[places], parts.LayerNorm)

    def _attention(self, query_key_value: Sequence[Tensor], groups: Sequence[Group]) -> Float[Tensor, "T E"]:
        context_TE = torch.empty_like(query_key_value[0], memory_format=torch.contiguous_format)
        for group in groups:
            shape = (len(group.places), group.length, self.heads, -1)
            query, key, value = (part[group.rows].view(shape).transpose(1, 2) for part in query_key_value)
            found = F.scaled_dot_product_attention(query, key, value)
            context_TE[group.rows].view(shape).copy_(found.transpose(1, 2))
        return context_TE


def _by_length(windows: Sequence[Sequence[int]]) -> list[Group]:
    order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
    alike = [(length, list(places)) for length, places in groupby(order, key=lambda i: len(windows[i]))]
    ends = [*accumulate(length * len(places) for length, places in alike)]
    return [
        Group(places, length, slice(end - length * len(places), end))
        for (length, places), end in zip(alike, ends, strict=True)
    ]


def _normed(x_TE: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x_TE, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _padded(x_TE: Tensor, groups: Sequence[Group]) -> TokenStates:
    count, width = sum(len(group.places) for group in groups), max(group.length for group in groups)
    states, mask = x_TE.new_zeros(count, width, x_TE.shape[1]), torch.zeros(count, width, dtype=torch.bool)
    for group in groups:
        states[group.places, : group.length] = x_TE[group.rows].unflatten(0, (-1, group.length))
        mask[group.places, : group.length] = True
    return TokenStates(states, mask)
