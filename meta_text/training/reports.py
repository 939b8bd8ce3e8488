"""Results of whole runs, with everything needed to repeat them; `as_dict` gives what `--json` writes."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from meta_text.config import Recipe
from meta_text.model.answer_counts import AnswerCounts
from meta_text.model.results import Interval, Result


@dataclass(frozen=True)
class RunContext:
    """What a reader needs to reproduce a number."""

    seed: int  # of the test episodes
    train_seed: int
    corpus: str
    split: int | str
    privileges: list[str]
    recipe: dict[str, Any]
    versions: dict[str, str]
    hardware: str

    @classmethod
    def of(cls, recipe: Recipe) -> "RunContext":
        corpus = recipe.corpus
        return cls(
            seed=recipe.evaluate.seed,
            train_seed=recipe.train.seed,
            corpus=corpus.name or Path(corpus.path or "").name,
            split=Path(corpus.split).name if isinstance(corpus.split, str) else corpus.split,
            privileges=privileges(recipe, recipe.learner.label_names is True),
            recipe=recipe.as_dict(),
            versions={"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
            hardware=f"{torch.get_num_threads()} threads, {'cuda' if torch.cuda.is_available() else 'cpu'}",
        )


def privileges(recipe: Recipe, label_names: bool) -> list[str]:
    """What a number relies on besides the labelled texts of each task and the train classes of the corpus."""
    used = ["label names"] if label_names else []
    if recipe.corpus.also:
        used.append(f"other corpora ({', '.join(Path(name).name for name in recipe.corpus.also)})")
    return used


@dataclass(frozen=True)
class TrainReport:
    """A training run and its tests."""

    results: tuple[Result, ...]
    context: RunContext
    validation_accuracy: float | None  # None after zero steps: nothing was validated
    best_step: int
    train_seconds: float
    total_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The first test's result, what the run was, and all results."""
        return {
            **self.results[0].as_dict(),
            **asdict(self.context),
            "validation_accuracy": self.validation_accuracy,
            "best_step": self.best_step,
            "train_seconds": self.train_seconds,
            "total_seconds": self.total_seconds,
            "results": [result.as_dict() for result in self.results],
        }


def _counted(answers: AnswerCounts | None) -> dict[str, Any]:
    return {} if answers is None else {"answers": answers.as_dict()}


@dataclass(frozen=True)
class EvaluationReport:
    """The test of a saved model on a part of a corpus."""

    result: Result
    context: RunContext
    classes: str
    answers: AnswerCounts | None = None  # None in files of earlier versions

    def as_dict(self) -> dict[str, Any]:
        shown = {**self.result.as_dict(), **asdict(self.context), "classes": self.classes}
        return {**shown, **_counted(self.answers)}


@dataclass(frozen=True)
class ComparisonRow:
    """One learner in one test of a comparison."""

    result: Result
    train_seconds: float
    best_step: int | None  # None if nothing was trained
    privileges: list[str]
    answers: AnswerCounts | None = None  # None in files of earlier versions

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.result.as_dict(),
            "train_seconds": self.train_seconds,
            "best_step": self.best_step,
            "privileges": self.privileges,
            **_counted(self.answers),
        }


@dataclass(frozen=True)
class Difference:
    """How much better one learner is than another on the same episodes."""

    learner: str
    against: str
    k_shot: int
    label_names: bool
    accuracy: Interval
    f1_macro: Interval
    corpus: str | None = None  # if it is not the recipe's own

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without those that do not apply."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy on the validation classes after an outer step."""

    step: int
    validation: float


@dataclass(frozen=True)
class Comparison:
    """Learners on identical episodes, their paired differences and learning curves."""

    rows: tuple[ComparisonRow, ...]
    paired: tuple[Difference, ...]
    curves: dict[str, list[CurvePoint]]
    context: RunContext
    total_seconds: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "results": [row.as_dict() for row in self.rows],
            "paired": [difference.as_dict() for difference in self.paired],
            "curves": {learner: [asdict(point) for point in curve] for learner, curve in self.curves.items()},
            **asdict(self.context),
            "total_seconds": self.total_seconds,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Comparison":
        """The inverse of `as_dict`. Raises pydantic's ValidationError for values that are missing or of the wrong kind."""
        nested = {**values, "context": values, "rows": [{**row, "result": row} for row in values["results"]]}
        return TypeAdapter(cls).validate_python(nested)
