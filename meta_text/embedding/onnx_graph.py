"""Modules as ONNX files (extra `[onnx]`)."""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from meta_text.embedding.embedding import Embedding
from meta_text.embedding.four_bits import BLOCK, RowTable, unpack_linears
from meta_text.embedding.onnx_texts import TextReader, read_texts
from meta_text.extras import check_extra
from meta_text.files import whole_file

TOKENS = ("token_ids", "mask")  # int64 [B T] and bool [B T], right-padded


class TokenStatesOnly(nn.Module):
    """Token ids -> token states [B T E] in fp32."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        self.kind, self.body = embedding.kind, copy.deepcopy(embedding.body).requires_grad_(False)
        unpack_linears(self.body)
        for name, table in list(self.body.named_modules()):
            if isinstance(table, RowTable):
                parent, _, child = name.rpartition(".")
                setattr(self.body.get_submodule(parent), child, OnnxRows(table))

    def forward(self, token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        if self.kind == "transformer":
            states: Tensor = self.body(input_ids=token_ids, attention_mask=mask.long()).last_hidden_state
        else:
            states = self.body(token_ids)
        return states


class OnnxRows(nn.Module):
    """A RowTable in nodes that ONNX has: none reads int16 as half-precision numbers, and torch shifts no bytes there."""

    packed: Tensor
    scales: Tensor

    def __init__(self, table: RowTable) -> None:
        super().__init__()
        self.register_buffer("packed", table.packed)
        self.register_buffer("scales", table.scales.view(torch.float16))

    def forward(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B E"]:
        both = self.packed[ids].unflatten(-1, (-1, BLOCK // 2)).float()
        high = (both / 16).floor()
        numbers = torch.cat([both - 16 * high, high], dim=-1) - 8
        return (numbers * self.scales[ids].float()[..., None]).flatten(-2)


def token_examples(n_tokens: int = 5) -> tuple[Tensor, Tensor]:
    """Token ids and mask of three texts: any sizes but 0 and 1, which torch.export takes for fixed."""
    lengths = torch.tensor([[n_tokens], [n_tokens - 2], [n_tokens - 1]])
    mask = torch.arange(n_tokens) < lengths
    return torch.ones(3, n_tokens, dtype=torch.long), mask


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Without the warnings of these loggers: about optional packages that are missing, and nodes that stay as they are."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def write_graph(
    module: nn.Module,
    target: Path,
    outputs: Sequence[str],
    metadata: Mapping[str, str],
    inputs: Mapping[str, Tensor],
    *,
    int8: bool = False,
    readers: Mapping[tuple[str, str], TextReader] | None = None,
) -> None:
    """Write a module of `*inputs` as an ONNX file, completely or not at all.

    inputs: an example of each. All are of any number of texts, and those that are no floats of any number of tokens.
    int8: embeddings and matrices in eight bits, with a scale for each column; what they are multiplied by is rounded to eight
    bits as well, with one scale for a batch. One scale for a whole matrix would move answers twice as much.
    readers: what makes token ids and masks, inputs of these names, from texts in the graph itself.
    """
    check_extra("onnx", "exporting to ONNX")
    texts, tokens = {0: torch.export.Dim.DYNAMIC}, {1: torch.export.Dim.DYNAMIC}
    free = tuple(texts if example.is_floating_point() else texts | tokens for example in inputs.values())
    with _quiet("torch.onnx", "onnxscript"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's warnings about torch
        program = torch.onnx.export(
            module.eval().cpu(),
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=(free,),
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(metadata)
    with whole_file(target) as partial:
        program.save(partial)
        if int8:
            _to_int8(partial)
        if readers:
            read_texts(partial, readers)


def _to_int8(file: Path) -> None:
    """In place."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet("root"):  # its advice to simplify the graph before
        quantize_dynamic(file, file, weight_type=QuantType.QInt8, per_channel=True)
