"""Matrices in 4 bits. Oracle: GGML's rule, written out in loops."""

import copy
import pickle

import numpy as np
import pytest
import torch
from oracles import pack_block, unpack_block
from torch import nn

from meta_text.embedding.four_bits import BLOCK, PackedLinear, RowTable, pack, unpack, unpack_linears


def random_matrix(rows: int = 40, width: int = 96) -> torch.Tensor:
    matrix = torch.randn(rows, width, generator=torch.Generator().manual_seed(1))
    matrix[0] = 0.0
    matrix[1, :BLOCK] = torch.tensor([1.0, -1.0] * 16)  # two numbers of the largest magnitude: the first one counts
    matrix[2] *= 1e-9  # a scale that half precision cannot hold
    return matrix


def packed_table(matrix: torch.Tensor) -> RowTable:
    table = RowTable(*matrix.shape)
    table.packed, table.scales = pack(matrix)
    return table


def packed_linear(matrix: torch.Tensor) -> PackedLinear:
    linear = PackedLinear(matrix.shape[1], matrix.shape[0])
    linear.packed, linear.scales = pack(matrix)
    nn.init.normal_(linear.bias)
    return linear.requires_grad_(False)


def test_oracle_packing() -> None:
    matrix = random_matrix()
    packed, scales = pack(matrix)
    for row, nibbles, halves in zip(matrix, packed, scales.view(torch.float16), strict=True):
        for i, scale in enumerate(halves):
            d, whole = pack_block(row[i * BLOCK : (i + 1) * BLOCK].tolist())
            pairs = nibbles[i * 16 : (i + 1) * 16].tolist()
            assert scale.item() == d
            assert [pair % 16 for pair in pairs] + [pair // 16 for pair in pairs] == whole


def test_oracle_unpacking_of_any_bytes() -> None:
    generator = torch.Generator().manual_seed(2)
    packed = torch.randint(0, 256, (8, 48), dtype=torch.uint8, generator=generator)
    scales = torch.randn(8, 3, generator=generator).to(torch.float16).view(torch.int16)
    for row, numbers in enumerate(unpack(packed, scales)):
        blocks = [scales[row, i].numpy().tobytes() + packed[row, i * 16 :][:16].numpy().tobytes() for i in range(3)]
        np.testing.assert_array_equal(numbers.numpy(), np.concatenate([unpack_block(block) for block in blocks]))


def test_packing_again_changes_no_bit() -> None:
    packed, scales = pack(random_matrix()[3:])
    again = pack(unpack(packed, scales))
    assert torch.equal(again[0], packed) and torch.equal(again[1], scales)


def test_packing_rounds_by_half_a_step_at_most() -> None:
    """A block's numbers lie between -8 and 7 steps, so those at the far end may be a whole step away."""
    matrix = random_matrix()[3:]
    packed, scales = pack(matrix)
    step = scales.view(torch.float16).float().abs().repeat_interleave(BLOCK, -1)
    away = (unpack(packed, scales) - matrix).abs()
    assert (away <= 1.01 * step).all()
    assert (away <= 0.51 * step).float().mean() > 0.97


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_modules_compute_as_the_plain_ones_would(dtype: torch.dtype) -> None:
    matrix, ids = random_matrix(), torch.tensor([[0, 5], [39, 1]])
    table, linear = packed_table(matrix).to(dtype), packed_linear(matrix).to(dtype)
    plain = unpack(table.packed, table.scales).to(dtype)
    assert torch.equal(table(ids), plain[ids])
    x = torch.randn(2, 96).to(dtype)
    assert torch.equal(linear(x), nn.functional.linear(x, plain, linear.bias))
    assert (table.packed.dtype, table.scales.dtype) == (torch.uint8, torch.int16)


def test_an_unpacked_weight_follows_its_bias_and_is_carried_nowhere() -> None:
    linear = packed_linear(random_matrix())
    first = linear.weight()
    assert linear.weight() is first
    assert linear.to(torch.bfloat16).weight().dtype == torch.bfloat16
    for twin in (copy.deepcopy(linear), pickle.loads(pickle.dumps(linear))):
        assert twin._weight is None
        assert torch.equal(twin.weight(), linear.weight())


def test_a_weight_unpacked_in_inference_mode_serves_gradients_later() -> None:
    linear, x = packed_linear(random_matrix()), torch.randn(2, 96, requires_grad=True)
    with torch.inference_mode():
        linear(x)
    linear(x).sum().backward()
    assert x.grad is not None


def test_unpacked_linear_maps_can_be_trained() -> None:
    body = nn.Sequential(packed_linear(random_matrix(rows=96)), packed_linear(random_matrix()))
    x = torch.randn(2, 96)
    before = body(x)
    unpack_linears(body)
    assert [type(module) for module in body] == [nn.Linear, nn.Linear]
    torch.testing.assert_close(body(x), before)
    assert body[1].out_features == 40 and all(p.requires_grad for p in body.parameters())
