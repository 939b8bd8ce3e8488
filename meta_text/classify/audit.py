"""Accuracy and doubtful labels by leave-one-out."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from meta_text.classify.class_edits import Classes
from meta_text.classify.expected_accuracy import NOTHING_EXPECTED, Expected, expected_accuracy
from meta_text.classify.group_answers import right_at_levels, tree_of
from meta_text.classify.learning_curve import UNKNOWN, Growth, growth
from meta_text.model.adaptation import Adaptation
from meta_text.model.encoder_words import effort_sentence, encoder_choice
from meta_text.model.finish import Finish
from meta_text.model.lesson import Lesson
from meta_text.model.task import Label
from meta_text.model.unlabelled import Gathered
from meta_text.wording import counted

# How many other texts a class needs before one of its own is checked. With one (data/intents, 2 to 8 classes of two
# texts), leave-one-out accuracy was 50 % while new texts were classified at 66 to 84 %, so half of the correct labels
# were doubted. With two, it was 8 to 12 points below, and nine in ten planted wrong labels were found.
LEAST_REST = 2
# From so many checked texts on, an interval that includes chance is told. Pairs of intents of one service (50 draws; new
# texts right at 91 to 93 %): 24 % of audits of four texts each told it, 22 % of five, 2 % of eight, so it says that these
# texts do not show a difference, not that there is none. Sentiment, which the default model does not learn (58 to 61 %):
# 86, 100 and 88 %.
ENOUGH = 8


@dataclass(frozen=True)
class Doubt:
    """A labelled text that is assigned to another class once its label is hidden."""

    text: str
    label: Label
    guess: Label
    probability: float  # of the guess

    def __str__(self) -> str:
        return f"mislabelled? {self.label!r}, rather {self.guess!r} ({100 * self.probability:.0f} %): {self.text}"


@dataclass(frozen=True)
class Audit:
    """Leave-one-out over the labelled texts; copies count once.

    `accuracy` is a fraction of the `checked` texts, and an estimate for texts by the same hand: three corpora of customers'
    requests were answered rightly 5 to 25 points less often than leave-one-out over labelled texts made up for them says. `low` and `high` are Wilson's 95 % interval (JASA 1927), which
    has a width even if all answers are correct. With checked=0, accuracy is NaN, the interval is 0 to 1, and there
    are no doubts: no class has enough texts, there is one class alone, for which every answer is right, or this is a student.
    `chance` is what answering the most common class reaches: its share of the checked texts. Where one class alone has
    enough texts to be checked, it is 1 / classes.
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
    finish: str = ""  # how far the head goes, where it goes further than the learned steps
    unlabeled: str = ""  # what unlabelled texts were worth, if there were any
    expected: Expected = NOTHING_EXPECTED  # of texts such as these
    effort: str = ""  # what came of moving one of them, if that was asked for
    growth: Growth = UNKNOWN  # what more labels would bring
    student: str = ""  # whose student it is, and how often both agree, if it is one
    levels: tuple[
        tuple[int, float], ...
    ] = ()  # of groups from the top down to labels: how many, and the share that is right

    @property
    def near_chance(self) -> bool:
        """Whether the interval does not rule out that answering the most common class does as well."""
        return self.checked >= ENOUGH and self.low <= self.chance

    def summary(self) -> str:
        """The audit in a sentence or two, for people; and one each on what else is known, the last on what more labels would bring."""
        read = f"read by {self.encoders}" if self.encoders else ""
        lines = (
            self._checks(),
            self._levels(),
            self.expected.sentence(),
            read,
            self.finish,
            self.unlabeled,
            self.effort,
            self.growth.sentence(),
        )
        return "\n".join(line for line in lines if line)

    def __str__(self) -> str:
        """The summary, and the texts that are probably mislabelled."""
        return "\n".join([self.summary(), *map(str, self.doubts)])

    def _levels(self) -> str:
        if not self.levels:
            return ""
        *above, (labels, right) = self.levels
        groups = ", ".join(f"{100 * share:.0f} % right among {counted(nodes, 'group')}" for nodes, share in above)
        return f"by level: {groups}, {100 * right:.0f} % among {counted(labels, 'label')}"

    def _checks(self) -> str:
        if self.student:
            return f"{self.student}; how good its teacher is, the teacher's own audit says"
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
            f"(95 % interval {100 * self.low:.0f} to {100 * self.high:.0f} %) on texts like these; what other people write is "
            "usually harder"
        )
        if self.skipped:
            summary += f"; {self.skipped} not checked, in classes with fewer than {LEAST_REST + 1} different texts"
        if self.near_chance:
            summary += (
                f". Always answering the most common class gives {100 * self.chance:.0f} %, so these texts do not show that "
                "this model tells the labels apart: label more texts, check the labels, describe the classes (label "
                "names), or use a model that reads their language and kind of text"
            )
        return summary


