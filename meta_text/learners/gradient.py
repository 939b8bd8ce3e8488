"""Learners that adapt by gradient steps: a start, an update rule, and the inner loop."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from meta_text.embedding.token_states import TokenStates
from meta_text.errors import ConfigError
from meta_text.learners.checkpointing import checkpointed_loop
from meta_text.learners.encoder import TextEncoder
from meta_text.learners.inner_loop import TaskShape, UpdateRule, Weights, inner_loop
from meta_text.learners.learner import (
    EmbeddedEpisode,
    Learner,
    TaskState,
    Texts,
    balanced_cross_entropy,
    head_logits,
    prototype_head,
    shots_of,
)
from meta_text.learners.uneven import lowered

# what the steps move besides the head: nothing, every encoder weight, or only the weights after the input projections,
# which are then computed once per task
Adapts = Literal["head", "encoder", "recurrent"]
BIAS_FEATURE = 0.1**0.5  # multiplies the head's bias in centred steps, so that it moves ten times less


class Begun(NamedTuple):
    """A task before its first step.

    inside: the start as the steps see it, where they are taken on centred features with another head. data: whatever the
    support loss make_loss(data) depends on.
    """

    start: TaskState
    inside: Weights
    make_loss: Callable[[dict[str, Any]], Callable[[Weights], Tensor]]
    data: dict[str, Any]
    shape: TaskShape


class GradientLearner(Learner):
    """Start the head (at the prototypes, or at one learned row shared by all classes), then take `inner_steps`.

    A learned start must be the same for every class; otherwise N could not vary and class order would matter.

    centred: the steps are taken on centred features, because the mean that all texts share (long in sentence
    embeddings) makes descent ill-conditioned. The support loss then has its own scale, learned as e^a K^b and
    initially the root of K. At the sharp scale of the answers the support loss is already saturated,
    and one shot gives no gradient at all; with more shots the texts near the border count.

    checkpoint_steps: the outer backward pass recomputes each step, which takes less memory and more time.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        rule: UpdateRule,
        *,
        inner_steps: int,
        start: Literal["prototypes", "learned"],
        adapts: Adapts = "head",
        first_order: bool = False,
        label_names: bool = False,
        checkpoint_steps: bool = False,
        centred: bool = False,
    ) -> None:
        super().__init__(encoder, label_names=label_names)
        self.rule, self.inner_steps, self.adapts = rule, inner_steps, adapts
        self.first_order, self.checkpoint_steps, self.centred = first_order, checkpoint_steps, centred
        self.needs_tokens, self.takes_names = adapts != "head", start == "prototypes"
        self.head_row = (
            nn.Parameter(torch.empty(encoder.width + 1).uniform_(-0.01, 0.01)) if start == "learned" else None
        )
        # with first order, the query loss reaches this scale only through the step sizes
        self.log_inner_scale = nn.Parameter(torch.zeros(())) if centred else None
        self.shots_power = nn.Parameter(torch.tensor(0.5)) if centred else None

    def steps_for(self, shots: float) -> int:
        """Inner steps for a task with this many texts per class."""
        return self.inner_steps

    def inner_scale(self, shots: float) -> Float[Tensor, ""]:
        """Sharpness of the support loss."""
        if self.log_inner_scale is None or self.shots_power is None:
            return self.log_scale.exp()
        return (self.log_inner_scale + self.shots_power * math.log(max(shots, 1.0))).exp()

    def adapt(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None = None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> TaskState:
        return self._trajectory(support, labels, n_way, names, weights)[-1]

    def logits(self, task: TaskState, query: Texts) -> Float[Tensor, "Q N"]:
        return head_logits(task["head"], self._features(task, query), self.log_scale.exp())

    def _features(self, weights: Weights, texts: Texts) -> Tensor:
        fast = {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
        if not fast:
            return self.features(texts)
        features: Tensor = functional_call(self.encoder, fast, (texts,))
        return features

    def _projected(self, texts: Texts) -> Texts:
        """The part of the encoder that no inner step changes, computed once."""
        if self.adapts == "recurrent" and isinstance(texts, TokenStates):
            return self.encoder.project(texts)
        return texts

    def _trajectory(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> list[TaskState]:
        """The task after 0, 1, ..., steps updates."""
        begun = self.begin(support, labels, n_way, names, weights)
        if self.checkpoint_steps and torch.is_grad_enabled():
            steps = checkpointed_loop(
                begun.inside, begun.make_loss, begun.data, self.rule, begun.shape, self.first_order
            )
        else:
            steps = inner_loop(begun.inside, begun.make_loss(begun.data), self.rule, begun.shape, self.first_order)
        return [begun.start, *(self.outside(step, begun) for step in steps[1:])]

    def begin(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> Begun:
        """Everything that the steps need. Raises ConfigError for names where the head does not start at the prototypes."""
        if self.head_row is not None and names is not None:
            raise ConfigError(
                "class names need a head that starts at the prototypes; set learner.prototype_start = true or label_names = false"
            )
        support, names = self._projected(support), None if names is None else self._projected(names)
        features_SD = self.features(support)
        names_ND = None if names is None else self.features(names)
        prototypes_ND = self.prototypes(features_SD, labels, n_way, names_ND, weights)
        excess_N = self.length_excess(features_SD, labels, n_way, weights, named=names is not None)
        if self.head_row is None:
            head_ND1 = prototype_head(prototypes_ND, excess_N)
        else:
            head_ND1, excess_N = self.head_row.expand(n_way, -1), torch.zeros_like(excess_N)
        start = {"head": head_ND1, **adapted_weights(self.encoder, self.adapts)}

        shots, centre_D = shots_of(labels, n_way, weights), prototypes_ND.mean(0)
        texts = [(features_SD, names_ND), (support, names)][self.adapts != "head"]  # the features are fixed, or move
        data = self._support_data(*texts, labels, n_way, weights)
        data |= {"centre": centre_D, "scale": self.inner_scale(shots), "excess": excess_N}
        shape = TaskShape(n_way, shots, self.steps_for(shots), data["scale"])
        inside = {**start, "head": to_centred(head_ND1, centre_D)} if self.centred else start

        def make_loss(data: dict[str, Any]) -> Callable[[Weights], Tensor]:
            return lambda fast: self._support_loss(fast, data, n_way)

        return Begun(start, inside, make_loss, data, shape)

    def outside(self, step: Weights, begun: Begun) -> TaskState:
        """The task that the weights of a step stand for."""
        return {**step, "head": from_centred(step["head"], begun.data["centre"])} if self.centred else step

    def _support_data(
        self,
        support: Texts,
        names: Texts | None,
        labels: Int[Tensor, " S"],
        n_way: int,
        weights: Float[Tensor, " S"] | None,
    ) -> dict[str, Any]:
        """The texts of the support loss with labels and weights; a name is one more text of its class."""
        weights_S = (
            torch.ones_like(labels, dtype=self.log_scale.dtype) if weights is None else weights.to(self.log_scale)
        )
        if names is not None:
            weights_S = torch.cat([weights_S, self.log_name_weight.exp().expand(n_way)])
            labels = torch.cat([labels, torch.arange(n_way, device=labels.device)])
        texts = [support] if names is None else [support, names]
        return {"texts": texts, "labels": labels, "weights": weights_S}

    def _support_loss(self, fast: Weights, data: dict[str, Any], n_way: int) -> Float[Tensor, ""]:
        features = torch.cat([self._features(fast, part) for part in data["texts"]])
        head = from_centred(fast["head"], data["centre"]) if self.centred else fast["head"]
        logits = head_logits(head, features, data["scale"])
        logits = lowered(logits, data["labels"], data["excess"], data["scale"])
        return balanced_cross_entropy(logits, data["labels"], n_way, data["weights"])

    def multi_step_loss(self, episode: EmbeddedEpisode) -> Float[Tensor, ""]:
        """Query loss after every step, the step-t term weighted by t + 1 (Antoniou et al., ICLR 2019, sec. 4)."""
        trajectory = self._trajectory(episode.support, episode.support_labels, episode.n_way, episode.names)
        query = self._projected(episode.query)
        shared = self.features(query) if self.adapts == "head" else None
        total, weights = torch.zeros_like(self.log_scale), 0
        for t, task in enumerate(trajectory):
            features = self._features(task, query) if shared is None else shared
            scores_QN = head_logits(task["head"], features, torch.ones_like(self.log_scale))
            total, weights = total + (t + 1) * self.query_loss(scores_QN, episode.query_labels), weights + t + 1
        return total / weights

    def query_loss(self, scores: Float[Tensor, "Q N"], labels: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
        """What the outer loop minimises after a step; `scores` are logits before the scale."""
        return F.cross_entropy(self.log_scale.exp() * scores, labels)


def adapted_weights(encoder: TextEncoder, adapts: Adapts) -> Weights:
    """The encoder's weights that inner steps move, under their names in a task."""
    if adapts == "head":
        return {}
    weights = dict(encoder.named_parameters())
    moving = encoder.recurrent_names() if adapts == "recurrent" else weights
    return {f"encoder.{name}": weights[name] for name in moving}


def to_centred(head: Float[Tensor, "N D1"], centre: Float[Tensor, " D"]) -> Float[Tensor, "N D1"]:
    """The head for features minus their centre, with its last column in units of BIAS_FEATURE."""
    weight_ND, bias_N = head[:, :-1], head[:, -1]
    return torch.cat([weight_ND, ((bias_N + weight_ND @ centre) / BIAS_FEATURE)[:, None]], dim=-1)


def from_centred(head: Float[Tensor, "N D1"], centre: Float[Tensor, " D"]) -> Float[Tensor, "N D1"]:
    """The inverse of `to_centred`."""
    weight_ND, bias_N = head[:, :-1], head[:, -1]
    return torch.cat([weight_ND, (BIAS_FEATURE * bias_N - weight_ND @ centre)[:, None]], dim=-1)
