"""Oracle: nn.LSTM. The encoder at its start is the plain sentence vector."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from meta_text.embedding.token_states import TokenStates, masked_mean
from meta_text.learners.encoder import CellKind, HyperLSTMCell, LSTMCell, TextEncoder, run_cell

LENGTHS = [5, 2, 4]


def tokens(width: int = 6) -> TokenStates:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 5, width, generator=generator, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    return TokenStates(states, mask)


def test_oracle_nn_lstm_values_and_gradients() -> None:
    states, mask = tokens()
    forward, backward = LSTMCell(6, 4).double(), LSTMCell(6, 4).double()
    oracle = torch.nn.LSTM(6, 4, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for cell, suffix in ((forward, ""), (backward, "_reverse")):
            getattr(oracle, f"weight_ih_l0{suffix}").copy_(cell.weight_ih)
            getattr(oracle, f"weight_hh_l0{suffix}").copy_(cell.weight_hh)
            getattr(oracle, f"bias_ih_l0{suffix}").copy_(cell.bias)
            getattr(oracle, f"bias_hh_l0{suffix}").zero_()
    packed = pack_padded_sequence(states, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(oracle(packed)[0], batch_first=True)[0]
    ours = torch.cat(
        [
            run_cell(forward, forward.project(states), mask),
            run_cell(backward, backward.project(states), mask, reverse=True),
        ],
        dim=-1,
    )
    real = mask[..., None]
    torch.testing.assert_close(ours * real, expected * real)
    (ours * real).square().sum().backward()
    (expected * real).square().sum().backward()
    torch.testing.assert_close(forward.weight_hh.grad, oracle.weight_hh_l0.grad)
    torch.testing.assert_close(backward.weight_ih.grad, oracle.weight_ih_l0_reverse.grad)


def test_hyper_cell_at_identity_is_the_plain_cell_and_then_leaves_it() -> None:
    states, mask = tokens()
    hyper = HyperLSTMCell(6, 4).double()
    plain = LSTMCell(6, 4).double()
    plain.load_state_dict({name: hyper.state_dict()[name] for name in plain.state_dict()})
    torch.testing.assert_close(
        run_cell(hyper, hyper.project(states), mask), run_cell(plain, plain.project(states), mask)
    )
    with torch.no_grad():
        hyper.scales.fill_(0.5)
    assert (
        run_cell(hyper, hyper.project(states), mask) - run_cell(plain, plain.project(states), mask)
    ).abs().max() > 1e-3


def test_untrained_encoder_is_the_plain_sentence_vector() -> None:
    batch = tokens()
    encoder = TextEncoder(6, 4).double()
    expected = torch.stack([F.normalize(s[:n].mean(0), dim=0) for s, n in zip(batch.states, LENGTHS, strict=True)])
    torch.testing.assert_close(encoder(batch), expected)
    assert masked_mean(*batch).shape == (3, 6)


def test_padding_changes_nothing() -> None:
    batch = tokens()
    encoder = TextEncoder(6, 4).double()
    torch.nn.init.normal_(encoder.out)
    wider = TokenStates(F.pad(batch.states, (0, 0, 0, 3), value=9.0), F.pad(batch.mask, (0, 3)))
    torch.testing.assert_close(encoder(wider), encoder(batch))


@pytest.mark.parametrize("cell", ["lstm", "hyper"])
def test_each_text_alone_equals_the_padded_batch(cell: CellKind) -> None:
    batch = tokens()
    encoder = TextEncoder(6, 4, cell=cell).double()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    alone = [encoder(TokenStates(s[None, :n], m[None, :n])) for s, m, n in zip(*batch, LENGTHS, strict=True)]
    torch.testing.assert_close(encoder(batch), torch.cat(alone))


@pytest.mark.parametrize("cell", ["lstm", "hyper"])
def test_projected_texts_depend_on_no_recurrent_weight(cell: CellKind) -> None:
    encoder = TextEncoder(6, 4, cell=cell).double()
    torch.nn.init.normal_(encoder.out)
    read = encoder.project(tokens())
    torch.testing.assert_close(encoder(read), encoder(tokens()))
    named = dict(encoder.named_parameters())
    used = torch.autograd.grad(
        sum(part.sum() for part in read if part is not None and part.is_floating_point()),
        list(named.values()),
        allow_unused=True,
    )
    assert encoder.recurrent_names() == [name for name, grad in zip(named, used, strict=True) if grad is None]
