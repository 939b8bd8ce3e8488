"""Metrics over episodes as local `evaluate.Metric` classes, so that nothing is downloaded at run time."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from meta_text.extras import needs
from meta_text.model.calibration import calibration_error
from meta_text.model.results import Interval

with needs("train", "evaluating on episodes"):
    import datasets
    import evaluate

INTS = datasets.Sequence(datasets.Value("int64"))
FLOATS = datasets.Sequence(datasets.Sequence(datasets.Value("float64")))


class _EpisodeMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """One row per episode. Subclasses set `columns` and `description`."""

    description = ""
    columns: ClassVar[dict[str, Any]] = {"predictions": INTS, "references": INTS}

    def __init__(self, **options: Any) -> None:
        super().__init__(keep_in_memory=True, **options)

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(self.columns)
        return evaluate.MetricInfo(description=self.description, citation="", inputs_description="", features=features)


class EpisodeAccuracy(_EpisodeMetric):
    """Share of correct answers: mean over episodes, 95 % interval, and the value of each episode."""

    description = "Accuracy over episodes."

    def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
        values = [accuracy_score(r, p) for p, r in zip(predictions, references, strict=True)]
        return {"accuracy": asdict(mean_interval(values)), "per_episode": values}


class EpisodeF1(_EpisodeMetric):
    """Macro-averaged F1, precision and recall: mean over episodes, 95 % interval, and each episode's F1."""

    description = "Macro-F1, precision and recall over episodes."

    def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
        rows = np.array(
            [
                precision_recall_fscore_support(r, p, average="macro", zero_division=0.0)[:3]
                for p, r in zip(predictions, references, strict=True)
            ]
        )
        precision, recall, f1 = (rows[:, i].tolist() for i in range(3))
        return {
            "f1_macro": asdict(mean_interval(f1)),
            "precision_macro": asdict(mean_interval(precision)),
            "recall_macro": asdict(mean_interval(recall)),
            "per_episode": f1,
        }


class ExpectedCalibrationError(_EpisodeMetric):
    """Weighted gap between confidence and accuracy in 15 equal bins over all queries (Guo et al., ICML 2017, eq. 3)."""

    description = "Expected calibration error over pooled queries."
    columns: ClassVar[dict[str, Any]] = {"predictions": FLOATS, "references": INTS}

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        best = [(int(np.argmax(row)), max(row)) for episode in predictions for row in episode]
        labels = np.array([label for episode in references for label in episode])
        right = np.array([label for label, _ in best]) == labels
        return {"ece": calibration_error(np.array([value for _, value in best]), right)}


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and half-width of the normal 95 % interval over episodes; the half-width is 0 for a single one."""
    array = np.asarray(values, dtype=float)
    width = 1.96 * array.std(ddof=1) / len(array) ** 0.5 if len(array) > 1 else 0.0
    return Interval(float(array.mean()), float(width))
