"""A task drawn from a corpus, and what a model's learner does on it."""

from dataclasses import dataclass

import numpy as np
import torch

from meta_text.config import EpisodeShape
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import EpisodeSampler
from meta_text.learners.gradient import GradientLearner
from meta_text.learners.learner import EmbeddedEpisode
from meta_text.learners.trace import Trace, centres, places, trace
from meta_text.model.adaptation import Adaptation
from meta_text.model.mixture import SPACE
from meta_text.model.model import MetaModel
from meta_text.model.task import Placed, pack


@dataclass(frozen=True)
class Scene:
    """Where texts and classes lie at one moment, and which queries are answered rightly then."""

    support: np.ndarray  # [S D]
    query: np.ndarray  # [Q D]
    centres: np.ndarray  # [N D]
    is_right: np.ndarray  # [Q]


@dataclass(frozen=True)
class TracedTask:
    """A task, its texts in the space that the model chose for it, and the learner's steps."""

    title: str
    class_names: tuple[str, ...]
    learner: GradientLearner
    episode: EmbeddedEpisode
    trace: Trace

    def scene(self, step: int) -> Scene:
        """After so many steps; -1: after all."""
        task, episode = self.trace.tasks[step], self.episode
        is_right = self.learner.logits(task, episode.query).argmax(-1) == episode.query_labels
        found = (
            places(self.learner, task, episode.support),
            places(self.learner, task, episode.query),
            centres(self.learner, task, episode),
            is_right,
        )
        return Scene(*(part.detach().cpu().numpy() for part in found))


@torch.no_grad()
def traced(model: MetaModel, corpus: Corpus, shape: EpisodeShape, seed: int = 0) -> TracedTask:
    """The steps on the first task that `seed` draws from all classes of a corpus.

    Raises CorpusError if there are too few classes or texts, ConfigError for a learner that takes no steps.
    """
    drawn = EpisodeSampler(
        corpus, corpus.class_names, n_way=shape.n_way, k_shot=shape.k_shot, n_query=shape.n_query, seed=seed
    )[0]
    support: dict[str, tuple[str, ...]] = {name: () for name in drawn.class_names}
    for row, label in zip(drawn.support, drawn.support_labels, strict=True):
        support[drawn.class_names[label]] += (corpus.texts[row],)
    adapted = Adaptation.learn(model, model.calibration.of(False), support, None)
    own = Placed.of(adapted.given, {key: value for key, value in adapted.task.items() if key in SPACE})
    asked, _, _ = model.represent([corpus.texts[row] for row in drawn.query])
    device = model.embedding.device
    episode = EmbeddedEpisode(
        own.texts,
        own.labels,
        model.in_space(own.space, pack(asked, device)),
        torch.tensor(drawn.query_labels, device=device),
        drawn.n_way,
    )
    steps = trace(model.learner, episode, adapted.temperature)
    assert isinstance(model.learner, GradientLearner)  # else `trace` raises
    shots = f"{shape.k_shot} text{'' if shape.k_shot == 1 else 's'} per class"
    title = f"{corpus.name}, {drawn.n_way} classes, {shots}: {model.recipe.learner.name}"
    return TracedTask(title, drawn.class_names, model.learner, episode, steps)
