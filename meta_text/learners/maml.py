"""Model-agnostic meta-learning (Finn et al., ICML 2017) and its close relatives.

ANIL (Raghu et al., ICLR 2020) adapts the head alone. Proto-MAML (Triantafillou et al., ICLR 2020, sec. 3)
starts the head at the prototypes.
"""

from torch import Tensor, nn

from meta_text.learners.encoder import TextEncoder
from meta_text.learners.gradient import Adapts, GradientLearner
from meta_text.learners.inner_loop import TaskShape, Weights


class GradientDescent(nn.Module):
    """theta_t = theta_{t-1} - inner_lr * g_t, one fixed step size."""

    def __init__(self, inner_lr: float) -> None:
        super().__init__()
        self.inner_lr = inner_lr

    def start(self, weights: Weights, shape: TaskShape) -> None:
        return None

    def step(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: None) -> tuple[Weights, None]:
        return {name: weight - self.inner_lr * grads[name] for name, weight in weights.items()}, None


class Maml(GradientLearner):
    """Learns the start; the update is plain gradient descent on head and encoder, second order unless told."""

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
    ) -> None:
        super().__init__(
            encoder,
            GradientDescent(inner_lr),
            inner_steps=inner_steps,
            adapts=adapts,
            start="prototypes" if prototype_start else "learned",
            first_order=first_order,
            label_names=label_names,
        )


class Anil(Maml):
    """MAML with an encoder that stands still inside a task."""

    def __init__(
        self, encoder: TextEncoder, *, inner_steps: int = 5, inner_lr: float = 0.1, first_order: bool = False
    ) -> None:
        super().__init__(encoder, inner_steps=inner_steps, inner_lr=inner_lr, adapts="head", first_order=first_order)


class ProtoMaml(Maml):
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
    ) -> None:
        super().__init__(
            encoder,
            inner_steps=inner_steps,
            inner_lr=inner_lr,
            adapts=adapts,
            prototype_start=True,
            first_order=first_order,
            label_names=label_names,
        )
