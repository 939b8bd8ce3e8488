"""Model-agnostic meta-learning (MAML, Finn et al., ICML 2017) and its close relatives.

ANIL (Raghu et al., ICLR 2020) adapts the head alone. Proto-MAML (Triantafillou et al., ICLR 2020, sec. 3)
starts the head at the prototypes.
"""

import torch
from torch import Tensor, nn

from meta_text.learners.encoder import TextEncoder
from meta_text.learners.gradient import Adapts, GradientLearner
from meta_text.learners.inner_loop import Gates, TaskShape, Weights


class GradientDescent(nn.Module):
    """theta_t = theta_{t-1} - inner_lr * g_t, one fixed step size."""

    def __init__(self, inner_lr: float) -> None:
        super().__init__()
        self.inner_lr = inner_lr

    def start(self, weights: Weights, shape: TaskShape) -> None:
        return None

    def step(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: None) -> tuple[Weights, None]:
        return {name: weight - self.inner_lr * grads[name] for name, weight in weights.items()}, None

    def gates(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: None) -> dict[str, Gates]:
        """The one step size."""
        return {name: Gates(torch.full_like(loss, self.inner_lr)) for name in weights}


class Maml(GradientLearner):
    """Learns the start. The update is gradient descent on head and encoder, of second order by default."""

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        inner_steps: int = 5,
        inner_lr: float = 0.1,
        adapts: Adapts = "encoder",
        prototype_start: bool = False,
        first_order: bool = False,
        label_names: bool = False,
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(
            encoder,
            GradientDescent(inner_lr),
            inner_steps=inner_steps,
            adapts=adapts,
            start="prototypes" if prototype_start else "learned",
            first_order=first_order,
            label_names=label_names,
            checkpoint_steps=checkpoint_steps,
        )


class Anil(GradientLearner):
    """MAML that adapts only the head within a task."""

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        inner_steps: int = 5,
        inner_lr: float = 0.1,
        first_order: bool = False,
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(
            encoder,
            GradientDescent(inner_lr),
            inner_steps=inner_steps,
            start="learned",
            first_order=first_order,
            checkpoint_steps=checkpoint_steps,
        )


class ProtoMaml(GradientLearner):
    """MAML whose head starts at the prototypes of the task."""

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        inner_steps: int = 5,
        inner_lr: float = 0.1,
        adapts: Adapts = "encoder",
        first_order: bool = False,
        label_names: bool = False,
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(
            encoder,
            GradientDescent(inner_lr),
            inner_steps=inner_steps,
            adapts=adapts,
            start="prototypes",
            first_order=first_order,
            label_names=label_names,
            checkpoint_steps=checkpoint_steps,
        )
