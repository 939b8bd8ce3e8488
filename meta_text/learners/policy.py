"""An update rule trained on macro-F1, the score that users care about, which has no gradient."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from meta_text.learners.encoder import TextEncoder
from meta_text.learners.gradient import GradientLearner
from meta_text.learners.learner import EmbeddedEpisode, membership
from meta_text.learners.meta_lstm import GatedRule

RULE_HIDDEN = 4  # a search without gradients needs few dimensions
DIRECTIONS = 4  # pairs of perturbed rules per estimate
SIGMA = 0.1  # size of a perturbation


class Policy(GradientLearner):
    """The steps of `meta_lstm`, with a rule trained on the query set's macro-F1 by evolution strategies.

    Antithetic pairs of perturbed rules, the same for all tasks of a batch, estimate the slope (Salimans et al.,
    2017, sec. 2.1): the mean of (F(phi + sigma e) - F(phi - sigma e)) / (2 sigma) e. Start and scales learn from
    the cross-entropy after the steps, as in other learners.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        inner_steps: int = 5,
        inner_lr: float = 8.0,
        label_names: bool = False,
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(
            encoder,
            GatedRule(inner_lr, hidden=RULE_HIDDEN),
            inner_steps=inner_steps,
            start="prototypes",
            label_names=label_names,
            checkpoint_steps=checkpoint_steps,
            centred=True,
        )

    def forward(self, episode: EmbeddedEpisode) -> Float[Tensor, "Q N"]:
        """Answers to the queries after adapting; `loss` calls it with perturbed rules."""
        task = self.adapt(episode.support, episode.support_labels, episode.n_way, episode.names)
        return self.logits(task, episode.query)

    def loss(self, episode: EmbeddedEpisode) -> Float[Tensor, ""]:
        """Cross-entropy with the rule as a constant; the rule's gradient is the estimate for macro-F1."""
        rule = {name: p for name, p in self.named_parameters() if name.startswith("rule.") and p.requires_grad}
        fixed = {name: p.detach() for name, p in rule.items()}
        logits: Tensor = functional_call(self, fixed, (episode,))
        slope = {name: torch.zeros_like(p) for name, p in fixed.items()}
        with torch.no_grad():
            for _ in range(DIRECTIONS):
                noise = {name: torch.randn_like(p) for name, p in fixed.items()}
                up, down = (self._score(fixed, noise, sign * SIGMA, episode) for sign in (1, -1))
                pull = (up - down) / (2 * SIGMA * DIRECTIONS)
                slope = {name: slope[name] + pull * noise[name] for name in slope}
        climb = torch.stack([(slope[name] * p).sum() for name, p in rule.items()]).sum()
        return F.cross_entropy(logits, episode.query_labels) - (climb - climb.detach())

    def _score(
        self, rule: dict[str, Tensor], noise: dict[str, Tensor], size: float, episode: EmbeddedEpisode
    ) -> Float[Tensor, ""]:
        moved = {name: p + size * noise[name] for name, p in rule.items()}
        logits: Tensor = functional_call(self, moved, (episode,))
        return macro_f1(logits.argmax(-1), episode.query_labels, episode.n_way)


def macro_f1(answers: Int[Tensor, " Q"], labels: Int[Tensor, " Q"], n_way: int) -> Float[Tensor, ""]:
    """Mean over classes of 2 TP / (2 TP + FP + FN); 0 for a class that is neither present nor answered."""
    answered_QN, true_QN = membership(answers, n_way), membership(labels, n_way)
    total_N = answered_QN.sum(0) + true_QN.sum(0)
    return (2 * (answered_QN * true_QN).sum(0) / total_N.clamp_min(1)).mean()
