"""Accuracy and doubtful labels by leave-one-out, and what to label next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from meta_text.corpus.same_text import fold
from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation, Label
from meta_text.model.encoder_words import encoder_choice
from meta_text.wording import counted

# How many other texts a class needs before one of its own is checked. With one (data/intents, 2 to 8 classes of two
# texts), leave-one-out accuracy was 50 % while new texts were classified at 66 to 84 %, so half of the correct labels
# were doubted. With two, it was 8 to 12 points below, and nine in ten planted wrong labels were found.
LEAST_REST = 2
# From so many texts on, an accuracy near chance says something: no more than a third of the way from chance to 1. With two
# intents, 25 draws: of four texts each, 12 % were near chance although new texts were right at 92 %; of five, none was,
# but 16 % if the interval alone decided. Sentiment, which the default model does not learn (63 %): 64 %.
ENOUGH, NEAR = 10, 1 / 3


@dataclass(frozen=True)
class Doubt:
    """A labelled text that is assigned to another class once its label is hidden."""

    text: str
    label: Label
    guess: Label
    probability: float  # of the guess


@dataclass(frozen=True)
class Audit:
    """Leave-one-out over the labelled texts; copies count once.

    `accuracy` is a fraction of the `checked` texts. `low` and `high` are Wilson's 95 % interval (JASA 1927), which
    has a width even if all answers are correct. With checked=0, accuracy is NaN, the interval is 0 to 1, and there
    are no doubts: no class has enough texts, or there is one class alone, for which every answer is right.
    `chance` is what guessing reaches: 1 / classes, or, if that is more, the same answers dealt out at random.
    """

    accuracy: float
    low: float
    high: float
    checked: int
    skipped: int  # texts of classes that have no name and fewer than two other texts
    doubts: tuple[Doubt, ...]  # probably mislabelled, the most certain first
    classes: int = 2  # of the classifier
    chance: float = 0.0
    encoders: str = ""  # which encoders read the texts, and what they are worth, in words

    @property
    def near_chance(self) -> bool:
        """Whether guessing would do about as well: chance is in the interval, and the accuracy close to it."""
        close = self.chance + NEAR * (1 - self.chance)
        return self.checked >= ENOUGH and self.low <= self.chance and self.accuracy <= close

    def summary(self) -> str:
        """The audit in a sentence or two, for people; and one on the encoders if there are any."""
        return "\n".join([self._checks(), *([f"read by {self.encoders}"] if self.encoders else [])])

    def _checks(self) -> str:
        if self.classes == 1:
            return (
                "leave-one-out cannot tell how good this is: with one class every answer is right; "
                "add a second class, or answer with reject, which tells what belongs to it from what does not"
            )
        if not self.checked:
            return (
                f"too few texts to check the labels: no class has {LEAST_REST + 1} different texts; "
                "label more texts, or use label names"
            )
        summary = (
            f"leave-one-out accuracy {100 * self.accuracy:.0f} % over {counted(self.checked, 'text')} "
            f"(95 % interval {100 * self.low:.0f} to {100 * self.high:.0f} %)"
        )
        if self.skipped:
            summary += f"; {self.skipped} not checked, in classes with fewer than {LEAST_REST + 1} different texts"
        if self.near_chance:
            summary += (
                f". Guessing gives {100 * self.chance:.0f} %, so the model does not visibly tell these labels apart from "
                "these texts: check the labels, label more texts or describe the classes (label names), or use a model "
                "that reads their language and kind of text"
            )
        return summary


def audit(adaptation: Adaptation) -> Audit:
    """Hide each labelled text and its copies in turn, adapt to the rest, and classify it."""
    labels, right, doubts, skipped = list(adaptation.distinct), [], [], 0
    choice = encoder_choice(adaptation)
    encoders = "" if choice is None else choice.sentence()
    if len(labels) == 1:
        return Audit(
            math.nan, 0.0, 1.0, 0, sum(map(len, adaptation.distinct.values())), (), classes=1, encoders=encoders
        )
    of_class, answered = np.zeros(len(labels)), np.zeros(len(labels))
    for column, (label, texts) in enumerate(adaptation.distinct.items()):
        if len(texts) <= LEAST_REST and adaptation.names is None:
            skipped += len(texts)
            continue
        for text in texts:
            rest = adaptation.without(label, text)
            row = rest.probabilities(rest.score([adaptation.features[text]]))[0]
            guess = int(row.argmax())
            right.append(guess == column)
            of_class[column] += 1
            answered[guess] += 1
            if guess != column:
                doubts.append(Doubt(text, label, labels[guess], float(row[guess])))
    if not right:
        return Audit(math.nan, 0.0, 1.0, 0, skipped, (), len(labels), encoders=encoders)
    # a class checked alone says nothing of chance: whoever always answers it is right
    dealt = 0.0 if np.count_nonzero(of_class) == 1 else float(of_class @ answered) / len(right) ** 2
    accuracy = float(np.mean(right))
    low, high = _wilson(accuracy, len(right))
    ranked = tuple(sorted(doubts, key=lambda doubt: -doubt.probability))
    chance = max(1 / len(labels), dealt)
    return Audit(accuracy, low, high, len(right), skipped, ranked, len(labels), chance, encoders)


def _wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share of `count` trials."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    # exactly 0 and 1 where the equation says so: rounding would leave 1e-17 or 0.9999999
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half


def suggest(adaptation: Adaptation, texts: Sequence[str | None], n: int) -> list[int]:
    """Positions of the n texts most worth labelling: uncertain, and unlike one another.

    Greedy: the next one has the largest (1 - probability of its best class) x (1 - similarity to those chosen).
    Copies of labelled texts, copies of one another, and None are never chosen.
    """
    if not isinstance(n, int) or n < 1:
        raise InputError(f"n={n!r}; the number of texts to suggest must be at least 1")
    places: dict[str, int] = {}
    for place, text in enumerate(texts):
        if text is not None:
            places.setdefault(fold(text), place)
    for labelled in (text for given in adaptation.support.values() for text in given):
        places.pop(fold(labelled), None)
    candidates = list(places.values())
    if not candidates:
        return []
    parts = adaptation.represent([text for place in candidates if (text := texts[place]) is not None]).parts
    doubt = 1 - torch.from_numpy(adaptation.probabilities(adaptation.score(parts)).max(1))
    vectors = adaptation.unit_vectors(parts)
    similar = torch.zeros(len(candidates), dtype=torch.float64)
    chosen: list[int] = []
    for _ in range(min(n, len(candidates))):
        worth = (doubt + 1e-9) * (1 - similar).clamp_min(1e-9)
        worth[chosen] = -1
        best = int(worth.argmax())
        chosen.append(best)
        similar = torch.maximum(similar, vectors @ vectors[best])
    return [candidates[i] for i in chosen]
