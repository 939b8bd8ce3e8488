"""From token states to one feature per text: the LSTM written out, the hyper-LSTM, and the text encoder.

The cells are written out because `nn.LSTM` has no double backward under cuDNN, and second-order
adaptation needs one. `nn.LSTM` is the oracle of the tests.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from meta_text.embedding.token_states import TokenStates, masked_mean

CellKind = Literal["lstm", "hyper"]
HYPER_HIDDEN = 16  # units of the small LSTM that scales the main one
State = tuple[Tensor, ...]


def lstm_step(gates_B4H: Tensor, c_BH: Tensor) -> tuple[Tensor, Tensor]:
    """(h, c) from pre-activations in nn.LSTM's order: input, forget, cell, output (Hochreiter & Schmidhuber 1997)."""
    i_BH, f_BH, g_BH, o_BH = gates_B4H.chunk(4, dim=-1)
    c_BH = f_BH.sigmoid() * c_BH + i_BH.sigmoid() * g_BH.tanh()
    return o_BH.sigmoid() * c_BH.tanh(), c_BH


class LSTMCell(nn.Module):
    """A plain LSTM cell whose input projection can be computed for all tokens at once.

    Weights: weight_ih [4H E], weight_hh [4H H], bias [4H]; forget bias 1 at the start.
    """

    projecting: tuple[str, ...] = ("weight_ih", "bias")  # the parameters that `project` uses, and `step` does not

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

    def start(self, like_BTG: Tensor) -> State:
        zeros_BH = like_BTG.new_zeros(like_BTG.shape[0], self.hidden)
        return zeros_BH, zeros_BH

    def step(self, projected_B4H: Tensor, state: State) -> State:
        h_BH, c_BH = state
        return lstm_step(projected_B4H + F.linear(h_BH, self.weight_hh), c_BH)


class HyperLSTMCell(LSTMCell):
    """An LSTM whose rows are rescaled at every token by a smaller LSTM (Ha et al., ICLR 2017, eq. 10-12, weight scaling).

    The small one reads (x_t, h_{t-1}); from its output z: gates = d_x(z) * W x + d_h(z) * U h + b + b(z),
    with d = 1 + D z. D is zero at the start, where the cell equals LSTMCell.
    """

    projecting = ("weight_ih", "hyper.weight_ih", "hyper.bias")

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden)
        self.hyper = LSTMCell(width, HYPER_HIDDEN)
        self.hyper_from_main = nn.Parameter(
            torch.empty(4 * HYPER_HIDDEN, hidden).uniform_(-(hidden**-0.5), hidden**-0.5)
        )
        self.scales = nn.Parameter(torch.zeros(12 * hidden, HYPER_HIDDEN))  # d_x, d_h, b(z)

    def project(self, x_BTE: Tensor) -> Tensor:
        main_BT4H = F.linear(x_BTE, self.weight_ih)
        return torch.cat([main_BT4H, self.hyper.project(x_BTE)], dim=-1)

    def start(self, like_BTG: Tensor) -> State:
        return (*super().start(like_BTG), *self.hyper.start(like_BTG))

    def step(self, projected_B4H: Tensor, state: State) -> State:
        h_BH, c_BH, *hyper_state = state
        main_B4H, hyper_B4h = projected_B4H.split([4 * self.hidden, 4 * self.hyper.hidden], dim=-1)
        z_Bh, hyper_c_Bh = self.hyper.step(hyper_B4h + F.linear(h_BH, self.hyper_from_main), tuple(hyper_state))
        d_x_B4H, d_h_B4H, b_z_B4H = F.linear(z_Bh, self.scales).chunk(3, dim=-1)
        recurrent_B4H = F.linear(h_BH, self.weight_hh)
        gates_B4H = (1 + d_x_B4H) * main_B4H + (1 + d_h_B4H) * recurrent_B4H + self.bias + b_z_B4H
        return *lstm_step(gates_B4H, c_BH), z_Bh, hyper_c_Bh


