"""The answers of a model or a baseline to episodes, and their scores."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from meta_text.corpus.episode import Episode, batches
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.evaluation.metrics import EpisodeAccuracy, EpisodeF1, ExpectedCalibrationError, mean_interval
from meta_text.model.adaptation import Adaptation
from meta_text.model.calibration import Calibration
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel
from meta_text.model.results import Interval


@dataclass(frozen=True)
class Answers:
    """Class probabilities and true labels of each episode, and the seconds that adapting and predicting took."""

    probabilities: list[np.ndarray]  # [Q N] each
    labels: list[np.ndarray]  # [Q] each
    seconds: float


@dataclass(frozen=True)
class Scores:
    """Means over episodes with intervals, and what each episode scored, for paired differences."""

    accuracy: Interval
    f1_macro: Interval
    precision_macro: Interval
    recall_macro: Interval
    ece: float
    auroc: Interval | None  # only with two classes
    episode_accuracies: list[float]
    episode_f1s: list[float]


Predictor = Callable[[EmbeddedCorpus, Sequence[Episode]], list[np.ndarray]]


def answer_with(model: MetaModel, *, label_names: bool) -> Predictor:
    """A model with its present weights as a function from equal-shaped episodes to calibrated probabilities."""
    newest: list[tuple[EmbeddedCorpus, EmbeddedCorpus]] = []  # the corpus of the last call, and the same as features

    def predict(embedded: EmbeddedCorpus, episodes: Sequence[Episode]) -> list[np.ndarray]:
        calibration = model.calibration.of(label_names)
        if isinstance(model.embedding, EncoderBlocks):
            return [_as_classified(model, calibration, embedded, episode, label_names) for episode in episodes]
        if not newest or newest[0][0] is not embedded:
            newest[:] = [(embedded, model.standing_still(embedded))]
        first = episodes[0]
        batch = newest[0][1].batch(episodes, label_names=label_names)
        temperature = calibration.temperature_at(first.n_way, len(first.support) / first.n_way)
        return list(model.predict(batch, temperature).cpu().numpy())

    return predict


def _as_classified(
    model: MetaModel, calibration: Calibration, embedded: EmbeddedCorpus, episode: Episode, label_names: bool
) -> np.ndarray:
    """Probabilities [Q N] as a classifier gives them that was fitted on the support: each task has a space of its own."""
    support = {name: tuple[str, ...]() for name in episode.class_names}
    for row, label in zip(episode.support, episode.support_labels, strict=True):
        support[episode.class_names[label]] += (embedded.corpus.texts[row],)
    rows = [*episode.support, *(embedded.name_rows(episode) if label_names else ())]
    texts = [embedded.text_of(row) for row in rows]
    features = dict(zip(texts, embedded.vectors(rows), strict=True))
    names = texts[len(episode.support) :] if label_names else None
    adapted = Adaptation.of_represented(model, calibration, support, names, features)
    return adapted.probabilities(adapted.score(list(embedded.vectors(episode.query))))


@torch.no_grad()
def run_episodes(
    predict: Predictor,
    embedded: EmbeddedCorpus,
    episodes: Sequence[Episode],
    *,
    batch_size: int = 20,
    on_answered: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Adapt to each episode and answer it, in order."""
    probabilities: list[np.ndarray] = []
    started = time.perf_counter()
    for batch in batches(episodes, batch_size):
        probabilities += predict(embedded, batch)
        on_answered(len(probabilities))
    seconds = time.perf_counter() - started
    return Answers(probabilities, [np.array(e.query_labels) for e in episodes], seconds)


def score(answers: Answers) -> Scores:
    """Accuracy, macro-F1, precision, recall and calibration error; AUROC if every episode has two classes."""
    predictions = [p.argmax(-1).tolist() for p in answers.probabilities]
    references = [labels.tolist() for labels in answers.labels]
    accuracy = EpisodeAccuracy().compute(predictions=predictions, references=references)
    f1 = EpisodeF1().compute(predictions=predictions, references=references)
    ece = ExpectedCalibrationError().compute(
        predictions=[p.tolist() for p in answers.probabilities], references=references
    )
    return Scores(
        accuracy=Interval(**accuracy["accuracy"]),
        f1_macro=Interval(**f1["f1_macro"]),
        precision_macro=Interval(**f1["precision_macro"]),
        recall_macro=Interval(**f1["recall_macro"]),
        ece=ece["ece"],
        auroc=_auroc(answers.probabilities, references),
        episode_accuracies=accuracy["per_episode"],
        episode_f1s=f1["per_episode"],
    )


def _auroc(probabilities: Sequence[np.ndarray], references: Sequence[list[int]]) -> Interval | None:
    pairs = list(zip(probabilities, references, strict=True))
    if not all(p.shape[1] == 2 and len(set(labels)) == 2 for p, labels in pairs):
        return None
    return mean_interval([roc_auc_score(labels, p[:, 1]) for p, labels in pairs])


def paired(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean difference first - second on identical episodes, with its own 95 % interval."""
    return mean_interval((np.asarray(first) - np.asarray(second)).tolist())
