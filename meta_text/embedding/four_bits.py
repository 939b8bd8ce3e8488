"""Matrices in 4 bits: a table of token vectors that is looked up by row, and linear maps that unpack themselves once.

The layout is GGML's Q4_0: a block of 32 numbers along a row has a half-precision scale d and 16 bytes, whose low
nibbles are numbers 0 to 15 and whose high ones 16 to 31; a nibble q stands for d (q - 8). Scales are kept as int16,
so that casting a module to another precision leaves them alone.
"""

from typing import Any

import torch
from jaxtyping import Float, Int, Int16, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 32  # numbers that share a scale
ROWS_AT_ONCE = 4096  # while packing, so that what is computed on the way stays small


def unpack(packed: UInt8[Tensor, "*B _"], scales: Int16[Tensor, "*B _"]) -> Float[Tensor, "*B E"]:
    """The numbers that rows of nibbles and scales stand for, in float32."""
    nibbles = packed.unflatten(-1, (-1, BLOCK // 2))
    numbers = torch.cat([nibbles & 15, nibbles >> 4], dim=-1).to(torch.float32) - 8
    return (numbers * scales.view(torch.float16).float()[..., None]).flatten(-2)


def pack(matrix: Float[Tensor, "V E"]) -> tuple[UInt8[Tensor, "V _"], Int16[Tensor, "V _"]]:
    """Rows as nibbles and scales, rounded as GGML does: a block's number of largest magnitude becomes exactly -8 d."""
    parts = [_pack(rows.float()) for rows in matrix.split(ROWS_AT_ONCE)]
    return torch.cat([packed for packed, _ in parts]), torch.cat([scales for _, scales in parts])


def _pack(rows: Tensor) -> tuple[Tensor, Tensor]:
    blocks = rows.unflatten(-1, (-1, BLOCK))
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    d = extreme / -8
    inverse = torch.where(d == 0, torch.zeros_like(d), 1 / d)  # of d before it is rounded to half precision
    q = (blocks * inverse + 8.5).floor().clamp(0, 15).to(torch.uint8)
    packed = q[..., : BLOCK // 2] | q[..., BLOCK // 2 :] << 4
    return packed.flatten(-2), d.squeeze(-1).to(torch.float16).view(torch.int16)


class RowTable(nn.Module):
    """Stands where a transformer has nn.Embedding: rows are unpacked when they are looked up."""

    packed: Tensor
    scales: Tensor
    like: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        _register(self, rows, width)
        # follows the casts of the body around it, so that the rows have the precision of what they are added to
        self.register_buffer("like", torch.empty(0, dtype=torch.float32, device="cpu"), persistent=False)

    def forward(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B E"]:
        return unpack(self.packed[ids], self.scales[ids]).to(self.like.dtype)


class PackedLinear(nn.Module):
    """Stands where a transformer has nn.Linear. The weight is unpacked at its first use, in the precision of the bias.

    So a body holds each weight in the one precision it runs in, and neither a file nor a pickle holds it twice.
    """

    packed: Tensor
    scales: Tensor

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        _register(self, out, width)
        self.bias = nn.Parameter(torch.empty(out, dtype=torch.float32))
        self._weight: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_weight": None}

    def weight(self) -> Tensor:
        """The weight as nn.Linear would hold it."""
        weight, bias = self._weight, self.bias
        if weight is None or (weight.dtype, weight.device) != (bias.dtype, bias.device):
            with torch.inference_mode(False), torch.no_grad():  # it stays, and may be used where gradients are
                weight = self._weight = unpack(self.packed, self.scales).to(bias.dtype)
        return weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(), self.bias)

    def unpacked(self) -> nn.Linear:
        """A plain nn.Linear that computes the same and can be trained."""
        linear = nn.Linear(1, 1, device="meta")
        linear.out_features, linear.in_features = weight_shape = self.weight().shape
        assert len(weight_shape) == 2
        linear.weight, linear.bias = nn.Parameter(self.weight().clone()), nn.Parameter(self.bias.detach().clone())
        return linear


def _register(module: nn.Module, rows: int, width: int) -> None:
    module.register_buffer("packed", torch.empty(rows, width // 2, dtype=torch.uint8))
    module.register_buffer("scales", torch.empty(rows, width // BLOCK, dtype=torch.int16))


def unpack_linears(body: nn.Module) -> None:
    """Every PackedLinear of a body becomes an nn.Linear, so that it can be trained."""
    for name, module in list(body.named_modules()):
        if isinstance(module, PackedLinear):
            parent, _, child = name.rpartition(".")
            setattr(body.get_submodule(parent), child, module.unpacked())
