"""The inner loop without its graph: the outer backward pass recomputes each step, so memory does not grow with steps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_unflatten

from meta_text.learners.inner_loop import Loss, TaskShape, Weights, one_step


def checkpointed_loop(
    weights: Weights,
    make_loss: Callable[[Any], Loss],
    data: Any,
    rule: Any,
    shape: TaskShape,
    first_order: bool,
) -> list[Weights]:
    """`inner_loop` without the graph of its steps: the outer backward pass recomputes each step, one at a time.

    The rule is a module, and make_loss(data) is the support loss. Whatever either depends on that has a gradient or
    differs between tasks must be in `data`, in the weights or among the rule's parameters. (torch.utils.checkpoint
    cannot be used here: torch.func refuses its hooks.)
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
    """`one_step` as a module, so that the rule's parameters can be arguments."""

    def __init__(self, rule: Any) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, t: int, weights: Weights, support_loss: Loss, state: Any, first_order: bool) -> Any:
        return one_step(t, weights, support_loss, self.rule, state, first_order)


def _checkpoint(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), recomputed in the backward pass; arguments and result are trees of tensors.

    Arguments that are returned unchanged bypass the recomputation: vmap would count the gradient of a result that all
    tasks share once per task.
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
    """Saves nothing but its inputs."""

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
            results: tuple[Tensor, ...] = ctx.function(*filled)
            return results

        pull = torch.func.vjp(of_smooth, *(tensors[i] for i in smooth))[1]
        pulled = dict(zip(smooth, pull(grads), strict=True))
        return (None, *(pulled.get(i) for i in range(len(tensors))))
