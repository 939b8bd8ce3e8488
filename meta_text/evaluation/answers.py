"""The answers of a model or a baseline to episodes, and their scores."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from meta_text.corpus.episode import Episode, batches
from meta_text.evaluation.metrics import EpisodeAccuracy, EpisodeF1, ExpectedCalibrationError, mean_interval
from meta_text.learners import EmbeddedEpisode
from meta_text.model.calibration import Calibration
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.held_out import dealt, factor_of
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
        if not newest or newest[0][0] is not embedded:
            newest[:] = [(embedded, model.standing_still(embedded))]
        first, calibration = episodes[0], model.calibration.of(label_names)
        batch = newest[0][1].batch(episodes, label_names=label_names)
        temperatures = [calibration.temperature_at(first.n_way, len(first.support) / first.n_way)] * len(episodes)
        if batch.left_out is not None:
            temperatures = _own_temperatures(model, calibration, batch)
        return list(model.predict(batch, temperatures).cpu().numpy())

    return predict


@torch.no_grad()
def _own_temperatures(model: MetaModel, calibration: Calibration, batch: EmbeddedEpisode) -> list[float]:
    """The temperature of each task, as a classifier finds it: by how hard it is, and by its texts held out in turn."""
    assert batch.left_out is not None and isinstance(batch.support, Tensor)
    # support sets are shuffled: in the order of their classes, the same places are those of the same classes everywhere
    support_labels, order = batch.support_labels.sort(stable=True)
    by_class = batch.support.take_along_dim(order[..., None], dim=1)
    hardness, columns = batch.left_out.tolist(), support_labels[0].tolist()
    shots, at = len(columns) / batch.n_way, calibration.temperature_at
    said: list[list[Tensor]] = [[] for _ in hardness]
    labels: list[int] = []
    for held in dealt(columns, range(len(columns)), columns):  # the same places in every task
        rest = sorted({*range(len(columns))} - {*held})
        labels += [columns[place] for place in held]
        part = batch._replace(
            support=by_class[:, rest], support_labels=support_labels[:, rest], query=by_class[:, held]
        )
        for own, logits, task in zip(said, model.logits(part).cpu(), hardness, strict=True):
            own.append(logits / at(batch.n_way, len(rest) / batch.n_way, task))
    factors = [factor_of(torch.cat(own), torch.tensor(labels)) if own else 1.0 for own in said]
    return [at(batch.n_way, shots, task) * factor for task, factor in zip(hardness, factors, strict=True)]


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
