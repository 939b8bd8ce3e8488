"""Adaptation by gradient steps: one loop, with the update rule as an argument.

Nothing here is specific to text: any dict of weights with any differentiable loss can be adapted.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Weights = dict[str, Tensor]
Loss = Callable[[Weights], Tensor]


class TaskShape(NamedTuple):
    """What a rule may know about the task besides gradients."""

    n_way: int
    shots: float  # texts per class, the mean if uneven
    steps: int
    scale: Tensor | float = 1.0  # sharpness of the support loss's logits; its curvature grows with the square


class Gates(NamedTuple):
    """How a rule moves one tensor in one step, for each of its rows or coordinates; None: the rule has no such gate."""

    step_size: Tensor
    forget: Tensor | None = None
    momentum: Tensor | None = None


@runtime_checkable
class UpdateRule(Protocol):
    """Maps (weights, gradients, loss) to the next weights, and carries its own state."""

    def start(self, weights: Weights, shape: TaskShape) -> Any: ...

    def step(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: Any) -> tuple[Weights, Any]: ...


@runtime_checkable
class GatedSteps(UpdateRule, Protocol):
    """An update rule that can say how it moves each tensor."""

    def gates(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: Any) -> dict[str, Gates]: ...


def inner_loop(
    weights: Weights, support_loss: Loss, rule: UpdateRule, shape: TaskShape, first_order: bool
) -> list[Weights]:
    """The weights after 0, 1, ..., steps updates.

    `torch.func.grad` takes the gradient whatever the caller's gradient mode, so adaptation works under
    `no_grad`. With first_order=True the outer gradient treats gradients as constants.
    """
    trajectory = [weights]
    state = rule.start(weights, shape)
    for t in range(shape.steps):
        weights, state = one_step(t, weights, support_loss, rule, state, first_order)
        trajectory.append(weights)
    return trajectory


def one_step(
    t: int, weights: Weights, support_loss: Loss, rule: UpdateRule, state: Any, first_order: bool
) -> tuple[Weights, Any]:
    grads, loss = torch.func.grad_and_value(support_loss)(weights)
    if first_order:
        grads, loss = {name: grad.detach() for name, grad in grads.items()}, loss.detach()
    return rule.step(t, weights, grads, loss, state)