def audit(adaptation: Adaptation) -> Audit:
    """Hide each labelled text and its copies in turn, adapt to the rest, and classify it.

    Where the head goes on to convergence, that part of it is learned without a tenth of the texts at a time.

    Encoders stay meanwhile: one that was moved has seen the label that is hidden. Nothing is hidden from a student, whose
    teacher has seen it. Raises InputError if the texts were not saved.
    """
    if adaptation.lesson is not None:
        return _of_student(adaptation, adaptation.lesson)
    Classes.of(adaptation, "there is nothing to audit")
    found = _audit(adaptation.resting)
    task = adaptation.task
    return replace(
        found,
        finish=Finish.of(task).sentence(),
        unlabeled=Gathered.of(task).sentence(),
        expected=expected_accuracy(adaptation.resting),
        effort=effort_sentence(adaptation),
    )


def left_out(adaptation: Adaptation, most: int | None = None) -> Iterator[tuple[str, int, Float[np.ndarray, " N"]]]:
    """Each labelled text, its column, and the probabilities [N] that the classes learned without it give it.

    Not of classes with too few other texts (LEAST_REST). most: at most so many texts, drawn alike.
    """
    places = [
        (text, label, column)
        for column, (label, texts) in enumerate(adaptation.distinct.items())
        for text in texts
        if len(texts) > LEAST_REST or adaptation.names is not None
    ]
    if most is not None and len(places) > most:
        places = [places[i] for i in sorted(np.random.default_rng(0).permutation(len(places))[:most])]
    for text, label, column in places:
        rest = adaptation.without(label, text)
        yield text, column, rest.probabilities(rest.score([adaptation.features[text]]))[0]


def _audit(adaptation: Adaptation) -> Audit:
    labels, right, doubts = list(adaptation.distinct), [], []
    columns: list[int] = []
    rows: list[np.ndarray] = []
    sure: list[float] = []
    of_own = {label: list[float]() for label in labels}
    choice = encoder_choice(adaptation)
    encoders = "" if choice is None else choice.sentence()
    if len(labels) == 1:
        return Audit(
            math.nan, 0.0, 1.0, 0, sum(map(len, adaptation.distinct.values())), (), classes=1, encoders=encoders
        )
    of_class = Counter[int]()
    for text, column, row in left_out(adaptation):
        guess = int(row.argmax())
        rows.append(row)
        columns.append(column)
        right.append(guess == column)
        of_class[column] += 1
        sure.append(float(row[guess]))
        of_own[labels[column]].append(float(row[column]))
        if guess != column:
            doubts.append(Doubt(text, labels[column], labels[guess], float(row[guess])))
    skipped = sum(map(len, adaptation.distinct.values())) - len(right)
    if not right:
        return Audit(math.nan, 0.0, 1.0, 0, skipped, (), len(labels), encoders=encoders)
    # of a class checked alone the share would be 1, which no accuracy exceeds
    chance = max(of_class.values()) / len(right) if len(of_class) > 1 else 1 / len(labels)
    accuracy = float(np.mean(right))
    low, high = wilson(accuracy, len(right))
    ranked = tuple(sorted(doubts, key=lambda doubt: -doubt.probability))
    grows = growth(right, sure, of_own, adaptation.shots)
    tree = tree_of(adaptation)
    levels = () if tree is None else right_at_levels(tree, np.array(rows), columns)
    return Audit(
        accuracy, low, high, len(right), skipped, ranked, len(labels), chance, encoders, growth=grows, levels=levels
    )


def _of_student(adaptation: Adaptation, lesson: Lesson) -> Audit:
    choice, texts = encoder_choice(adaptation), sum(map(len, adaptation.distinct.values()))
    read = "" if choice is None else choice.sentence()
    return Audit(math.nan, 0.0, 1.0, 0, texts, (), adaptation.n_way, encoders=read, student=lesson.sentence())


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share of `count` trials."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    # exactly 0 and 1 where the equation says so: rounding would leave 1e-17 or 0.9999999
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half
