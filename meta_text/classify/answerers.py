"""What a classifier says of the texts of a file, as cells: one label and its probability, or several labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.drift import asked
from meta_text.classify.multilabel import MultiLabelFewShotClassifier
from meta_text.classify.tally import Tally
from meta_text.errors import InputError

SUMMED_AT = 0.05  # the rate at which a summary counts "none of these" where none is given
Cells = tuple[Any, ...]


@runtime_checkable
class Answerer(Protocol):
    """names: of the columns of an answer; the first holds text, the others hold numbers."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def cells(self, texts: Sequence[str]) -> list[Cells]:
        """The cells of each text's answer, in the order of `names`."""

    def fingerprint(self) -> str:
        """Equal where the answers are."""


@dataclass(frozen=True)
class OneLabel:
    """The label and its probability; no label for a text that `reject` rejects."""

    classifier: FewShotClassifier
    reject: float | None
    names: tuple[str, ...] = ("label", "probability")

    def cells(self, texts: Sequence[str]) -> list[Cells]:
        return [answer[1:] for answer in self.classifier.answers(texts, self.reject)]

    def summed(self, texts: Sequence[str], blank: int) -> tuple[list[Cells], Tally]:
        """The same cells, and what the answers sum up to; which texts are like no class is asked at SUMMED_AT without a rate."""
        adapted = self.classifier.adaptation_
        answers = asked(adapted, list(texts), SUMMED_AT if self.reject is None else self.reject)
        tally = Tally.of(answers.probabilities, answers.known, blank)
        given = answers if self.reject is not None else answers.without_rate(adapted)
        return [answer[1:] for answer in given.rows()], tally

    def fingerprint(self) -> str:
        return self.classifier.fingerprint()


@dataclass(frozen=True)
class SeveralLabels:
    """The labels with a mark between them, the most probable first, and how probable each label is, given or not."""

    classifier: MultiLabelFewShotClassifier
    mark: str

    def __post_init__(self) -> None:
        unclear = [label for label in map(str, self.classifier.classes_) if self.mark in label]
        if not self.mark.strip() or unclear:
            found = f"label {unclear[0]!r} contains {self.mark!r}" if unclear and self.mark else f"it is {self.mark!r}"
            raise InputError(
                f"{found}, the separator of labels; name another with --labels-separator, which no label contains"
            )

    @property
    def names(self) -> tuple[str, ...]:
        return ("labels", *(f"probability_{label}" for label in self.classifier.classes_.tolist()))

    def cells(self, texts: Sequence[str]) -> list[Cells]:
        probabilities = self.classifier.predict_proba(texts)
        labels = self.classifier.labels_of(probabilities)
        return [(self.mark.join(map(str, own)), *row.tolist()) for own, row in zip(labels, probabilities, strict=True)]

    def fingerprint(self) -> str:
        return self.classifier.fingerprint()


def answerer_of(
    classifier: FewShotClassifier | MultiLabelFewShotClassifier, reject: float | None, mark: str
) -> Answerer:
    """How this classifier answers. Raises InputError as `refuse_rate` does, and for a mark that labels contain."""
    if not isinstance(classifier, MultiLabelFewShotClassifier):
        return OneLabel(classifier, reject)
    refuse_rate(reject)
    return SeveralLabels(classifier, mark)


def refuse_rate(reject: float | None) -> None:
    """Raises InputError for a rate of texts that belong to no class, where a text may have no label."""
    if reject is not None:
        raise InputError(
            "reject goes with one label a text; this classifier gives no label to a text that is like none of them: leave it out"
        )