def run_cell(cell: LSTMCell, projected_BTG: Tensor, mask_BT: Tensor, reverse: bool = False) -> Tensor:
    """Hidden states [B T H] from projected inputs; in reverse, each text starts at its last real token.

    States at padding positions have no meaning.
    """
    backwards_BT = _backwards(mask_BT) if reverse else None
    if backwards_BT is not None:
        projected_BTG = _take(projected_BTG, backwards_BT)
    state = cell.start(projected_BTG)
    outputs: list[Tensor] = []
    # unbind, not indexing: the backward pass of an index fills a whole [B T G] with zeros for every token
    for projected_BG in projected_BTG.unbind(1):
        state = cell.step(projected_BG, state)
        outputs.append(state[0])
    h_BTH = torch.stack(outputs, dim=1)
    return h_BTH if backwards_BT is None else _take(h_BTH, backwards_BT)


def _backwards(mask_BT: Tensor) -> Tensor:
    """Positions that reverse each text's real tokens and leave its padding in place."""
    length_B1, t_1T = mask_BT.sum(1, keepdim=True), torch.arange(mask_BT.shape[1], device=mask_BT.device)[None]
    return torch.where(t_1T < length_B1, length_B1 - 1 - t_1T, t_1T)


def _take(x_BTC: Tensor, positions_BT: Tensor) -> Tensor:
    return x_BTC.gather(1, positions_BT[..., None].expand(-1, -1, x_BTC.shape[-1]))


class Projected(NamedTuple):
    """Token states, processed as far as possible without the recurrent weights; G gate inputs per token."""

    sentence: Float[Tensor, "*B E"]
    forward: Float[Tensor, "*B T G"]
    backward: Float[Tensor, "*B T G"] | None
    mask: Bool[Tensor, "*B T"]


class TextEncoder(nn.Module):
    """Token states [B T E] -> unit features [B E], a residual on top of the plain sentence vector.

    feature = unit(unit(mean of token states) + W_out . mean of LSTM(token states)), with W_out zero at the
    start: an untrained encoder gives the plain sentence embedding.

    `run` runs a cell over the tokens; it is `run_cell` or computes the same (ONNX has a node for it).
    """

    def __init__(
        self,
        width: int,
        hidden: int = 64,
        cell: CellKind = "lstm",
        bidirectional: bool = True,
        run: Callable[..., Tensor] = run_cell,
    ) -> None:
        super().__init__()
        make = HyperLSTMCell if cell == "hyper" else LSTMCell
        self.width, self.run = width, run
        self.forward_cell = make(width, hidden)
        self.backward_cell = make(width, hidden) if bidirectional else None
        self.out = nn.Parameter(torch.zeros(width, hidden * (2 if bidirectional else 1)))

    def project(self, tokens: TokenStates) -> Projected:
        """Everything that does not depend on the recurrent weights, for all tokens at once."""
        x_BTE, mask_BT = tokens
        sentence_BE = F.normalize(masked_mean(x_BTE, mask_BT), dim=-1)
        # a sentence encoder's token states have norms near 0.3 sqrt(E); normalised, they give the LSTM unit variance
        x_BTE = F.layer_norm(x_BTE, x_BTE.shape[-1:])
        backward_BTG = None if self.backward_cell is None else self.backward_cell.project(x_BTE)
        return Projected(sentence_BE, self.forward_cell.project(x_BTE), backward_BTG, mask_BT)

    def recurrent_names(self) -> list[str]:
        """The parameters that `project` does not use."""
        used = {f"{side}.{name}" for side in ("forward_cell", "backward_cell") for name in self.forward_cell.projecting}
        return [name for name, _ in self.named_parameters() if name not in used]

    def forward(self, texts: TokenStates | Projected, residual: bool = True) -> Float[Tensor, "B _"]:
        """Unit features; with residual=False only the mean LSTM states, [B H] or [B 2H]."""
        read = texts if isinstance(texts, Projected) else self.project(texts)
        states = [self.run(self.forward_cell, read.forward, read.mask)]
        if self.backward_cell is not None and read.backward is not None:
            states.append(self.run(self.backward_cell, read.backward, read.mask, reverse=True))
        pooled_BH = torch.cat([masked_mean(h_BTH, read.mask) for h_BTH in states], dim=-1)
        if not residual:
            return pooled_BH
        return F.normalize(read.sentence + F.linear(pooled_BH, self.out), dim=-1)


class NoEncoder(TextEncoder):
    """Stands where texts come as features already, so that there is nothing left to encode."""

    def __init__(self, width: int) -> None:
        nn.Module.__init__(self)
        self.width = width
