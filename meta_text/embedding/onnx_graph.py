"""Modules of (token ids, mask) as ONNX files (extra `[onnx]`)."""

import copy
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from meta_text.embedding.embedding import Embedding
from meta_text.extras import check_extra
from meta_text.files import whole_file

INPUTS = ("token_ids", "mask")  # int64 [B T] and bool [B T], right-padded


class TokenStatesOnly(nn.Module):
    """Token ids -> token states [B T E] in fp32."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        self.kind, self.body = embedding.kind, copy.deepcopy(embedding.body).requires_grad_(False)

    def forward(self, token_ids: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        if self.kind == "transformer":
            states: Tensor = self.body(input_ids=token_ids, attention_mask=mask.long()).last_hidden_state
        else:
            states = self.body(token_ids)
        return states


def write_graph(module: nn.Module, target: Path, outputs: Sequence[str], metadata: dict[str, str]) -> None:
    """Write a module of (token_ids, mask) as an ONNX file for any numbers of texts and tokens, completely or not at all."""
    check_extra("onnx", "exporting to ONNX")
    token_ids = torch.ones(3, 5, dtype=torch.long)  # any sizes but 0 and 1, which torch.export takes for fixed
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 4 + [False]])
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it reports every optional package that is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's warnings about torch
        program = torch.onnx.export(
            module.eval().cpu(),
            (token_ids, mask),
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(outputs),
            dynamic_shapes=(free, free),
            verbose=False,
        )
    logger.setLevel(level)
    assert program is not None
    program.model.metadata_props.update(metadata)
    with whole_file(target) as partial:
        program.save(partial)
