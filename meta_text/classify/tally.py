"""What answers were, in numbers that add up: so a file of any length is summed up chunk by chunk."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Tally:
    """Counts and sums over answered texts.

    refused: like no class, of all answered; None where the model has no thresholds. of_class: texts of each class, in column
    order, without the refused ones. sure, squares: sums of the best class's probability and of its square.
    """

    of_class: tuple[int, ...]
    rows: int = 0
    blank: int = 0  # rows without a text, which are not among `rows`
    refused: int | None = 0
    sure: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(
        cls, probabilities: Float[np.ndarray, "Q N"], known: Bool[np.ndarray, " Q"] | None, blank: int = 0
    ) -> "Tally":
        """Of answers, each with its probabilities and whether the text is like a class."""
        sure, best = probabilities.max(1), probabilities.argmax(1)
        counted = best if known is None else best[known]
        return cls(
            tuple(np.bincount(counted, minlength=probabilities.shape[1]).tolist()),
            len(best),
            blank,
            refused=None if known is None else int((~known).sum()),
            sure=float(sure.sum()),
            squares=float((sure**2).sum()),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            tuple(one + more for one, more in zip(self.of_class, other.of_class, strict=True)),
            self.rows + other.rows,
            self.blank + other.blank,
            None if self.refused is None or other.refused is None else self.refused + other.refused,
            self.sure + other.sure,
            self.squares + other.squares,
        )

    @property
    def mean(self) -> float:
        """How sure the answers are on average; NaN without any."""
        return self.sure / self.rows if self.rows else float("nan")

    @property
    def deviation(self) -> float:
        """The standard deviation of that, as of a sample; NaN for fewer than two answers."""
        if self.rows < 2:
            return float("nan")
        return float(max(0.0, (self.squares - self.sure * self.mean) / (self.rows - 1)) ** 0.5)

    @property
    def shares(self) -> Float[np.ndarray, " N"]:
        """Of each class among the texts that are like one; all alike where there is none."""
        counts = np.array(self.of_class, dtype=float)
        return counts / counts.sum() if counts.any() else np.full(len(counts), 1 / len(counts))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Tally":
        return cls(**{**values, "of_class": tuple(values["of_class"])})


def total(tallies: Sequence[Tally], n_way: int) -> Tally:
    """The sum, of nothing too."""
    return sum(tallies[1:], start=tallies[0]) if tallies else Tally((0,) * n_way)
