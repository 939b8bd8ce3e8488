"""The Meta-LSTM as published (Ravi & Larochelle, ICLR 2017, eq. 2-6 and sec. 3.3), kept for comparison.

Its known weaknesses are kept too: it forgets towards zero, sees one coordinate at a time, and treats
gradients as constants. Two things differ: the head starts from one learned row shared by all classes, because N
is free here, and by default only the head is adapted (20 hidden units per coordinate take about 0.2 KB per weight
and step).
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meta_text.learners.encoder import LSTMCell, TextEncoder
from meta_text.learners.gradient import Adapts, GradientLearner
from meta_text.learners.inner_loop import Gates, TaskShape, Weights

HIDDEN = 20  # units of the small LSTM, as in the paper
P = 10.0  # the preprocessing constant of Andrychowicz et al. (NeurIPS 2016, appendix A)


def preprocess(v: Float[Tensor, " C"]) -> Float[Tensor, "C 2"]:
    """(ln|v| / p, sign v) where |v| >= e^-p, else (-1, e^p v)."""
    large = v.abs() >= math.exp(-P)
    log_part = torch.where(large, v.abs().clamp_min(math.exp(-P)).log() / P, -torch.ones_like(v))
    sign_part = torch.where(large, v.sign(), math.exp(P) * v)
    return torch.stack([log_part, sign_part], dim=-1)


class RuleState(NamedTuple):
    h: Tensor
    c: Tensor
    forget: Tensor
    input: Tensor


class CoordinateRule(nn.Module):
    """theta_t = sigmoid(F_t) theta_{t-1} - sigmoid(I_t) g_t, the same small LSTM for every coordinate."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = LSTMCell(4, HIDDEN)
        for weight in (self.cell.weight_ih, self.cell.weight_hh):
            nn.init.uniform_(weight, -0.01, 0.01)
        self.forget = nn.Parameter(torch.empty(HIDDEN + 2).uniform_(-0.01, 0.01))
        self.input = nn.Parameter(torch.empty(HIDDEN + 2).uniform_(-0.01, 0.01))
        self.forget_bias = nn.Parameter(torch.empty(()).uniform_(4.0, 5.0))
        self.input_bias = nn.Parameter(torch.empty(()).uniform_(-5.0, -4.0))

    def start(self, weights: Weights, shape: TaskShape) -> dict[str, RuleState]:
        states = {}
        for name, weight in weights.items():
            zeros_C = torch.zeros_like(weight).flatten()
            h_CH, c_CH = self.cell.start(zeros_C[:, None, None])
            states[name] = RuleState(h_CH, c_CH, zeros_C, zeros_C)
        return states

    def step(
        self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: dict[str, RuleState]
    ) -> tuple[Weights, dict[str, RuleState]]:
        moved, states = {}, {}
        for name, weight in weights.items():
            theta_C, grad_C = weight.flatten(), grads[name].flatten()
            states[name] = after = self._after(theta_C, grad_C, loss, state[name])
            theta_C = after.forget.sigmoid() * theta_C - after.input.sigmoid() * grad_C
            moved[name] = theta_C.view(weight.shape)
        return moved, states

    def gates(
        self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: dict[str, RuleState]
    ) -> dict[str, Gates]:
        """What `step` multiplies each coordinate [C] and its gradient by."""
        after = {
            name: self._after(weight.flatten(), grads[name].flatten(), loss, state[name])
            for name, weight in weights.items()
        }
        return {name: Gates(one.input.sigmoid(), one.forget.sigmoid()) for name, one in after.items()}

    def _after(self, theta_C: Tensor, grad_C: Tensor, loss: Tensor, before: RuleState) -> RuleState:
        loss_C2 = preprocess(loss[None]).expand(len(theta_C), 2)
        seen_C4 = torch.cat([loss_C2, preprocess(grad_C)], dim=-1)
        h_CH, c_CH = self.cell.step(self.cell.project(seen_C4), (before.h, before.c))
        forget_C = _gate(h_CH, theta_C, before.forget, self.forget, self.forget_bias)
        return RuleState(h_CH, c_CH, forget_C, _gate(h_CH, theta_C, before.input, self.input, self.input_bias))


def _gate(h_CH: Tensor, theta_C: Tensor, before_C: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """w . [h_t; theta_{t-1}; gate_{t-1}] + b, before the sigmoid."""
    return F.linear(torch.cat([h_CH, theta_C[:, None], before_C[:, None]], dim=-1), weight) + bias


class MetaLSTM2017(GradientLearner):
    """By default 12 steps at one shot and 8 at more, as in the paper."""

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        inner_steps: int | None = None,
        adapts: Adapts = "head",
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(
            encoder,
            CoordinateRule(),
            inner_steps=inner_steps or 0,
            adapts=adapts,
            start="learned",
            first_order=True,
            checkpoint_steps=checkpoint_steps,
        )
        self.paper_steps = inner_steps is None

    def steps_for(self, shots: float) -> int:
        if not self.paper_steps:
            return self.inner_steps
        return 12 if shots < 2 else 8
