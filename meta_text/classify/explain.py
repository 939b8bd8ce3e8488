"""Which words carried an answer: their Shapley values, estimated by leaving words out.

The value of a set of words is the log-odds of the answered class when the text consists of these words alone. A word's credit
is what it adds to that on average, over the sets of other words that it can join (Shapley, 1953), so credits sum to the
difference between the whole text and no text. Up to six words all sets are answered, and credits are exact. Of more words,
sets of one and of all but one are answered, and as many others as time allows, in pairs of a set and its complement; credits
are then the weighted least squares of KernelSHAP under the constraint of that sum (Covert and Lee, AISTATS 2021, section 4).
"""

import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from meta_text.classify.adapted import Adapted
from meta_text.classify.answers import answer, details
from meta_text.embedding.scripts import script
from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation
from meta_text.model.cascade import answers_of
from meta_text.model.task import Label

MOST_CALLS, LEAST_CALLS = 64, 16  # texts that are answered for one explanation
WORDS_READ = 10_000  # in all of them, about: long texts take long to read
SHOWN = 10
# whose words are not set apart by spaces: there, characters are credited
UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"}


@dataclass(frozen=True)
class Word:
    """A word with the punctuation at it, a character of a script without spaces, or of a long text a run of words."""

    text: str
    start: int  # text == Explanation.text[start:end]
    end: int
    credit: float  # what it adds to the log-odds of the class, in nats; negative: it speaks against the class


@dataclass(frozen=True)
class Explanation:
    """The most probable class of a text, and the words in order: base + the sum of their credits == score.

    For a blank text class_name is None and there are no words.
    """

    text: str
    class_name: Label
    probability: float
    known: bool | None  # whether the text fits any class; None if no rate was given
    base: float  # log-odds of the class without any word, as a blank text is answered
    score: float  # log-odds of the class for the whole text
    words: tuple[Word, ...]

    @property
    def answer(self) -> str:
        """The class and its probability, in words."""
        if self.class_name is None:
            return "there is no text, so no class is more probable than another"
        nearest = f"{self.class_name}, {100 * self.probability:.0f} %"
        return f"none of these; the nearest is {nearest}" if self.known is False else nearest

    @property
    def strongest(self) -> tuple[Word, ...]:
        """The words by the size of their credit, the largest first."""
        return tuple(sorted(self.words, key=lambda word: -abs(word.credit)))

    def __str__(self) -> str:
        """The answer, and a line for each of the ten strongest words."""
        lines = [self.answer]
        lines += [f"  {word.credit:+.2f}  {_short(word.text)}" for word in self.strongest[:SHOWN]]
        if rest := self.strongest[SHOWN:]:
            lines.append(f"  {sum(word.credit for word in rest):+.2f}  all others, {len(rest)} of them")
        if self.words:
            lines.append(
                f"  {self.score - self.base:+.2f}  in all: log-odds of {self.score:.2f}, {self.base:.2f} without a word"
            )
        return "\n".join(lines)


class Explaining(Adapted):
    """What a fitted classifier says of its answers beside label and probability."""

    def predict_detail(self, X: Any, reject: float = 0.05) -> list[dict[str, Any]]:
        """For each text: label, probability, all `scores`, `known` at this rate, `nearest` labelled text, `why`, `encoders`.

        `encoders` has each encoder's weight in this task, or is None for a model that reads token states. With `hierarchy` also
        `path`, from the most probable node of the top down to a label, each with its probability.
        """
        adapted = self._adapted()
        return details(adapted, list(adapted.support), self._as_texts(X), reject)

    def explain(self, text: Any, reject: float | None = None) -> Explanation:
        """Which words of a text carried its answer: a credit for each, which sum to the difference of the log-odds.

        Credits are Shapley values, exact for texts of up to six words and otherwise estimated by KernelSHAP (Covert and Lee,
        AISTATS 2021) from 64 variants of the text, of long texts fewer, down to 16; the same at every call. Of texts of more
        than 24 words, runs of words get a credit each; of scripts without spaces, characters.
        `reject` is that of `predict`: with it, `known` says whether the text fits any class.

        Raises InputError for what is not one string, for a classifier over ready vectors or of one class, or a wrong rate.
        """
        return explain(self._adapted(), text, reject)


