"""The Meta-LSTM: a learned start at the prototypes and a learned update rule whose gates see the task.

After Ravi & Larochelle (ICLR 2017): the adapted weights are a cell state,
theta_t = theta_0 + f_t * (theta_{t-1} - theta_0) - i_t * v_t, with v_t = m_t * v_{t-1} + g_t. Unlike the
paper's form it forgets towards the start, has a momentum gate m_t (v_t = g_t in the paper), shares its gates
over tensors and rows (so N is free and class order only permutes), reads scale-free statistics instead of
single coordinates, and keeps the second order.
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from meta_text.learners.encoder import LSTMCell, TextEncoder
from meta_text.learners.gradient import Adapts, GradientLearner
from meta_text.learners.inner_loop import Gates, TaskShape, Weights
from meta_text.learners.learner import EmbeddedEpisode, head_logits, prototype_head

EncoderLoss = Literal["steps", "start"]
FORGET_BIAS = 5.0  # sigmoid(5) = 0.993: keep nearly all of the distance from the start
ENCODER_LR = 1e-3  # initial step size of encoder tensors
N_STATISTICS = 9
SHARPNESS = [1.22**i for i in range(28)]  # 1 to 214: the scales that the loss tries on the logits of one task


class GateState(NamedTuple):
    shape: TaskShape
    start: Weights
    velocity: Weights
    previous_grads: Weights | None
    previous_loss: Tensor | None
    hidden: dict[str, tuple[Tensor, ...]]


class GatedRule(nn.Module):
    """An LSTM emits a forget gate, a step size and a momentum for every row of every adapted tensor.

    Rows: a class of the head, an output unit of an encoder matrix, a whole bias vector. Step sizes start at
    `inner_lr` for the head, divided by the squared scale of the support loss, as its curvature grows with that. Gate
    outputs start at zero, so the untrained rule is gradient descent with momentum 0.5 and a slight pull back
    to the start.
    """

    def __init__(self, inner_lr: float, adapts: Adapts = "head", hidden: int = 20) -> None:
        super().__init__()
        self.cell = LSTMCell(N_STATISTICS, hidden)
        self.to_gates = nn.Linear(hidden, 3)
        nn.init.zeros_(self.to_gates.weight)
        nn.init.zeros_(self.to_gates.bias)
        self.log_lr_head = nn.Parameter(torch.tensor(math.log(inner_lr)))
        self.log_lr_encoder = nn.Parameter(torch.tensor(math.log(ENCODER_LR)), requires_grad=adapts != "head")

    def start(self, weights: Weights, shape: TaskShape) -> GateState:
        hidden = {name: self.cell.start(_rows(weight)[:, None]) for name, weight in weights.items()}
        still = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        return GateState(shape, weights, still, None, None, hidden)

    def step(
        self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: GateState
    ) -> tuple[Weights, GateState]:
        moved: Weights = {}
        velocity: Weights = {}
        hidden: dict[str, tuple[Tensor, ...]] = {}
        for name, weight in weights.items():
            forget_R1, step_R1, momentum_R1, hidden[name] = self._gates(t, name, weight, grads[name], loss, state)
            start_RC = _rows(state.start[name])
            velocity_RC = momentum_R1 * _rows(state.velocity[name]) + _rows(grads[name])
            row_RC = start_RC + forget_R1 * (_rows(weight) - start_RC) - step_R1 * velocity_RC
            moved[name], velocity[name] = row_RC.view(weight.shape), velocity_RC.view(weight.shape)
        return moved, GateState(state.shape, state.start, velocity, grads, loss, hidden)

    def gates(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: GateState) -> dict[str, Gates]:
        """What `step` multiplies each row by, as columns [R 1]."""
        made = {}
        for name, weight in weights.items():
            forget_R1, step_R1, momentum_R1, _ = self._gates(t, name, weight, grads[name], loss, state)
            made[name] = Gates(step_R1, forget_R1, momentum_R1)
        return made

    def _gates(
        self, t: int, name: str, weight: Tensor, grad: Tensor, loss: Tensor, state: GateState
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """Forget gate, step size and momentum of each row, and the LSTM's state after them."""
        statistics_RF = self._statistics(t, name, weight, grad, loss, state)
        hidden = self.cell.step(self.cell.project(statistics_RF), state.hidden[name])
        forget_R1, step_R1, momentum_R1 = self.to_gates(hidden[0]).split(1, dim=-1)
        log_lr = self.log_lr_head if name == "head" else self.log_lr_encoder
        forget_R1, momentum_R1 = (forget_R1 + FORGET_BIAS).sigmoid(), momentum_R1.sigmoid()
        # the support loss is a mean over classes: without this, a head row would move less where N is large
        sharing = state.shape.n_way if name == "head" else 1
        step_R1 = (step_R1 + log_lr).exp() * sharing / state.shape.scale**2
        return forget_R1, step_R1, momentum_R1, hidden

    def _statistics(
        self, t: int, name: str, weight: Tensor, grad: Tensor, loss: Tensor, state: GateState
    ) -> Float[Tensor, "R F"]:
        """The gates' inputs for each row, detached: they control the step and carry no gradient."""
        grad_RC, walked_RC = _rows(grad).detach(), (_rows(weight) - _rows(state.start[name])).detach()
        start_RC, loss = _rows(state.start[name]).detach(), loss.detach()
        drop, cosine_R = torch.zeros_like(loss), torch.zeros_like(grad_RC[:, 0])
        if state.previous_loss is not None and state.previous_grads is not None:
            drop = state.previous_loss.detach() - loss
            cosine_R = F.cosine_similarity(grad_RC, _rows(state.previous_grads[name]).detach(), dim=-1)
        constant_R = torch.ones_like(cosine_R)
        columns = [
            constant_R * loss,
            constant_R * drop,
            constant_R * (t / state.shape.steps),
            _log_norm(grad_RC),
            _log_norm(walked_RC),
            _log_norm(start_RC),
            cosine_R,
            constant_R * (math.log(state.shape.n_way) / 4),
            constant_R * (math.log(max(state.shape.shots, 0.1)) / 4),
        ]
        return torch.stack(columns, dim=-1)


