"""What was answered to the texts of a test, counted: confusions between classes, and how often each confidence was right."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from meta_text.model.calibration import BINS, bin_of

Counts = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ConfidenceBin:
    """Answers whose probability lies in one of the equal bins: how many, how many right, and their mean probability."""

    texts: int
    right: int
    confidence: float  # 0 without texts


@dataclass(frozen=True)
class AnswerCounts:
    """The answers to the queries of a test's episodes, pooled.

    Rows and columns are classes in alphabetical order. answered[a][b]: texts of class a that were answered b. asked[a][b]:
    texts of class a in whose episode b could be answered; where each episode has all classes, a row has one number.
    """

    class_names: tuple[str, ...]
    answered: Counts
    asked: Counts
    bins: tuple[ConfidenceBin, ...]

    @classmethod
    def of(
        cls,
        class_names: Sequence[Sequence[str]],
        probabilities: Sequence[Float[np.ndarray, "Q N"]],
        labels: Sequence[Int[np.ndarray, " Q"]],
    ) -> "AnswerCounts":
        """class_names, probabilities and labels of each episode; label n and column n stand for class_names[n]."""
        names = sorted({name for episode in class_names for name in episode})
        place = {name: i for i, name in enumerate(names)}
        answered, asked = np.zeros((2, len(names), len(names)), int)
        for episode, p, true in zip(class_names, probabilities, labels, strict=True):
            columns = np.array([place[name] for name in episode])
            np.add.at(answered, (columns[true], columns[p.argmax(1)]), 1)
            np.add.at(asked, (columns[true][:, None], columns[None, :]), 1)
        confidence = np.concatenate([p.max(1) for p in probabilities])
        right = np.concatenate([p.argmax(1) == true for p, true in zip(probabilities, labels, strict=True)])
        bins = bin_of(confidence)
        return cls(
            tuple(names),
            tuple(map(tuple, answered.tolist())),
            tuple(map(tuple, asked.tolist())),
            tuple(_bin(confidence[bins == i], right[bins == i]) for i in range(BINS)),
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _bin(confidence: np.ndarray, right: np.ndarray) -> ConfidenceBin:
    mean = float(confidence.mean()) if len(confidence) else 0.0
    return ConfidenceBin(len(right), int(right.sum()), mean)
