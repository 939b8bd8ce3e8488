"""Reptile (Nichol et al., 2018): move the start towards the weights that each task ends with."""

import torch
from jaxtyping import Float
from torch import Tensor

from meta_text.learners.encoder import TextEncoder
from meta_text.learners.gradient import GradientLearner, adapted_weights
from meta_text.learners.inner_loop import TaskShape, Weights, inner_loop
from meta_text.learners.learner import EmbeddedEpisode, balanced_cross_entropy, head_logits
from meta_text.learners.maml import GradientDescent


class Reptile(GradientLearner):
    """Trained without a query loss: each task is fitted to support and query texts together."""

    def __init__(self, encoder: TextEncoder, *, inner_steps: int = 5, inner_lr: float = 0.1) -> None:
        super().__init__(
            encoder,
            GradientDescent(inner_lr),
            inner_steps=inner_steps,
            adapts="encoder",
            start="learned",
            first_order=True,
        )
        self.log_scale.requires_grad_(False)  # the loss gives it no gradient; the head's length takes its place

    def loss(self, episode: EmbeddedEpisode) -> Float[Tensor, ""]:
        """Half the squared distance from start to a fixed end: its gradient is theta - theta_T (alg. 2)."""
        assert self.head_row is not None  # start = "learned"
        labels = torch.cat([episode.support_labels, episode.query_labels])
        start = {**adapted_weights(self.encoder, "encoder"), "head": self.head_row.expand(episode.n_way, -1)}

        def fit(fast: Weights) -> Tensor:
            features = torch.cat([self._features(fast, texts) for texts in (episode.support, episode.query)])
            logits = head_logits(fast["head"], features, self.log_scale.exp())
            return balanced_cross_entropy(logits, labels, episode.n_way, torch.ones_like(logits[:, 0]))

        shape = TaskShape(episode.n_way, len(labels) / episode.n_way, self.inner_steps)
        end = inner_loop(start, fit, self.rule, shape, first_order=True)[-1]
        ways = [(start[name] - end[name].detach()).square().sum() for name in start]
        return torch.stack(ways).sum() / 2
