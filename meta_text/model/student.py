"""Classes taught by a fitted mixture to its cheapest encoder, on texts without labels (Hinton et al., 2015, "Distilling the
Knowledge in a Neural Network").

What the dear encoders know of the classes, their answers to unlabelled texts say. The student is multinomial logistic
regression on these probabilities and on the labelled texts, in the space that its encoder has for the task.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress
from meta_text.errors import ConfigError, InputError
from meta_text.learners.converged import converged_head
from meta_text.learners.learner import TaskState
from meta_text.model.adaptation import Adaptation
from meta_text.model.calibration import PRIOR_TEXTS, RATES
from meta_text.model.cascade import answers_of
from meta_text.model.cheap_encoders import cheap_model
from meta_text.model.familiar import familiar_range
from meta_text.model.finish import can_finish
from meta_text.model.held_out import FACTORS
from meta_text.model.lesson import Lesson
from meta_text.model.model import MetaModel
from meta_text.model.task import Given, Placed, learn_task, pack
from meta_text.model.unlabelled import pool_of
from meta_text.model.without_itself import own_corrections
from meta_text.wording import counted, listed

LEAST_TEXTS = 100  # unlabelled ones, a quarter of which is not taught
MOST_APART = 400
TIMED = 100  # texts
AT_ONCE = 256  # texts that are read before progress is told


@own_settings()
@torch.no_grad()
def taught(teacher: Adaptation, texts: Sequence[str], progress: Progress | None = None) -> Adaptation:
    """The student of these classes; progress(texts that the teacher has read, total).

    A quarter of the texts, at most MOST_APART, is not learned from: their answers by the teacher give the student its
    temperature and its thresholds, and say how often both agree (`lesson`).

    Raises ConfigError for classes that no cheaper encoder could learn, InputError for fewer than LEAST_TEXTS texts.
    """
    model, columns = _cheapest(teacher)
    pool = pool_of(texts, teacher.distinct)
    if len(pool) < LEAST_TEXTS:
        raise InputError(
            f"{counted(len(pool), 'unlabelled text')}, copies and labelled ones left out; a student needs {LEAST_TEXTS} such as "
            "will be asked: give more"
        )
    n_apart = min(MOST_APART, len(pool) // 4)
    plain, resting = teacher.expecting(None), teacher.resting
    lessons = _Answers.of(plain, pool[n_apart:], model, columns, _offset(progress, 0, len(pool)))
    apart = _Answers.of(plain, pool[:n_apart], model, columns, _offset(progress, len(pool) - n_apart, len(pool)))
    features = {text: feature[columns] for text, feature in resting.features.items()}
    given = Given(model, teacher.calibration, teacher.distinct, teacher.names, features, teacher.weights)
    task = learn_task(given)
    student = Adaptation(
        model,
        teacher.calibration,
        teacher.support,
        teacher.names,
        task,
        given.shots,
        features,
        cut=teacher.cut,
        weights=teacher.weights,
    )
    if teacher.calibration.thresholds:
        corrections = _corrections(student, given, teacher, apart)
        task["familiar"] = familiar_range(student.calibration, student.n_way, student.shots, corrections)
        student = replace(student, corrections=corrections)
    scale = float(model.learner.log_scale.detach().exp())
    task["head"] = student.taught_temperature / scale * _head(task, given, lessons)
    task["sharpness"] = torch.tensor(_factor(student, apart), dtype=torch.float32)
    alike = student.probabilities(student.score(apart.parts)).argmax(1) == apart.probabilities.argmax(1)
    lesson = Lesson(
        teacher=tuple(_blocks(teacher).names),
        learned=len(lessons.parts),
        apart=n_apart,
        alike=int(alike.sum()),
        time=_share_of_time(student, plain, pool[: min(TIMED, n_apart)]),
    )
    return replace(student, lesson=lesson).expecting(teacher.prior)


@dataclass(frozen=True)
class _Answers:
    """Texts as the student reads them, and what the teacher says of them."""

    texts: Sequence[str]
    parts: list[Tensor]
    probabilities: Float[np.ndarray, "P N"]

    @classmethod
    def of(
        cls, teacher: Adaptation, texts: Sequence[str], model: MetaModel, columns: Tensor, progress: Progress
    ) -> "_Answers":
        """The dear encoders read only what they would read if it was asked."""
        parts: list[Tensor] = []
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            read, probabilities = answers_of(teacher, some, whole=False)
            # of a teacher whose encoder was moved, perhaps the very one that the student reads with
            own = [part[columns] for part in read.parts] if teacher.still is None else model.represent(some).parts
            parts, rows = [*parts, *own], [*rows, probabilities]
            progress(len(parts), len(texts))
        return cls(texts, parts, np.concatenate(rows))


def _offset(progress: Progress | None, before: int, total: int) -> Progress:
    return lambda done, _: None if progress is None else progress(before + done, total)


def _blocks(teacher: Adaptation) -> EncoderBlocks:
    """Raises ConfigError for a model that is no linear head over encoders."""
    blocks = teacher.resting.model.embedding
    if not isinstance(blocks, EncoderBlocks) or not can_finish(teacher.model, teacher.task):
        raise ConfigError(
            f"a student learns the answers of several encoders under a linear head, and '{blocks.model}' with this learner is "
            "none; fit FewShotClassifier(embedding='auto') and distill that"
        )
    return blocks


def _cheapest(teacher: Adaptation) -> tuple[MetaModel, Tensor]:
    """The model over the cheapest encoder that reads and those that count n-grams, and where their vectors stand.

    Raises ConfigError if the teacher reads with no other, or if nobody knows what its encoders cost.
    """
    blocks, weights = _blocks(teacher), teacher.task["weights"].tolist()
    costs = {place: one.cost for place, one in enumerate(blocks.encoders) if not one.is_counts}
    unknown = [blocks.encoders[place].name for place, cost in costs.items() if cost is None]
    if unknown:
        raise ConfigError(
            f"'{unknown[0]}' is a function or takes ready vectors, so what it costs to read with is not known; fit the teacher "
            "with encoders that are named, such as embedding='auto'"
        )
    cheapest = min(costs, key=lambda place: costs[place] or 0, default=None)
    if cheapest is None or not any(weights[place] > 0 for place in costs if place != cheapest):
        used = listed(name for name, weight in zip(blocks.names, weights, strict=True) if weight > 0)
        raise ConfigError(
            f"this classifier reads with {used}, and no student could be cheaper; use it as it is, or distill one that "
            "was fitted with embedding='auto'"
        )
    places = [place for place in range(len(blocks.encoders)) if place == cheapest or place not in costs]
    return cheap_model(teacher.resting.model, places)


def _head(task: TaskState, given: Given, lessons: _Answers) -> Float[Tensor, "N D1"]:
    """Logistic regression on the labelled texts, and on the others by what the teacher says."""
    own, learner = Placed.of(given, task), given.model.learner
    names = None if own.names is None else learner.features(own.names)
    others = learner.features(given.model.in_space(task, pack(lessons.parts, given.model.embedding.device)))
    soft = others, torch.from_numpy(lessons.probabilities).to(others)
    features = learner.features(own.texts)
    return converged_head(features, own.labels, given.n_way, names, learner.name_weight, own.weights, soft)


def _corrections(student: Adaptation, given: Given, teacher: Adaptation, apart: _Answers) -> tuple[float, ...]:
    """Of the thresholds: those at which the student refuses as many texts as its teacher does, drawn towards its own."""
    taught_at, shots = student.calibration, student.shots
    own = own_corrections(student.task, given)
    before = np.array([taught_at.threshold_at(student.n_way, shots, rate) for rate in RATES])
    parts = teacher.represent(apart.texts).parts
    refused = [1 - float(teacher.is_known(parts, rate).mean()) for rate in RATES]
    weight = len(apart.texts) / (len(apart.texts) + PRIOR_TEXTS)
    found = weight * (np.quantile(student.likeness(apart.parts), refused) - before) + (1 - weight) * np.array(own)
    return tuple(found.tolist())


def _factor(student: Adaptation, apart: _Answers) -> float:
    """Of the temperature: where the teacher's probabilities are the least surprise, shrunk to 1 as `HeldOut.factor`."""
    targets = torch.from_numpy(apart.probabilities)
    logits = student.score(apart.parts).double() / student.taught_temperature
    likelihoods = [float((targets * (logits / factor).log_softmax(-1)).sum(-1).mean()) for factor in FACTORS]
    weight = len(targets) / (len(targets) + PRIOR_TEXTS)
    return float(FACTORS[int(np.argmax(likelihoods))] ** weight)


def _share_of_time(student: Adaptation, teacher: Adaptation, texts: Sequence[str]) -> float:
    """The student's of the teacher's, the shorter of two times each, in turns."""
    seconds: list[list[float]] = []
    for _ in range(2):
        row = []
        for one in (teacher, student):
            start = time.perf_counter()
            answers_of(one, texts, whole=False)
            row.append(time.perf_counter() - start)
        seconds.append(row)
    of_teacher, of_student = np.array(seconds).min(0)
    return float(of_student / of_teacher)
