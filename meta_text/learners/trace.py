"""What a gradient learner does on one task, step by step: gates, step sizes and losses."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from meta_text.errors import ConfigError
from meta_text.learners.gradient import GradientLearner
from meta_text.learners.inner_loop import GatedSteps, Gates, TaskShape, Weights, inner_loop
from meta_text.learners.learner import EmbeddedEpisode, Learner, TaskState, Texts


@dataclass(frozen=True)
class Trace:
    """The T steps of a task.

    gates: of each step, by tensor ("head", "encoder.NAME"). support_loss, query_loss: in nats, before the first step and
    after each, T + 1 values. query_accuracy: a fraction, likewise. tasks: what was known then.
    """

    gates: tuple[dict[str, Gates], ...]
    support_loss: Float[Tensor, " T1"]
    query_loss: Float[Tensor, " T1"]
    query_accuracy: Float[Tensor, " T1"]
    tasks: tuple[TaskState, ...]


class _Recorder:
    """An update rule that writes down what it does."""

    def __init__(self, rule: GatedSteps) -> None:
        self.rule = rule
        self.gates: list[dict[str, Gates]] = []
        self.losses: list[Tensor] = []

    def start(self, weights: Weights, shape: TaskShape) -> Any:
        return self.rule.start(weights, shape)

    def step(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: Any) -> tuple[Weights, Any]:
        made = self.rule.gates(t, weights, grads, loss, state)
        self.gates.append({name: _detached(each) for name, each in made.items()})
        self.losses.append(loss)
        return self.rule.step(t, weights, grads, loss, state)


def _detached(gates: Gates) -> Gates:
    forget, momentum = (None if gate is None else gate.detach() for gate in (gates.forget, gates.momentum))
    return Gates(gates.step_size.detach(), forget, momentum)


@torch.no_grad()
def trace(learner: Learner, episode: EmbeddedEpisode, temperature: float = 1.0) -> Trace:
    """Adapt to an episode as `adapt` does, and write down each step; the queries are only asked.

    temperature: what the logits of the queries are divided by in their loss. Raises ConfigError for a learner that takes
    no gradient steps.
    """
    if not isinstance(learner, GradientLearner) or not isinstance(learner.rule, GatedSteps):
        raise ConfigError(
            f"{type(learner).__name__} takes no learned steps, so it has no gates or step sizes to show; use a model whose "
            "learner is meta_lstm, meta_lstm_2017, policy, maml, anil, proto_maml, meta_sgd or reptile"
        )
    begun = learner.begin(episode.support, episode.support_labels, episode.n_way, episode.names)
    recorder, support_loss = _Recorder(learner.rule), begun.make_loss(begun.data)
    steps = inner_loop(begun.inside, support_loss, recorder, begun.shape, learner.first_order)
    made = [begun.start, *(learner.outside(step, begun) for step in steps[1:])]
    tasks = [{name: weight.detach() for name, weight in task.items()} for task in made]
    logits = torch.stack([learner.logits(task, episode.query) for task in tasks]) / temperature
    labels = episode.query_labels
    return Trace(
        gates=tuple(recorder.gates),
        support_loss=torch.stack([*recorder.losses, support_loss(steps[-1])]),
        query_loss=torch.stack([F.cross_entropy(scores, labels) for scores in logits]),
        query_accuracy=(logits.argmax(-1) == labels).float().mean(-1),
        tasks=tuple(tasks),
    )


@torch.no_grad()
def places(learner: GradientLearner, task: TaskState, texts: Texts) -> Float[Tensor, "B D"]:
    """Where the encoder of a task puts texts: the same place after any step, unless steps move the encoder."""
    return learner._features(task, texts)


@torch.no_grad()
def centres(learner: GradientLearner, task: TaskState, episode: EmbeddedEpisode) -> Float[Tensor, "N D"]:
    """What a task takes for the middle of each class.

    With a head that starts at the prototypes c, whose rows are [2 c, -|c|^2], half of each row; else the means of the
    labelled texts.
    """
    if learner.head_row is None:
        return task["head"][:, :-1] / 2
    support = places(learner, task, episode.support)
    return learner.prototypes(support, episode.support_labels, episode.n_way, None)
