"""Token states to one feature a text: the LSTM written out, the hyper-LSTM, and the MetaLSTM encoder.

The cells are written out because `nn.LSTM` has no double backward under cuDNN, and second-order
adaptation needs one. `nn.LSTM` is the oracle of the tests.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from meta_text.embedding import TokenStates

CellKind = Literal["lstm", "hyper"]
Pooling = Literal["mean", "max", "last"]
State = tuple[Tensor, ...]


def lstm_step(gates_B4H: Tensor, c_BH: Tensor) -> tuple[Tensor, Tensor]:
    """(h, c) from pre-activations in nn.LSTM's order: input, forget, cell, output (Hochreiter & Schmidhuber 1997)."""
    i_BH, f_BH, g_BH, o_BH = gates_B4H.chunk(4, dim=-1)
    c_BH = f_BH.sigmoid() * c_BH + i_BH.sigmoid() * g_BH.tanh()
    return o_BH.sigmoid() * c_BH.tanh(), c_BH


class LSTMCell(nn.Module):
    """A plain LSTM cell whose input projection can be done for all tokens at once.

    Weights: weight_ih [4H E], weight_hh [4H H], bias [4H]; forget bias 1 at the start.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        bound = hidden**-0.5
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, width).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        with torch.no_grad():
            self.bias[hidden : 2 * hidden] = 1.0

    def project(self, x_BTE: Tensor) -> Tensor:
        return F.linear(x_BTE, self.weight_ih, self.bias)

    def start(self, x_BTE: Tensor) -> State:
        zeros_BH = x_BTE.new_zeros(x_BTE.shape[0], self.hidden)
        return zeros_BH, zeros_BH

    def step(self, projected_B4H: Tensor, state: State) -> State:
        h_BH, c_BH = state
        return lstm_step(projected_B4H + F.linear(h_BH, self.weight_hh), c_BH)


class HyperLSTMCell(LSTMCell):
    """An LSTM whose rows are rescaled at every token by a smaller LSTM (Ha et al., ICLR 2017, eq. 10-12, weight scaling).

    The small one reads (x_t, h_{t-1}); from its output z: gates = d_x(z) * W x + d_h(z) * U h + b + b(z),
    with d = 1 + D z. D is zero at the start, where the cell equals LSTMCell.
    """

    def __init__(self, width: int, hidden: int, hyper_hidden: int = 16) -> None:
        super().__init__(width, hidden)
        self.hyper = LSTMCell(width, hyper_hidden)
        self.hyper_from_main = nn.Parameter(
            torch.empty(4 * hyper_hidden, hidden).uniform_(-(hidden**-0.5), hidden**-0.5)
        )
        self.scales = nn.Parameter(torch.zeros(12 * hidden, hyper_hidden))  # d_x, d_h, b(z)

    def project(self, x_BTE: Tensor) -> Tensor:
        main_BT4H = F.linear(x_BTE, self.weight_ih)
        return torch.cat([main_BT4H, self.hyper.project(x_BTE)], dim=-1)

    def start(self, x_BTE: Tensor) -> State:
        return (*super().start(x_BTE), *self.hyper.start(x_BTE))

    def step(self, projected_B4H: Tensor, state: State) -> State:
        h_BH, c_BH, *hyper_state = state
        main_B4H, hyper_B4h = projected_B4H.split([4 * self.hidden, 4 * self.hyper.hidden], dim=-1)
        z_Bh, hyper_c_Bh = self.hyper.step(hyper_B4h + F.linear(h_BH, self.hyper_from_main), tuple(hyper_state))
        d_x_B4H, d_h_B4H, b_z_B4H = F.linear(z_Bh, self.scales).chunk(3, dim=-1)
        recurrent_B4H = F.linear(h_BH, self.weight_hh)
        gates_B4H = (1 + d_x_B4H) * main_B4H + (1 + d_h_B4H) * recurrent_B4H + self.bias + b_z_B4H
        return *lstm_step(gates_B4H, c_BH), z_Bh, hyper_c_Bh


def run_cell(cell: LSTMCell, x_BTE: Tensor, mask_BT: Tensor, reverse: bool = False) -> Tensor:
    """Hidden states [B T H]; on padding the state stands still, so the last one is that of the last real token."""
    projected_BT4H = cell.project(x_BTE)
    state = cell.start(x_BTE)
    outputs: list[Tensor] = []
    steps = range(x_BTE.shape[1])
    for t in reversed(steps) if reverse else steps:
        real_B1 = mask_BT[:, t, None]
        moved = cell.step(projected_BT4H[:, t], state)
        state = tuple(torch.where(real_B1, new, old) for new, old in zip(moved, state, strict=True))
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if reverse else outputs, dim=1)


def masked_mean(x_BTE: Tensor, mask_BT: Tensor) -> Tensor:
    weights_BT1 = mask_BT.to(x_BTE.dtype)[..., None]
    return (x_BTE * weights_BT1).sum(-2) / weights_BT1.sum(-2)


class MetaLSTM(nn.Module):
    """Token states [B T E] -> unit features [B E], a residual on the plain sentence vector.

    feature = unit(unit(mean of token states) + W_out . pool(LSTM(token states))), with W_out zero at the
    start: an untrained encoder is the plain sentence embedding.
    """

    def __init__(
        self,
        width: int,
        hidden: int = 64,
        cell: CellKind = "lstm",
        bidirectional: bool = True,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        make = HyperLSTMCell if cell == "hyper" else LSTMCell
        self.width, self.pooling = width, pooling
        self.forward_cell = make(width, hidden)
        self.backward_cell = make(width, hidden) if bidirectional else None
        self.run = run_cell  # the ONNX export puts another one of equal results here
        self.out = nn.Parameter(torch.zeros(width, hidden * (2 if bidirectional else 1)))

    def forward(self, tokens: TokenStates, residual: bool = True) -> Float[Tensor, "B _"]:
        """Unit features; with residual=False the pooled LSTM states alone, [B H] or [B 2H]."""
        x_BTE, mask_BT = tokens
        sentence_BE = F.normalize(masked_mean(x_BTE, mask_BT), dim=-1)
        # token states of a sentence encoder have norms near sqrt(E) * 0.3; the LSTM sees unit-variance-like input
        x_BTE = F.layer_norm(x_BTE, x_BTE.shape[-1:])
        pooled = [self._pool(self.run(self.forward_cell, x_BTE, mask_BT), mask_BT, -1)]
        if self.backward_cell is not None:
            pooled.append(self._pool(self.run(self.backward_cell, x_BTE, mask_BT, reverse=True), mask_BT, 0))
        pooled_BH = torch.cat(pooled, dim=-1)
        if not residual:
            return pooled_BH
        return F.normalize(sentence_BE + F.linear(pooled_BH, self.out), dim=-1)

    def _pool(self, h_BTH: Tensor, mask_BT: Bool[Tensor, "B T"], end: int) -> Tensor:
        if self.pooling == "mean":
            return masked_mean(h_BTH, mask_BT)
        if self.pooling == "max":
            return h_BTH.masked_fill(~mask_BT[..., None], -torch.inf).amax(dim=1)
        return h_BTH[:, end]
