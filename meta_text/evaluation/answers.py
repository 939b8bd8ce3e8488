"""Answers of a model, or of anything else, to episodes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from meta_text.corpus.episode import Episode, batches
from meta_text.evaluation.metrics import EpisodeAccuracy, EpisodeF1, ExpectedCalibrationError, mean_interval
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel


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
        first, calibration = episodes[0], model.calibration.of(label_names)
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
