"""The result of a test on episodes: a value that `evaluation` computes, a model keeps and its card shows."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Interval:
    """A mean over episodes and the half-width of its 95 % interval."""

    mean: float
    ci95: float

    def percent(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.ci95:.1f}"

    def points(self) -> str:
        """A difference of two fractions, in percentage points."""
        return f"{100 * self.mean:+.2f} ± {100 * self.ci95:.2f}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One test of one learner: the shape of its episodes, and scores as fractions."""

    learner: str
    label_names: bool = False  # whether class names were seen
    n_way: int
    k_shot: int
    n_query: int
    episodes: int
    accuracy: Interval
    f1_macro: Interval
    precision_macro: Interval
    recall_macro: Interval
    ece: float
    auroc: Interval | None = None  # only with two classes
    seconds: float
    milliseconds_per_episode: float
    corpus: str | None = None  # if it is not the recipe's own

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without those that do not apply."""
        return {key: value for key, value in asdict(self).items() if value is not None}
