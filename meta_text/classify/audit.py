"""What a labelled set says about itself, and what to label next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meta_text.model.adaptation import Adaptation, Label


@dataclass(frozen=True)
class Doubt:
    """A labelled text that its own class would not claim once its label is hidden."""

    text: str
    label: Label
    guess: Label
    probability: float  # of the guess


@dataclass(frozen=True)
class Audit:
    """Leave-one-out over the labelled texts. `accuracy` is a fraction of `checked` texts, between `low` and `high`.

    low and high are Wilson's 95 % interval (JASA 1927), which does not close to nothing when all are right.
    """

    accuracy: float
    low: float
    high: float
    checked: int
    skipped: int  # the only text of a class without a name: nothing is left to judge it by
    doubts: tuple[Doubt, ...]  # probably mislabelled, the most certain first


def audit(adaptation: Adaptation) -> Audit:
    """Hide each labelled text in turn, adapt to the rest, and ask for its class."""
    labels, right, doubts, skipped = list(adaptation.support), [], [], 0
    for column, (label, texts) in enumerate(adaptation.support.items()):
        if len(texts) == 1 and adaptation.names is None:
            skipped += 1
            continue
        for text in texts:
            rest = adaptation.without(label, text)
            row = rest.probabilities(rest.score([adaptation.features[text]]))[0]
            guess = int(row.argmax())
            right.append(guess == column)
            if guess != column:
                doubts.append(Doubt(text, label, labels[guess], float(row[guess])))
    if not right:
        raise ValueError("no class has two labelled texts; give more, or class names, to audit them")
    accuracy = float(np.mean(right))
    low, high = _wilson(accuracy, len(right))
    return Audit(accuracy, low, high, len(right), skipped, tuple(sorted(doubts, key=lambda d: -d.probability)))


def _wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share of `count` trials."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def suggest(adaptation: Adaptation, texts: Sequence[str], n: int) -> list[int]:
    """Positions of the n texts most worth labelling: uncertain, and unlike one another.

    Greedy: the next one has the largest (1 - probability of its best class) x (1 - similarity to those chosen).
    """
    if not 0 < n <= len(texts):
        raise ValueError(f"n={n} of {len(texts)} texts; a number from 1 to the number of texts is needed")
    parts, _ = adaptation.model.represent(texts)
    doubt = 1 - torch.from_numpy(adaptation.probabilities(adaptation.score(parts)).max(1))
    vectors = _units(parts)
    similar = torch.zeros(len(texts), dtype=torch.float64)
    chosen: list[int] = []
    for _ in range(n):
        worth = (doubt + 1e-9) * (1 - similar).clamp_min(1e-9)
        worth[chosen] = -1
        best = int(worth.argmax())
        chosen.append(best)
        similar = torch.maximum(similar, vectors @ vectors[best])
    return chosen


def detail(adaptation: Adaptation, labels: Sequence[Label], texts: Sequence[str], rate: float) -> list[dict[str, Any]]:
    """For each text: label, probability, all scores, `known` at this false-reject rate, nearest labelled text, why.

    `known` is None where the model has no thresholds for "none of these".
    """
    if not texts:
        return []
    parts, _ = adaptation.model.represent(texts)
    logits = adaptation.score(parts)
    known = adaptation.is_known(parts, rate).tolist() if adaptation.calibration.thresholds else [None] * len(parts)
    nearest = _nearest(adaptation, parts)
    details = []
    for row, is_known, near in zip(adaptation.probabilities(logits), known, nearest, strict=True):
        ranked = np.argsort(-row, kind="stable")
        why = ", then ".join(f"{100 * row[i]:.0f} % {labels[i]}" for i in ranked[:2])
        if near is not None:
            why += f"; nearest labelled text ({near['label']}, similarity {near['similarity']:.2f}): {near['text']}"
        if is_known is False:
            why += f"; less like any class than {100 - 100 * rate:.0f} % of texts that belong to one"
        details.append(
            {
                "label": labels[ranked[0]],
                "probability": float(row[ranked[0]]),
                "scores": dict(zip(labels, row.tolist(), strict=True)),
                "known": is_known,
                "nearest": near,
                "why": why,
            }
        )
    return details


def _nearest(adaptation: Adaptation, parts: Sequence[Tensor]) -> list[dict[str, Any] | None]:
    """The labelled text with the largest cosine to each represented text; None where no text was kept."""
    given = [(text, label) for label, texts in adaptation.support.items() for text in texts]
    if not given:
        return [None] * len(parts)
    similar_QS = _units(parts) @ _units([adaptation.features[text] for text, _ in given]).T
    best = similar_QS.max(-1)
    return [
        {"text": given[i][0], "label": given[i][1], "similarity": value}
        for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _units(parts: Sequence[Tensor]) -> Tensor:
    vectors = torch.stack([part if part.ndim == 1 else part.mean(0) for part in parts]).double().cpu()
    return torch.nn.functional.normalize(vectors, dim=-1)
