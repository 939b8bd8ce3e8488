"""The output of an embedding: one vector per token, right-padded, with a mask; and operations on such batches."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class TokenStates(NamedTuple):
    """One vector per token, right-padded; mask is True on real tokens."""

    states: Float[Tensor, "*B T E"]
    mask: Bool[Tensor, "*B T"]


class TokenIds(NamedTuple):
    """Token ids, right-padded; mask is True on real tokens."""

    ids: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]


def pad(rows: Sequence[Tensor], device: torch.device, width: int = 0) -> tuple[Tensor, Bool[Tensor, "B T"]]:
    """Rows of unequal length as one right-padded tensor on `device`, at least `width` wide, and which positions are real.

    Half-precision rows come out as float32.
    """
    lengths = torch.tensor([len(row) for row in rows], device=device)
    width = max(width, *map(len, rows))
    if rows[0].dtype == torch.float16:  # stored states: converted while they are copied, in one pass
        padded = torch.zeros(len(rows), width, *rows[0].shape[1:], dtype=torch.float32)
        for place, row in zip(padded, rows, strict=True):
            place[: len(row)] = row
    else:
        padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        missing = width - padded.shape[1]
        if missing:
            padded = nn.functional.pad(padded, (*[0] * (2 * padded.ndim - 4), 0, missing))
    padded = padded.to(device)
    return padded, torch.arange(padded.shape[1], device=device) < lengths[:, None]


def masked_mean(x_BTE: Tensor, mask_BT: Tensor) -> Tensor:
    weights_BT1 = mask_BT.to(x_BTE.dtype)[..., None]
    return (x_BTE * weights_BT1).sum(-2) / weights_BT1.sum(-2)
