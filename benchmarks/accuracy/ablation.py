"""Measures what each part of meta_lstm is worth: variants trained with one recipe and tested on identical episodes.

    META_TEXT_DATA=DIR python benchmarks/accuracy/ablation.py recipes/banking77.toml --set embedding.train=none --json FILE

For several class splits, run it once per split with --json and pool the files with benchmarks/accuracy/results.py.
The hyper cell and the frozen or trained embedding are settings of the recipe: run it once with each.
"""

import argparse
import json
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from results import table
from torch import Tensor

from meta_text.config import load_recipe
from meta_text.learners import LEARNERS, EmbeddedEpisode, Learner
from meta_text.learners.gradient import GradientLearner
from meta_text.learners.inner_loop import TaskShape, Weights
from meta_text.learners.meta_lstm import GatedRule, GateState, MetaLSTM
from meta_text.learners.meta_lstm_2017 import CoordinateRule
from meta_text.training.comparison import compare


class ZeroSteps(MetaLSTM):
    """Classifies from the start, without inner steps."""

    def steps_for(self, shots: float) -> int:
        return 0


class FirstOrder(MetaLSTM):
    """The outer gradient treats inner gradients as constants."""

    @wraps(MetaLSTM.__init__)  # lets recipes set the same options
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.first_order = True


class PerCoordinate(MetaLSTM):
    """The update rule of 2017, one LSTM per coordinate, from the same start."""

    @wraps(MetaLSTM.__init__)  # lets recipes set the same options
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.rule = CoordinateRule()


class LastStepLoss(MetaLSTM):
    """The rule learns only from the answers after the last step, at the scale of the answers."""

    def multi_step_loss(self, episode: EmbeddedEpisode) -> Tensor:
        return Learner.loss(self, episode)


class OneSharpness(MetaLSTM):
    """The query loss after each step uses the scale of the answers, as in other learners."""

    def query_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return GradientLearner.query_loss(self, scores, labels)


class StartLoss(MetaLSTM):
    """The encoder learns from the answers before any step, and the rule from those after the steps."""

    @wraps(MetaLSTM.__init__)
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **{**options, "encoder_loss": "start"})


class TowardsZero(GatedRule):
    """A gated rule that forgets towards zero instead of towards the start."""

    def start(self, weights: Weights, shape: TaskShape) -> GateState:
        return super().start(weights, shape)._replace(start={n: torch.zeros_like(w) for n, w in weights.items()})


class ForgetTowardsZero(MetaLSTM):
    """`meta_lstm` with that rule."""

    @wraps(MetaLSTM.__init__)  # lets recipes set the same options
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.rule = TowardsZero(float(self.rule.log_lr_head.exp()))


VARIANTS: dict[str, type[Learner]] = {
    "zero_steps": ZeroSteps,
    "first_order": FirstOrder,
    "per_coordinate": PerCoordinate,
    "last_step_loss": LastStepLoss,
    "one_sharpness": OneSharpness,
    "start_loss": StartLoss,
    "forget_towards_zero": ForgetTowardsZero,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    LEARNERS.update(VARIANTS)
    variants = ["meta_lstm", *VARIANTS]
    comparison = compare(load_recipe(arguments.recipe, arguments.sets), variants, references=["meta_lstm"])
    if arguments.json:
        arguments.json.write_text(json.dumps(comparison.as_dict(), indent=1) + "\n", encoding="utf-8")
    rows = tuple(row for row in comparison.rows if row.result.learner in variants)
    print(table([replace(comparison, rows=rows)]))


if __name__ == "__main__":
    main()
