"""What is compared: each learns from labelled texts and then gives every class a probability."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from meta_text.classify.classifier import FewShotClassifier
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.remembered import Remembered
from meta_text.learners.regression_on_ngrams import regression_on_ngrams
from meta_text.model.task import Label

OURS = "meta_text"
NEIGHBOURS = 5
Answer = Callable[[Sequence[str]], Float[np.ndarray, "Q N"]]  # texts to probabilities
Learn = Callable[[Sequence[str], Int[np.ndarray, " S"], Sequence[Label]], Answer]  # texts, columns, class names


@dataclass(frozen=True)
class Contender:
    """One way to learn; `is_peer`: another package, which reads by itself and may take long."""

    name: str
    learn: Learn
    is_peer: bool = False


def remembering(classifier: FewShotClassifier) -> tuple[FewShotClassifier, list[Remembered]]:
    """The classifier over encoders that read no text twice, and these; without encoders it is as it was."""
    model = classifier.meta_model
    if not isinstance(model.embedding, EncoderBlocks) or model.reads_vectors:
        return classifier, []
    encoders = [Remembered(encoder) for encoder in model.embedding.encoders]
    there = model.with_encoders(EncoderBlocks(encoders, model.embedding.device))
    return clone(classifier).set_params(model=there, embedding=None), encoders


def beside(ours: Sequence[Remembered], encoder: Any) -> Remembered:
    """The encoder of the baselines: that of ours if it is among them."""
    opened = open_encoder(encoder)
    alike = [one for one in ours if one.name == opened.name]
    return next((one for one in alike if one.encoder is opened or one.digest() == opened.digest()), Remembered(opened))


def contenders(classifier: FewShotClassifier, encoder: Remembered) -> list[Contender]:
    """This package and the baselines, those on vectors with this encoder, in the order of the table."""

    def ours(texts: Sequence[str], columns: np.ndarray, names: Sequence[Label]) -> Answer:
        fitted = clone(classifier).fit(texts, [names[column] for column in columns])
        return lambda asked: np.asarray(fitted.predict_proba(asked))

    def regression(texts: Sequence[str], columns: np.ndarray, names: Sequence[Label]) -> Answer:
        # C = 30 was the best of the simple settings that were measured (`evaluation.baselines`), here and below
        head = LogisticRegression(C=30, max_iter=1000).fit(unit(encoder, texts), columns)
        return lambda asked: np.asarray(head.predict_proba(unit(encoder, asked)))

    def neighbours(texts: Sequence[str], columns: np.ndarray, names: Sequence[Label]) -> Answer:
        near = KNeighborsClassifier(min(NEIGHBOURS, len(texts)), weights="distance", metric="cosine")
        near.fit(unit(encoder, texts), columns)
        return lambda asked: np.asarray(near.predict_proba(unit(encoder, asked)))

    shown = "MiniLM" if encoder.name == "minilm" else encoder.name
    return [
        Contender(OURS, ours),
        Contender(f"logistic regression, {shown}", regression),
        Contender("logistic regression, TF-IDF", tfidf),
        Contender(f"nearest neighbours, {shown}", neighbours),
    ]


def tfidf(texts: Sequence[str], columns: np.ndarray, names: Sequence[Label]) -> Answer:
    """Logistic regression on n-grams of letters."""
    fitted = regression_on_ngrams().fit(texts, columns)
    return lambda asked: np.asarray(fitted.predict_proba(asked))


def unit(encoder: Remembered, texts: Sequence[str]) -> np.ndarray:
    """Vectors of length 1 [texts, width]."""
    vectors = encoder.matrix(texts)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9))
