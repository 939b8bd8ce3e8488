"""What a user would do without meta-learning, on the same episodes and over the frozen embedding."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch.nn import functional as F

from meta_text.corpus.episode import Episode
from meta_text.embedding.token_states import TokenStates, masked_mean
from meta_text.learners.regression_on_ngrams import regression_on_ngrams
from meta_text.model.embedded_corpus import EmbeddedCorpus


def chance(embedded: EmbeddedCorpus, episodes: Sequence[Episode], *, label_names: bool = False) -> list[np.ndarray]:
    """Random answers that depend on the episode alone."""
    return [np.random.default_rng(e.query).dirichlet(np.ones(e.n_way), size=len(e.query)) for e in episodes]


def tfidf_logistic_regression(
    embedded: EmbeddedCorpus, episodes: Sequence[Episode], *, label_names: bool = False
) -> list[np.ndarray]:
    """`regression_on_ngrams`."""
    answers, corpus = [], embedded.corpus
    for episode in episodes:
        model = regression_on_ngrams()
        names = [corpus.label_text(name) for name in episode.class_names] if label_names else []
        texts, labels = [corpus.texts[row] for row in episode.support], list(episode.support_labels)
        model.fit(texts + names, labels + list(range(len(names))))
        answers.append(model.predict_proba([corpus.texts[row] for row in episode.query]))
    return answers


def ridge_regression(
    embedded: EmbeddedCorpus, episodes: Sequence[Episode], *, label_names: bool = False
) -> list[np.ndarray]:
    """Ridge regression from unit sentence vectors to one-hot labels, with probabilities by softmax."""
    answers = []
    for vectors, targets, asked in _vectors(embedded, episodes, label_names):
        scores = RidgeClassifier(alpha=1.0).fit(vectors, targets).decision_function(asked)
        answers.append(softmax(scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1), axis=1))
    return answers


def logistic_regression(
    embedded: EmbeddedCorpus, episodes: Sequence[Episode], *, label_names: bool = False
) -> list[np.ndarray]:
    """Logistic regression on unit sentence vectors; C = 30 was the best of the simple settings that were measured."""
    return [
        LogisticRegression(C=30, max_iter=1000).fit(vectors, targets).predict_proba(asked)
        for vectors, targets, asked in _vectors(embedded, episodes, label_names)
    ]


def _vectors(
    embedded: EmbeddedCorpus, episodes: Sequence[Episode], label_names: bool
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Support vectors, labels and query vectors of each episode. A class name counts as one more text of its class.

    Vectors of several encoders come as each task weighs them, so that the baselines have the same texts read.
    """

    def plain(texts: Any) -> np.ndarray:  # token states, or vectors [M B D]
        unit = F.normalize(masked_mean(*texts) if isinstance(texts, TokenStates) else texts, dim=-1)
        return unit.detach().cpu().numpy()

    batch = embedded.batch(episodes, label_names=label_names)
    vectors, labels = plain(batch.support), batch.support_labels.cpu().numpy()
    if batch.names is not None:
        vectors = np.concatenate([vectors, plain(batch.names)], axis=1)
        labels = np.concatenate([labels, np.tile(np.arange(batch.n_way), (len(episodes), 1))], axis=1)
    return list(zip(vectors, labels, plain(batch.query), strict=True))


# in the order of the tables; nearest prototype needs a model, so `compare` adds it
BASELINES: dict[str, Callable[..., list[np.ndarray]]] = {
    "chance": chance,
    "tfidf_logistic_regression": tfidf_logistic_regression,
    "ridge_regression": ridge_regression,
    "logistic_regression": logistic_regression,
}
