"""What each part of meta_lstm is worth: variants trained by one recipe, tested on identical episodes.

    META_TEXT_DATA=DIR python benchmarks/accuracy/ablation.py recipes/banking77.toml --set embedding.train=none --json FILE

Several class splits: one run each with --json, then benchmarks/accuracy/results.py. The hyper cell and a frozen or trained
embedding are settings of the recipe: run it once with each.
"""

import argparse
import json
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
from meta_text.training.progress import Watcher


class ZeroSteps(MetaLSTM):
    """The start alone."""

    def steps_for(self, shots: float) -> int:
        return 0


class FirstOrder(MetaLSTM):
    """Inner gradients are constants for the outer one."""

    @wraps(MetaLSTM.__init__)  # so that recipes may set the same options
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.first_order = True


class PerCoordinate(MetaLSTM):
    """The rule of 2017, one LSTM a coordinate, from the same start."""

    @wraps(MetaLSTM.__init__)  # so that recipes may set the same options
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.rule = CoordinateRule()


class LastStepLoss(MetaLSTM):
    """The rule learns from the answers after the last step alone, at the scale of the answers."""

    def multi_step_loss(self, episode: EmbeddedEpisode) -> Tensor:
        return Learner.loss(self, episode)


class OneSharpness(MetaLSTM):
    """The query loss after each step at the scale of the answers, as other learners have it."""

    def query_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return GradientLearner.query_loss(self, scores, labels)


class StartLoss(MetaLSTM):
    """The encoder learns from the answers before any step, the rule from those after."""

    @wraps(MetaLSTM.__init__)
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **{**options, "encoder_loss": "start"})


class TowardsZero(GatedRule):
    """Forgets towards zero instead of towards the start."""

    def start(self, weights: Weights, shape: TaskShape) -> GateState:
        return super().start(weights, shape)._replace(start={n: torch.zeros_like(w) for n, w in weights.items()})


class ForgetTowardsZero(MetaLSTM):
    @wraps(MetaLSTM.__init__)  # so that recipes may set the same options
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
    wanted = parser.parse_args()
    LEARNERS.update(VARIANTS)
    variants = ["meta_lstm", *VARIANTS]
    result = compare(load_recipe(wanted.recipe, wanted.sets), variants, Watcher(), references=["meta_lstm"])
    if wanted.json:
        wanted.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    result["results"] = [row for row in result["results"] if row["learner"] in variants]
    print(table([result]))


if __name__ == "__main__":
    main()
