"""LSTMs that do not learn to learn: fitted from scratch, or trained jointly and then fine-tuned."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from meta_text.errors import ConfigError, InputError
from meta_text.learners.encoder import TextEncoder
from meta_text.learners.inner_loop import TaskShape, Weights, inner_loop
from meta_text.learners.learner import (
    EmbeddedEpisode,
    Learner,
    TaskState,
    Texts,
    balanced_cross_entropy,
    head_logits,
    shots_of,
)


class Moments(NamedTuple):
    first: Weights
    second: Weights


class Adam(nn.Module):
    """Adam (Kingma & Ba, ICLR 2015, alg. 1) as a rule of the inner loop, with its published constants."""

    def __init__(self, inner_lr: float) -> None:
        super().__init__()
        self.inner_lr = inner_lr

    def start(self, weights: Weights, shape: TaskShape) -> Moments:
        zeros = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        return Moments(zeros, zeros)

    def step(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: Moments) -> tuple[Weights, Moments]:
        first = {name: 0.9 * state.first[name] + 0.1 * grad for name, grad in grads.items()}
        second = {name: 0.999 * state.second[name] + 0.001 * grad.square() for name, grad in grads.items()}
        moved = {}
        for name, weight in weights.items():
            mean, square = first[name] / (1 - 0.9 ** (t + 1)), second[name] / (1 - 0.999 ** (t + 1))
            moved[name] = weight - self.inner_lr * mean / (square.sqrt() + 1e-8)
        return moved, Moments(first, second)


class ScratchLSTM(Learner):
    """A random LSTM over the token states and a linear head, both fitted to the support set. Nothing is meta-learned."""

    needs_tokens = True
    takes_names = False

    def __init__(self, encoder: TextEncoder, *, inner_steps: int = 40, inner_lr: float = 1e-2) -> None:
        super().__init__(encoder)
        self.rule, self.inner_steps = Adam(inner_lr), inner_steps
        self.requires_grad_(False)

    def features(self, texts: Texts) -> Float[Tensor, "B D"]:
        if isinstance(texts, Tensor):
            raise InputError("this learner was given features; it needs token states")
        return self._pooled({}, texts)

    def adapt(
        self,
        support: Texts,
        labels: Int[Tensor, " S"],
        n_way: int,
        names: Texts | None = None,
        weights: Float[Tensor, " S"] | None = None,
    ) -> TaskState:
        if names is not None:
            raise ConfigError("class names need a learner with prototypes; set label_names = false")
        start = {f"encoder.{name}": p.detach() for name, p in self.encoder.named_parameters() if name != "out"}
        width = self.features(support).shape[-1]
        # zero rows: no class has an advantage at the start
        start["head"] = torch.zeros(n_way, width + 1, device=self.log_scale.device, dtype=self.log_scale.dtype)

        weight_S = torch.ones_like(labels, dtype=self.log_scale.dtype) if weights is None else weights

        def support_loss(fast: Weights) -> Tensor:
            return balanced_cross_entropy(self.logits(fast, support), labels, n_way, weight_S)

        shape = TaskShape(n_way, shots_of(labels, n_way, weights), self.inner_steps)
        return inner_loop(start, support_loss, self.rule, shape, first_order=True)[-1]

    def logits(self, task: TaskState, query: Texts) -> Float[Tensor, "Q N"]:
        return head_logits(task["head"], self._pooled(task, query), torch.ones_like(self.log_scale))

    def _pooled(self, weights: Weights, texts: Texts) -> Tensor:
        """Mean LSTM states of each text, without the sentence vector."""
        fast = {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
        pooled: Tensor = functional_call(self.encoder, fast, (texts,), {"residual": False})
        return pooled


class Finetune(ScratchLSTM):
    """The LSTM is trained on all train classes as one large classifier, then fitted to the support set."""

    def __init__(self, encoder: TextEncoder, *, n_classes: int, inner_steps: int = 40, inner_lr: float = 1e-2) -> None:
        super().__init__(encoder, inner_steps=inner_steps, inner_lr=inner_lr)
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(name != "out")
        width = encoder.out.shape[1]
        self.joint_head = nn.Parameter(torch.zeros(n_classes, width + 1))  # one row per class of the corpus

    def loss(self, episode: EmbeddedEpisode) -> Float[Tensor, ""]:
        """Cross-entropy of support and query texts over all classes of the corpus, without an inner loop."""
        if episode.classes is None:
            raise InputError("joint training needs the classes that the labels stand for, EmbeddedEpisode.classes")
        labels = torch.cat([episode.support_labels, episode.query_labels])
        pooled = torch.cat([self.features(episode.support), self.features(episode.query)])
        logits = head_logits(self.joint_head, pooled, torch.ones_like(self.log_scale))
        return F.cross_entropy(logits, episode.classes[labels])