def explain(adapted: Adaptation, text: Any, rate: float | None) -> Explanation:
    """The answer to a text with a credit for each word."""
    labels = list(adapted.support)
    _check(adapted, labels, text)
    answers = answer(adapted, [text], rate)
    probabilities, known = answers.probabilities, None if answers.known is None else bool(answers.known[0])
    column, base = int(probabilities[0].argmax()), math.log(1 / (len(labels) - 1))
    (cleaned,) = answers.texts
    if cleaned is None:
        return Explanation(text, None, 1 / len(labels), known, base, base, ())
    score = float(log_odds(probabilities, column)[0])
    spans = word_spans(cleaned)
    calls = max(LEAST_CALLS, min(MOST_CALLS, WORDS_READ // len(spans)))
    spans = _runs(spans, 3 * calls // 8)
    sets, weights = word_sets(len(spans), calls)
    variants = [_kept(cleaned, spans, kept) for kept in sets]
    distinct = list(dict.fromkeys(variants))
    found = dict(zip(distinct, log_odds(answers_of(adapted, distinct, whole=False)[1], column), strict=True))
    gains = np.array([found[variant] for variant in variants], dtype=float) - base
    credits = fit_credits(sets, weights, gains, score - base)
    words = (Word(text[a:b], a, b, float(credit)) for (a, b), credit in zip(spans, credits, strict=True))
    return Explanation(text, labels[column], float(probabilities[0, column]), known, base, score, tuple(words))


def word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each word: what stands between spaces, and of scripts without spaces each character.

    Marks and punctuation belong to what is before them.
    """
    spans = []
    for run in re.finditer(r"\S+", text):
        start, before = run.start(), False
        for i in range(run.start(), run.end()):
            category = unicodedata.category(text[i])
            if category[0] not in "LN" or category == "Lm":
                continue
            alone = script(text[i]) in UNSPACED
            if i > start and (alone or before):
                spans.append((start, i))
                start = i
            before = alone
        spans.append((start, run.end()))
    return spans


def word_sets(n: int, calls: int) -> tuple[Bool[np.ndarray, "M n"], Float[np.ndarray, " M"]]:
    """Sets of n words, neither none nor all, about `calls` of them, and their weights in the least squares.

    All sets of a size and of its complements, from size 1 on, as long as they fit; then pairs of a set and its complement, of
    sizes drawn by what all sets of a size weigh. The weight of a set of s words is (n - 1) / (C(n, s) s (n - s)).
    """
    rows, weights, rest = list[tuple[int, ...]](), list[float](), list[int]()
    for size in range(1, n // 2 + 1):
        sizes = sorted({size, n - size})
        if not rest and len(rows) + len(sizes) * math.comb(n, size) <= calls:
            rows += [chosen for each in sizes for chosen in combinations(range(n), each)]
            weights += [_mass(n, size) / math.comb(n, size)] * (len(rows) - len(weights))
        else:
            rest.append(size)
    sets = np.zeros((len(rows), n), dtype=bool)
    for row, chosen in enumerate(rows):
        sets[row, list(chosen)] = True
    pairs = (calls - len(rows)) // 2
    if not rest or not pairs:
        return sets, np.array(weights, dtype=float)
    draw = np.random.default_rng(0)
    masses = np.array([_mass(n, size) * (1 if 2 * size == n else 2) for size in rest])
    sizes_drawn = draw.choice(rest, size=pairs, p=masses / masses.sum())
    half = draw.random((pairs, n)).argsort(1).argsort(1) < sizes_drawn[:, None]
    return np.concatenate([sets, half, ~half]), np.array(weights + [float(masses.sum()) / (2 * pairs)] * (2 * pairs))


def fit_credits(
    sets: Bool[np.ndarray, "M n"], weights: Float[np.ndarray, " M"], gains: Float[np.ndarray, " M"], total: float
) -> Float[np.ndarray, " n"]:
    """Credits whose sums over the sets are closest to the gains, in weighted squares, and whose sum is `total`."""
    last = sets[:, -1:].astype(float)  # its credit is what the others leave of the total
    root = np.sqrt(weights)
    first = np.linalg.lstsq(root[:, None] * (sets[:, :-1] - last), root * (gains - total * last[:, 0]), rcond=None)[0]
    return np.append(first, total - first.sum())


def log_odds(probabilities: Float[np.ndarray, "Q N"], column: int) -> Float[np.ndarray, " Q"]:
    """Of one class; from the other probabilities, as 1 - p would be 0 where p is rounded to 1."""
    least = np.finfo(float).tiny
    others = np.delete(probabilities, column, axis=1).sum(1)
    return np.asarray(np.log(np.maximum(probabilities[:, column], least) / np.maximum(others, least)))


def _mass(n: int, size: int) -> float:
    """What all sets of a size weigh."""
    return (n - 1) / (size * (n - size))


def _runs(spans: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """At most so many spans: of more words, runs of about as many words each."""
    runs = np.array_split(np.array(spans), min(most, len(spans)))
    return [(int(run[0, 0]), int(run[-1, 1])) for run in runs]


def _kept(text: str, spans: Sequence[tuple[int, int]], kept: Sequence[bool] | np.ndarray) -> str:
    """The text with these words alone, each behind what stood between it and the word before."""
    before = [0, *(end for _, end in spans)]
    return "".join(text[before[i] : end] for i, (_, end) in enumerate(spans) if kept[i]).strip()


def _check(adapted: Adaptation, labels: Sequence[Label], text: Any) -> None:
    if adapted.model.reads_vectors:
        raise InputError(
            "this classifier reads ready vectors, in which there are no words; explain needs a classifier that reads texts, such "
            "as FewShotClassifier(embedding='auto')"
        )
    if not isinstance(text, str):
        raise InputError(f"text is {type(text).__name__}; one string is needed: call explain for each text")
    if len(labels) == 1:
        raise InputError(
            f"there is one class alone, {labels[0]!r}, which every text is answered whatever its words; add a second class"
        )


def _short(text: str) -> str:
    return textwrap.shorten(text, 60, placeholder=" ...") if " " in text.strip() else text