def _rows(tensor: Tensor) -> Float[Tensor, "R C"]:
    return tensor if tensor.ndim == 2 else tensor.view(1, -1)


def _log_norm(rows_RC: Tensor) -> Tensor:
    """A tenth of the log norm, floored at -1: of order one for norms from e^-10 to e^10."""
    return (rows_RC.square().sum(-1) + math.exp(-20)).log() / 20


class MetaLSTM(GradientLearner):
    """The default learner. With zero steps it is exactly ProtoNet, so the rule can only learn to improve on that.

    Steps are taken on centred features, at their own scale (see GradientLearner).
    """

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        inner_steps: int = 5,
        inner_lr: float = 8.0,
        adapts: Adapts = "head",
        first_order: bool = False,
        label_names: bool = False,
        checkpoint_steps: bool = False,
        encoder_loss: EncoderLoss = "steps",
    ) -> None:
        super().__init__(
            encoder,
            GatedRule(inner_lr, adapts),
            inner_steps=inner_steps,
            adapts=adapts,
            start="prototypes",
            first_order=first_order,
            label_names=label_names,
            checkpoint_steps=checkpoint_steps,
            centred=True,
        )
        self.encoder_loss = encoder_loss

    def query_loss(self, scores: Float[Tensor, "Q N"], labels: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
        """Cross-entropy at the sharpness that is best for these queries, plus that at the scale of the answers.

        Every step makes the logits larger. With one scale for all steps and tasks, the rule is penalised for that and
        learns to move less than is best for accuracy, although the temperature is fitted to the validation classes
        later anyway. The derivative with respect to the best sharpness is zero, so that is treated as a constant; the
        second term trains the scale of the answers and nothing else.
        """
        with torch.no_grad():
            tried_C = scores.new_tensor(SHARPNESS)
            log_p_CQN = (tried_C[:, None, None] * scores).log_softmax(-1)
            chosen_CQ1 = log_p_CQN.take_along_dim(labels[None, :, None], dim=-1)
            best_C = (chosen_CQ1.mean((1, 2)) == chosen_CQ1.mean((1, 2)).max()).float()
            sharpness = (best_C * tried_C).sum() / best_C.sum()
        own = F.cross_entropy(self.log_scale.exp() * scores.detach(), labels)
        return F.cross_entropy(sharpness * scores, labels) + own

    def loss(self, episode: EmbeddedEpisode) -> Float[Tensor, ""]:
        """The multi-step loss; with encoder_loss = "start" it trains the rule alone.

        Embedding and encoder then learn from the answers before any step. With one loss they leave to the steps what
        they could learn themselves: with the embedding trained on BANKING77, 82.8 % instead of 83.4 % on validation
        classes (16-way, 1-shot). With a frozen embedding, one loss transfers better to other corpora.
        """
        if self.encoder_loss == "steps" or self.adapts != "head":
            return self.multi_step_loss(episode)
        support, query = self.features(episode.support), self.features(episode.query)
        names = None if episode.names is None else self.features(episode.names)
        prototypes_ND = self.prototypes(support, episode.support_labels, episode.n_way, names)
        excess_N = self.length_excess(support, episode.support_labels, episode.n_way, named=names is not None)
        head_ND1 = prototype_head(prototypes_ND, excess_N)
        start = F.cross_entropy(head_logits(head_ND1, query, self.log_scale.exp()), episode.query_labels)
        still = episode._replace(
            support=support.detach(), query=query.detach(), names=None if names is None else names.detach()
        )
        return start + self.multi_step_loss(still)
