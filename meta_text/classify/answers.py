"""What a fitted classifier says about texts: probabilities, whether they belong to any class, and why."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from meta_text.classify.group_answers import deepest, paths_of, with_path
from meta_text.corpus.labels import texts_or_none
from meta_text.embedding.reading import Represented
from meta_text.model.adaptation import Adaptation
from meta_text.model.calibration import RATES, check_rate
from meta_text.model.cascade import answers_of
from meta_text.model.encoder_words import encoder_choice
from meta_text.model.task import Label
from meta_text.wording import are, counted

Vectors = Sequence[Tensor]  # of represented texts


@dataclass(frozen=True)
class Answers:
    """The answers to texts, in order; a text that is None was blank or missing."""

    texts: list[str | None]
    parts: Vectors  # of the texts that are not None
    probabilities: np.ndarray  # [texts, classes]
    known: np.ndarray | None  # [texts], if a rate was given
    given: list[tuple[Label, float]]  # the label or group of each text, None for one that has none, and its probability

    def rows(self) -> list[tuple[str | None, Label, float]]:
        """(text, label or group, its probability) for each text."""
        return [(text, *given) for text, given in zip(self.texts, self.given, strict=True)]

    def without_rate(self, adapted: Adaptation) -> "Answers":
        """The same texts answered without a rate: each gets a label or a group."""
        return replace(self, known=None, given=_given(adapted, self.probabilities))


def answer(adapted: Adaptation, X: Any, rate: float | None, *, whole: bool = False) -> Answers:
    """Classify every text. A blank or missing text gets equal probabilities and is never known, with a warning.

    whole: every encoder reads every text, as it does with a rate.
    Unless `class_prior` says otherwise, classes are expected alike: how many labelled texts one has says nothing about
    how often it occurs.
    """
    if rate is not None:
        check_rate(rate)
    texts = texts_or_none(X)
    there = np.array([text is not None for text in texts], dtype=bool)
    parts, found = read(adapted, [text for text in texts if text is not None], whole=whole or rate is not None)
    probabilities = np.full((len(texts), adapted.n_way), 1 / adapted.n_way)
    probabilities[there] = found
    known = _known(adapted, parts, there, rate)
    needs_familiar = adapted.groups is not None and rate is not None
    familiar = _known(adapted, parts, there, RATES[0]) if needs_familiar else None
    given = _given(adapted, probabilities, rate, known, familiar)
    if not there.all():
        blank = int(np.count_nonzero(~there))
        warnings.warn(
            f"{blank} of {counted(len(texts), 'text')} {are(blank)} blank or missing; the answer is "
            "the same probability for every class, and None with reject",
            stacklevel=4,
        )
    return Answers(texts, parts, probabilities, known, given)


def _given(
    adapted: Adaptation,
    probabilities: np.ndarray,
    rate: float | None = None,
    known: np.ndarray | None = None,
    familiar: np.ndarray | None = None,
) -> list[tuple[Label, float]]:
    """The label or group of each text and its probability."""
    if adapted.groups is None:
        return _labels(adapted, probabilities, known)
    return deepest(adapted, probabilities, rate, known, familiar)


def _known(adapted: Adaptation, parts: Vectors, there: np.ndarray, rate: float | None) -> np.ndarray | None:
    """Which texts are like some class at this rate, none that is blank; None without a rate."""
    if rate is None:
        return None
    known = np.zeros(len(there), dtype=bool)
    known[there] = adapted.is_known(parts, rate)
    return known


def _labels(adapted: Adaptation, probabilities: np.ndarray, known: np.ndarray | None) -> list[tuple[Label, float]]:
    """The most probable class of each text, None for a text that is not known."""
    classes, may = list(adapted.support), [True] * len(probabilities) if known is None else known
    best, largest = probabilities.argmax(1), probabilities.max(1).tolist()
    return [(classes[i] if one else None, p) for i, one, p in zip(best, may, largest, strict=True)]


def read(adapted: Adaptation, texts: Sequence[str], *, whole: bool) -> tuple[Vectors, np.ndarray]:
    """Texts represented, and their probabilities; one warning for those that are too long, one for an unknown script."""
    represented, probabilities = answers_of(adapted, texts, whole=whole)
    warn_of_reading(represented, adapted.model.embedding.model, len(texts), stacklevel=6)
    return represented.parts, probabilities


def warn_of_reading(read: Represented, embedding: str, count: int, *, stacklevel: int) -> None:
    """One warning for those of `count` texts that are too long, one for those in an unknown script."""
    cut, unread = sum(read.is_cut), sum(read.is_unread)
    if cut:
        warnings.warn(
            f"{cut} of {counted(count, 'text')} {are(cut)} longer than the model reads; what is beyond was cut",
            stacklevel=stacklevel,
        )
    if unread:
        warnings.warn(unread_warning(unread, count, embedding), stacklevel=stacklevel)


def warn_of_labelled(adapted: Adaptation, before: Adaptation | None) -> None:
    """One warning each if labelled texts that were not learned `before` are too long or in an unknown script."""
    known_cut, known_unread = (frozenset(), frozenset()) if before is None else (before.cut, before.unread)
    if adapted.cut - known_cut:
        warnings.warn(
            f"{counted(adapted.n_cut, 'labelled text')} {are(adapted.n_cut)} longer than the model reads; "
            "what is beyond was cut",
            stacklevel=4,
        )
    if adapted.unread - known_unread:
        count, total = len(adapted.unread), sum(map(len, adapted.distinct.values()))
        warnings.warn(unread_warning(count, max(total, count), adapted.model.embedding.model), stacklevel=4)


def unread_warning(count: int, total: int, embedding: str) -> str:
    """The warning about texts in scripts that the embedding of this name does not know."""
    return (
        f"{count} of {counted(total, 'text')} ({100 * count / total:.0f} %) {are(count)} mostly in a "
        f"script that '{embedding}' does not know, so such answers are guesses; use a model whose embedding "
        "reads it, or train one without pretrained weights (recipe csldcp)"
    )


def details(adapted: Adaptation, labels: Sequence[Label], X: Any, rate: float) -> list[dict[str, Any]]:
    """For each text: label, probability, all scores, `known` at this false-reject rate, nearest labelled text, why, encoders.

    `known` is None if the model has no thresholds for "none of these", `encoders` if it has none to choose from. Where labels
    divide into groups, also the path of each text (`with_path`).
    """
    check_rate(rate)
    has_thresholds = bool(adapted.calibration.thresholds)
    answers = answer(adapted, X, rate if has_thresholds else None, whole=True)
    nearest = iter(_nearest(adapted, answers.parts))
    choice, paths = encoder_choice(adapted), paths_of(adapted, answers.probabilities)
    rows = []
    for i, text in enumerate(answers.texts):
        row = answers.probabilities[i]
        ranked = np.argsort(-row, kind="stable")
        known = None if answers.known is None else bool(answers.known[i])
        near = None if text is None else next(nearest)
        first = [(labels[i], row[i]) for i in ranked[:2]] if paths is None else paths[i].items()
        why = ", then ".join(f"{100 * probability:.0f} % {label}" for label, probability in first)
        if text is None:
            why = "there is no text"
        elif near is not None:
            why += f"; nearest labelled text ({near['label']}, similarity {near['similarity']:.2f}): {near['text']}"
        if known is False and text is not None:
            why += f"; less similar to its nearest class than {100 - 100 * rate:.0f} % of texts that belong to one"
        rows.append(
            {
                "label": labels[ranked[0]],
                "probability": float(row[ranked[0]]),
                "scores": dict(zip(labels, row.tolist(), strict=True)),
                "known": known,
                "nearest": near,
                "why": why,
                "encoders": None if choice is None else dict(choice.weights),
            }
        )
        if paths is not None:
            rows[-1] |= with_path(answers.given[i], paths[i], rated=has_thresholds)
    return rows


def _nearest(adapted: Adaptation, parts: Vectors) -> list[dict[str, Any] | None]:
    """The labelled text with the largest cosine to each represented text; None if no labelled text was kept."""
    labelled = [(text, label) for label, texts in adapted.distinct.items() for text in texts]
    if not labelled or not parts:
        return [None] * len(parts)
    similar_QS = adapted.unit_vectors(parts) @ adapted.unit_vectors([adapted.features[text] for text, _ in labelled]).T
    best = similar_QS.max(-1)
    return [
        {"text": labelled[i][0], "label": labelled[i][1], "similarity": value}
        for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
