"""Few-shot sinusoid regression: the update rules in the same inner loop, on a task without text.

    python benchmarks/accuracy/sinusoid.py [--outer-steps 10000] [--k-shot 10]

The setting of Finn et al. (ICML 2017, sec. 5.1): amplitude in [0.1, 5], phase in [0, pi], x in [-5, 5], a network
with two hidden layers of 40 ReLU units, K points per task, and the mean squared error on other points of the same
curve.
"""

import argparse
import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meta_text.learners.inner_loop import TaskShape, UpdateRule, Weights, inner_loop
from meta_text.learners.maml import GradientDescent
from meta_text.learners.meta_lstm import GatedRule
from meta_text.learners.meta_lstm_2017 import CoordinateRule

Curves = tuple[Tensor, Tensor, Tensor, Tensor]  # support x and y, query x and y, each [M K 1]


def draw(tasks: int, k_shot: int, n_query: int, generator: torch.Generator) -> Curves:
    """Draws tasks, each a curve y = a sin(x - p)."""
    amplitude = 0.1 + 4.9 * torch.rand(tasks, 1, 1, generator=generator)
    phase = math.pi * torch.rand(tasks, 1, 1, generator=generator)
    x = 10 * torch.rand(tasks, k_shot + n_query, 1, generator=generator) - 5
    y = amplitude * torch.sin(x - phase)
    return x[:, :k_shot], y[:, :k_shot], x[:, k_shot:], y[:, k_shot:]


def fresh_weights(generator: torch.Generator, widths: tuple[int, ...] = (1, 40, 40, 1)) -> Weights:
    """Draws weights as nn.Linear does. With He's larger scale, five steps of 0.01 diverge on curves of amplitude 5."""
    weights = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        weights[f"w{i}"] = (2 * torch.rand(fan_out, fan_in, generator=generator) - 1) * fan_in**-0.5
        weights[f"b{i}"] = (2 * torch.rand(fan_out, generator=generator) - 1) * fan_in**-0.5
    return weights


def network(weights: Weights, x: Tensor) -> Tensor:
    last = len(weights) // 2 - 1
    for i in range(last + 1):
        x = F.linear(x, weights[f"w{i}"], weights[f"b{i}"])
        x = x.relu() if i < last else x
    return x


class SinusoidLearner(nn.Module):
    """A learned start and an update rule."""

    def __init__(self, rule: nn.Module, steps: int, *, first_order: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.start = nn.ParameterDict({name: nn.Parameter(w) for name, w in fresh_weights(generator).items()})
        self.rule, self.steps, self.first_order = rule, steps, first_order

    def errors(self, curves: Curves, steps: int | None = None) -> Tensor:
        """Mean squared error on each task's queries, [M], after adapting to its support."""
        assert isinstance(self.rule, UpdateRule)
        rule, count = self.rule, self.steps if steps is None else steps

        def one(x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            shape = TaskShape(1, float(len(x)), count)
            adapted = inner_loop(
                dict(self.start.items()), lambda w: F.mse_loss(network(w, x), y), rule, shape, self.first_order
            )[-1]
            return F.mse_loss(network(adapted, query_x), query_y)

        errors: Tensor = torch.vmap(one)(*curves)
        return errors


RULES: dict[str, Callable[[], tuple[nn.Module, int, bool]]] = {
    # rule, inner steps, first order
    "maml, 1 step": lambda: (GradientDescent(0.01), 1, False),
    "maml, 5 steps": lambda: (GradientDescent(0.01), 5, False),
    "meta_lstm_2017, 5 steps": lambda: (CoordinateRule(), 5, True),
    "meta_lstm, 1 step": lambda: (GatedRule(0.01, adapts="encoder"), 1, False),
    "meta_lstm, 5 steps": lambda: (GatedRule(0.01, adapts="encoder"), 5, False),
}


def meta_train(name: str, k_shot: int, outer_steps: int, seed: int = 0) -> SinusoidLearner:
    """Trains with Adam at 1e-3 on 25 tasks per outer step, as the paper's code does."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rule, steps, first_order = RULES[name]()
    generator = torch.Generator().manual_seed(seed)
    learner = SinusoidLearner(rule, steps, first_order=first_order, generator=generator)
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(outer_steps):
        loss = learner.errors(draw(25, k_shot, k_shot, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 10.0)
        optimizer.step()
    return learner


@torch.no_grad()
def test_error(learner: SinusoidLearner, k_shot: int, tasks: int = 1000) -> tuple[float, float]:
    """The mean squared error on new curves with 100 query points each, and the half-width of its 95 % interval."""
    errors = learner.errors(draw(tasks, k_shot, 100, torch.Generator().manual_seed(10_007)))
    return errors.mean().item(), 1.96 * errors.std().item() / tasks**0.5


def main() -> None:
    parser = argparse.ArgumentParser(description="Mean squared errors of the update rules on few-shot sinusoids.")
    parser.add_argument("--outer-steps", type=int, default=10_000)
    parser.add_argument("--k-shot", type=int, nargs="+", default=[10])
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    arguments = parser.parse_args()
    for k_shot in arguments.k_shot:
        for name in arguments.rules:
            mean, width = test_error(meta_train(name, k_shot, arguments.outer_steps), k_shot)
            print(f"{k_shot:2d} points, {name:24s} mean squared error {mean:.3f} ± {width:.3f}", flush=True)


if __name__ == "__main__":
    main()
