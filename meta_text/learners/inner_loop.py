"""Adaptation by gradient steps: one loop, the update rule is an argument.

Nothing here knows of text: any dict of weights with any differentiable loss can be adapted.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_unflatten

Weights = dict[str, Tensor]
Loss = Callable[[Weights], Tensor]


class TaskShape(NamedTuple):
    """What a rule may know of the task beside gradients."""

    n_way: int
    shots: float  # texts a class, the mean where uneven
    steps: int
    scale: Tensor | float = 1.0  # sharpness of the support loss's logits; its curvature goes with the square


@runtime_checkable
class UpdateRule(Protocol):
    """Maps (weights, gradients, loss) to the next weights, carrying a state of its own."""

    def start(self, weights: Weights, shape: TaskShape) -> Any: ...

    def step(self, t: int, weights: Weights, grads: Weights, loss: Tensor, state: Any) -> tuple[Weights, Any]: ...


def inner_loop(
    weights: Weights, support_loss: Loss, rule: UpdateRule, shape: TaskShape, first_order: bool
) -> list[Weights]:
    """The weights after 0, 1, ..., steps updates.

    `torch.func.grad` takes the gradient whatever the caller's gradient mode, so adaptation works under
    `no_grad`. With first_order=True a gradient is a constant for the outer gradient.
    """
    trajectory = [weights]
    state = rule.start(weights, shape)
    for t in range(shape.steps):
        weights, state = _step(t, weights, support_loss, rule, state, first_order)
        trajectory.append(weights)
    return trajectory


def _step(
    t: int, weights: Weights, support_loss: Loss, rule: UpdateRule, state: Any, first_order: bool
) -> tuple[Weights, Any]:
    grads, loss = torch.func.grad_and_value(support_loss)(weights)
    if first_order:
        grads, loss = {name: grad.detach() for name, grad in grads.items()}, loss.detach()
    return rule.step(t, weights, grads, loss, state)


def checkpointed_loop(
    weights: Weights,
    make_loss: Callable[[Any], Loss],
    data: Any,
    rule: Any,
    shape: TaskShape,
    first_order: bool,
) -> list[Weights]:
    """`inner_loop` that keeps no step's graph: the outer backward computes each step again, one at a time.

    The rule is a module. make_loss(data) is the support loss; all that it or the rule depends on and that has a gradient, or differs
    from task to task, must be in data, in the weights or among the rule's parameters. (torch.utils.checkpoint
    cannot be used: its hooks are refused inside torch.func.)
    """
    trajectory = [weights]
    state = rule.start(weights, shape)
    stepper, parameters = _Stepper(rule), dict(rule.named_parameters(prefix="rule"))
    for t in range(shape.steps):

        def once(weights: Weights, state: Any, data: Any, parameters: Weights, t: int = t) -> tuple[Weights, Any]:
            made: tuple[Weights, Any] = functional_call(
                stepper, parameters, (t, weights, make_loss(data), state, first_order)
            )
            return made

        weights, state = _checkpoint(once, weights, state, data, parameters)
        trajectory.append(weights)
    return trajectory


class _Stepper(nn.Module):
    """`_step` as a module, so that the rule's parameters can be arguments."""

    def __init__(self, rule: Any) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, t: int, weights: Weights, support_loss: Loss, state: Any, first_order: bool) -> Any:
        return _step(t, weights, support_loss, self.rule, state, first_order)


def _checkpoint(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), computed again in the backward; arguments and result are trees of tensors.

    Arguments that come back as they are do not go through: vmap counts the gradient of a result that is the same
    for all tasks once a task.
    """
    leaves, tree = tree_flatten(arguments)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    plan: dict[str, Any] = {}

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        filled = list(leaves)
        for i, tensor in zip(places, tensors, strict=True):
            filled[i] = tensor
        results, plan["tree"] = tree_flatten(function(*tree_unflatten(filled, tree)))
        given = {id(tensor): i for i, tensor in zip(places, tensors, strict=True)}
        plan["leaves"] = [
            leaves[given[id(r)]] if id(r) in given else None if isinstance(r, Tensor) else r for r in results
        ]
        plan["made"] = [i for i, r in enumerate(results) if isinstance(r, Tensor) and id(r) not in given]
        return tuple(results[i] for i in plan["made"])

    made = _Recomputed.apply(flat, *(leaves[i] for i in places))
    results = list(plan["leaves"])
    for i, tensor in zip(plan["made"], made, strict=True):
        results[i] = tensor
    return tree_unflatten(results, plan["tree"])


class _Recomputed(torch.autograd.Function):
    """Saves its inputs alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
        return function(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.function = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        smooth = [i for i, tensor in enumerate(tensors) if tensor.is_floating_point()]

        def of_smooth(*given: Tensor) -> tuple[Tensor, ...]:
            filled = list(tensors)
            for i, tensor in zip(smooth, given, strict=True):
                filled[i] = tensor
            found: tuple[Tensor, ...] = ctx.function(*filled)
            return found

        pull = torch.func.vjp(of_smooth, *(tensors[i] for i in smooth))[1]
        pulled = dict(zip(smooth, pull(grads), strict=True))
        return (None, *(pulled.get(i) for i in range(len(tensors))))
