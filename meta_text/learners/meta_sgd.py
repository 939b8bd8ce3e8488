"""Meta-SGD (Li et al., 2017): the start and a step size for every coordinate are learned."""

import torch
from torch import Tensor, nn

from meta_text.learners.encoder import TextEncoder
from meta_text.learners.gradient import Adapts, GradientLearner, adapted_weights
from meta_text.learners.inner_loop import Gates, TaskShape, Weights


class CoordinateSteps(nn.Module):
    """theta_t = theta_{t-1} - alpha * g_t, elementwise (eq. 2). The rows of the head share one alpha, so N is free."""

    def __init__(self, encoder: TextEncoder, inner_lr: float, adapts: Adapts) -> None:
        super().__init__()
        shapes = {"head": torch.Size([encoder.width + 1])}
        shapes |= {name: weight.shape for name, weight in adapted_weights(encoder, adapts).items()}
        self.steps = nn.ParameterDict({_key(name): torch.full(shape, inner_lr) for name, shape in shapes.items()})

    def start(self, weights: Weights, shape: TaskShape) -> None:
        return None

    def step(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: None) -> tuple[Weights, None]:
        return {name: weight - self.steps[_key(name)] * grads[name] for name, weight in weights.items()}, None

    def gates(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: None) -> dict[str, Gates]:
        """The step size of each coordinate; one row for all of the head's."""
        return {name: Gates(self.steps[_key(name)]) for name in weights}


def _key(name: str) -> str:
    return name.replace(".", "_")  # names of parameters must not contain dots


class MetaSgd(GradientLearner):
    """MAML with CoordinateSteps; one inner step by default, as in the paper."""

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        inner_steps: int = 1,
        inner_lr: float = 0.1,
        adapts: Adapts = "encoder",
        prototype_start: bool = False,
        first_order: bool = False,
        label_names: bool = False,
        checkpoint_steps: bool = False,
    ) -> None:
        super().__init__(
            encoder,
            CoordinateSteps(encoder, inner_lr, adapts),
            inner_steps=inner_steps,
            adapts=adapts,
            start="prototypes" if prototype_start else "learned",
            first_order=first_order,
            label_names=label_names,
            checkpoint_steps=checkpoint_steps,
        )
