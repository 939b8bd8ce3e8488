"""Learners that adapt by gradient steps: a start, an update rule, and the one inner loop."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from meta_text.embedding.token_states import TokenStates
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
)

# beside the head nothing, every encoder weight, or those behind the input projections, which are then done once
Adapts = Literal["head", "encoder", "recurrent"]


class GradientLearner(Learner):
    """Start the head (at the prototypes, or at one learned row shared by all classes), then take `inner_steps`.

    A learned start must be the same for every class, or N could not vary and class order would matter.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        rule: UpdateRule,
        *,
        inner_steps: int,
        adapts: Adapts,
        start: Literal["prototypes", "learned"],
        first_order: bool,
        label_names: bool,
    ) -> None:
        super().__init__(encoder, label_names=label_names)
        self.rule, self.inner_steps, self.adapts, self.first_order = rule, inner_steps, adapts, first_order
        self.checkpoint_steps = False  # the trainer sets it: steps are computed again in the outer backward
        self.needs_tokens, self.takes_names = adapts != "head", start == "prototypes"
        self.head_row = (
            nn.Parameter(torch.empty(encoder.width + 1).uniform_(-0.01, 0.01)) if start == "learned" else None
        )

    def steps_for(self, shots: float) -> int:
        """Inner steps for a task with this many texts a class."""
        return self.inner_steps

    def inner_scale(self, shots: float) -> Float[Tensor, ""]:
        """Sharpness of the support loss; that of the answers unless a learner has its own."""
        return self.log_scale.exp()

    def to_inner(self, head: Tensor, centre: Float[Tensor, " D"]) -> Tensor:
        """The head in the coordinates that the inner loop steps in; `centre` is the mean of the prototypes."""
        return head

    def from_inner(self, head: Tensor, centre: Float[Tensor, " D"]) -> Tensor:
        """The inverse of `to_inner`."""
        return head

    def adapt(self, support: Texts, labels: Int[Tensor, " S"], n_way: int, names: Texts | None = None) -> TaskState:
        return self._trajectory(support, labels, n_way, names)[-1]

    def logits(self, task: TaskState, query: Texts) -> Float[Tensor, "Q N"]:
        return head_logits(task["head"], self._features(task, query), self.log_scale.exp())

    def _features(self, weights: Weights, texts: Texts) -> Tensor:
        fast = {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
        if not fast:
            return self.features(texts)
        features: Tensor = functional_call(self.encoder, fast, (texts,))
        return features

    def _projected(self, texts: Texts) -> Texts:
        """The part of the encoder that no inner step changes, done once."""
        if self.adapts == "recurrent" and isinstance(texts, TokenStates):
            return self.encoder.project(texts)
        return texts

    def _trajectory(
        self, support: Texts, labels: Int[Tensor, " S"], n_way: int, names: Texts | None
    ) -> list[TaskState]:
        if self.head_row is not None and names is not None:
            raise ValueError(
                "class names need a head that starts at the prototypes; set learner.prototype_start = true or label_names = false"
            )
        support, names = self._projected(support), None if names is None else self._projected(names)
        features_SD = self.features(support)
        names_ND = None if names is None else self.features(names)
        prototypes_ND = self.prototypes(features_SD, labels, n_way, names_ND)
        centre_D = prototypes_ND.mean(0)
        head_ND1 = prototype_head(prototypes_ND) if self.head_row is None else self.head_row.expand(n_way, -1)
        weights = {"head": head_ND1}
        if self.adapts != "head":
            moving = self.encoder.recurrent_names() if self.adapts == "recurrent" else None
            weights |= {f"encoder.{n}": w for n, w in self.encoder.named_parameters() if moving is None or n in moving}

        shots = labels.shape[0] / n_way
        scale = self.inner_scale(shots)
        # a name is a further text of its class, in the loss as in the prototypes
        weights_S, all_labels = torch.ones_like(labels, dtype=features_SD.dtype), labels
        if names is not None:
            weights_S = torch.cat([weights_S, self.log_name_weight.exp().expand(n_way)])
            all_labels = torch.cat([labels, torch.arange(n_way, device=labels.device)])

        data = {
            "support": support if self.adapts != "head" else features_SD,
            "names": names if self.adapts != "head" else names_ND,
            "labels": all_labels,
            "weights": weights_S,
            "centre": centre_D,
            "scale": scale,
        }

        def make_loss(data: dict[str, Any]) -> Callable[[Weights], Tensor]:
            def support_loss(fast: Weights) -> Tensor:
                texts = [part for part in (data["support"], data["names"]) if part is not None]
                # features stand still unless the encoder moves
                features = torch.cat([self._features(fast, part) for part in texts])
                logits = head_logits(self.from_inner(fast["head"], data["centre"]), features, data["scale"])
                return balanced_cross_entropy(logits, data["labels"], n_way, data["weights"])

            return support_loss

        shape = TaskShape(n_way, shots, self.steps_for(shots), scale)
        inside = {**weights, "head": self.to_inner(head_ND1, centre_D)}
        if self.checkpoint_steps and torch.is_grad_enabled() and isinstance(self.rule, nn.Module):
            steps = checkpointed_loop(inside, make_loss, data, self.rule, shape, self.first_order)[1:]
        else:
            steps = inner_loop(inside, make_loss(data), self.rule, shape, self.first_order)[1:]
        return [weights, *({**step, "head": self.from_inner(step["head"], centre_D)} for step in steps)]

    def multi_step_loss(self, episode: EmbeddedEpisode) -> Float[Tensor, ""]:
        """Query loss after every step, the step-t term weighing t + 1 (Antoniou et al., ICLR 2019, sec. 4)."""
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
        """What the outer loop minimises after a step; `scores` are answers before the scale."""
        return F.cross_entropy(self.log_scale.exp() * scores, labels)
