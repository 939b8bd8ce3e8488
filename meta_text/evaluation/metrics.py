"""Episode metrics as local `evaluate.Metric` classes (no download at run time), and the reports built on them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from meta_text.corpus.episode import Episode, batches
from meta_text.model.calibration import Calibration
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel

INTS = datasets.Sequence(datasets.Value("int64"))
FLOATS = datasets.Sequence(datasets.Sequence(datasets.Value("float64")))


class _EpisodeMetric(evaluate.Metric):  # type: ignore[misc]
    """One row an episode. Subclasses set `columns` and `description`."""

    description = ""
    columns: ClassVar[dict[str, Any]] = {"predictions": INTS, "references": INTS}

    def __init__(self, **options: Any) -> None:
        super().__init__(keep_in_memory=True, **options)

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(self.columns)
        return evaluate.MetricInfo(description=self.description, citation="", inputs_description="", features=features)


class EpisodeAccuracy(_EpisodeMetric):
    """Fraction of right answers: mean over episodes, 95 % interval, and the value of each episode."""

    description = "Accuracy over episodes."

    def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
        values = [accuracy_score(r, p) for p, r in zip(predictions, references, strict=True)]
        return {"accuracy": mean_interval(values), "per_episode": values}


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
            "f1_macro": mean_interval(f1),
            "precision_macro": mean_interval(precision),
            "recall_macro": mean_interval(recall),
            "per_episode": f1,
        }


class ExpectedCalibrationError(_EpisodeMetric):
    """Weighted gap between confidence and accuracy over 15 equal bins, all queries pooled (Guo et al., ICML 2017, eq. 3)."""

    description = "Expected calibration error over pooled queries."
    columns: ClassVar[dict[str, Any]] = {"predictions": FLOATS, "references": INTS}

    def _compute(self, predictions: Any, references: Any, bins: int = 15) -> dict[str, float]:
        best = [(int(np.argmax(row)), max(row)) for episode in predictions for row in episode]
        labels = np.array([label for episode in references for label in episode])
        right = np.array([label for label, _ in best]) == labels
        confidence = np.array([value for _, value in best])
        bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        gaps = [abs((right[bin_of == b] - confidence[bin_of == b]).sum()) for b in range(bins)]
        return {"ece": float(sum(gaps) / len(labels))}


def mean_interval(values: Sequence[float]) -> dict[str, float]:
    """Mean and half-width of the normal 95 % interval over episodes (0 for a single one)."""
    array = np.asarray(values, dtype=float)
    width = 1.96 * array.std(ddof=1) / len(array) ** 0.5 if len(array) > 1 else 0.0
    return {"mean": float(array.mean()), "ci95": float(width)}


@dataclass(frozen=True)
class Answers:
    """Class probabilities and true labels, one entry an episode, and the seconds it took to adapt and predict."""

    probabilities: list[np.ndarray]  # [Q N] each
    labels: list[np.ndarray]  # [Q] each
    seconds: float


Predictor = Callable[[EmbeddedCorpus, Sequence[Episode]], list[np.ndarray]]


def answer_with(model: MetaModel, *, label_names: bool) -> Predictor:
    """A model, as it stands now, as a function from equal-shaped episodes to probabilities, calibrated if the model is."""
    seen: list[tuple[EmbeddedCorpus, EmbeddedCorpus]] = []  # the newest corpus, and what is known of it

    def predict(embedded: EmbeddedCorpus, episodes: Sequence[Episode]) -> list[np.ndarray]:
        if not seen or seen[0][0] is not embedded:
            seen[:] = [(embedded, model.standing_still(embedded))]
        first, calibration = episodes[0], Calibration.of(model.calibration, label_names)
        temperature = calibration.temperature_at(first.n_way, len(first.support) / first.n_way)
        return list(model.predict(seen[0][1].batch(episodes, label_names=label_names), temperature).cpu().numpy())

    return predict


@torch.no_grad()
def run_episodes(
    predict: Predictor,
    embedded: EmbeddedCorpus,
    episodes: Sequence[Episode],
    *,
    batch_size: int = 20,
    progress: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Adapt to and answer each episode, in order."""
    probabilities: list[np.ndarray] = []
    started = time.perf_counter()
    for batch in batches(episodes, batch_size):
        probabilities += predict(embedded, batch)
        progress(len(probabilities))
    seconds = time.perf_counter() - started
    return Answers(probabilities, [np.array(e.query_labels) for e in episodes], seconds)


def score(answers: Answers) -> dict[str, Any]:
    """Accuracy, macro-F1, precision, recall with intervals; calibration error; AUROC where there are two classes."""
    predictions = [p.argmax(-1).tolist() for p in answers.probabilities]
    references = [labels.tolist() for labels in answers.labels]
    accuracy = EpisodeAccuracy().compute(predictions=predictions, references=references)
    f1 = EpisodeF1().compute(predictions=predictions, references=references)
    ece = ExpectedCalibrationError().compute(
        predictions=[p.tolist() for p in answers.probabilities], references=references
    )
    result = {
        "accuracy": accuracy["accuracy"],
        "f1_macro": f1["f1_macro"],
        "precision_macro": f1["precision_macro"],
        "recall_macro": f1["recall_macro"],
        "ece": ece["ece"],
        "per_episode": {"accuracy": accuracy["per_episode"], "f1_macro": f1["per_episode"]},
    }
    if all(p.shape[1] == 2 and len(set(r)) == 2 for p, r in zip(answers.probabilities, references, strict=True)):
        aurocs = [roc_auc_score(r, p[:, 1]) for p, r in zip(answers.probabilities, references, strict=True)]
        result["auroc"] = mean_interval(aurocs)
    return result


def paired(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Mean difference first - second on identical episodes, with its own 95 % interval."""
    return mean_interval((np.asarray(first) - np.asarray(second)).tolist())
