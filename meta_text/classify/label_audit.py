"""What to expect of a classifier with several labels a text, and which of its labels are doubtful, by leave-one-out."""

import math
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import f1_score, label_ranking_average_precision_score

from meta_text.classify.audit import wilson
from meta_text.classify.label_edits import to_change
from meta_text.model.encoder_words import choice_of
from meta_text.model.label_pool import pool_sentence
from meta_text.model.multilabel import LabelAdaptation
from meta_text.model.task import Label
from meta_text.wording import are, counted

LEAST_TEXTS = 2  # of a label before it is checked: without the text that is left out, one remains
SURE = 0.5  # by how much a probability must speak against a label, or for one that is not there


@dataclass(frozen=True)
class LabelDoubt:
    """A label that a text has and should perhaps not have, or the other way about, by the other texts."""

    text: str
    label: Label
    has: bool
    probability: float  # of the label, with this text left out

    def __str__(self) -> str:
        what = "wrong?" if self.has else "missing?"
        return f"{what} {self.label!r} ({100 * self.probability:.0f} %): {self.text}"


@dataclass(frozen=True)
class LabelAudit:
    """Leave-one-out over the labelled texts, and over the labels that have two texts or more.

    right: the share of `checked` texts of which every checked label is answered rightly; low and high are Wilson's 95 %
    interval of it. f1_micro and f1_macro: of single labels, and the mean over labels. ranking: label ranking average
    precision, over texts that have a checked label. All are NaN where nothing can be checked.
    """

    right: float
    low: float
    high: float
    f1_micro: float
    f1_macro: float
    ranking: float
    checked: int
    skipped: tuple[Label, ...]  # labels with fewer than two texts
    doubts: tuple[LabelDoubt, ...]  # the most certain first
    encoders: str = ""  # which encoders read the texts, and what they are worth, in words
    unlabeled: str = ""  # what came of unlabelled texts, in words; what they add is in none of the numbers

    def summary(self) -> str:
        """The audit in a few sentences, for people."""
        read = [f"read by {self.encoders}"] if self.encoders else []
        read += [self.unlabeled] if self.unlabeled else []
        if not self.checked:
            return "\n".join(["too few texts to check the labels: a label with two texts is needed", *read])
        checks = (
            f"leave-one-out over {counted(self.checked, 'text')}: all labels right for {100 * self.right:.0f} % (95 % interval "
            f"{100 * self.low:.0f} to {100 * self.high:.0f} %), F1 {self.f1_micro:.2f} over all labels, {self.f1_macro:.2f} "
            f"over labels that count alike, ranking precision {self.ranking:.2f}; what other people write is usually harder"
        )
        if self.skipped:
            checks += (
                f"; {counted(len(self.skipped), 'label')} with fewer than {LEAST_TEXTS} texts {are(len(self.skipped))} not checked, "
                f"such as {self.skipped[0]!r}"
            )
        return "\n".join([checks, *read])

    def __str__(self) -> str:
        """The summary, and the doubtful labels."""
        return "\n".join([self.summary(), *map(str, self.doubts)])


def audit_labels(adapted: LabelAdaptation) -> LabelAudit:
    """Answer each text by what is learned from the others. Raises InputError if the texts were not saved."""
    given = to_change(adapted, "there is nothing to audit")
    is_checked = given.has.sum(0) >= LEAST_TEXTS
    skipped = tuple(label for label, checks in zip(given.labels, is_checked, strict=True) if not checks)
    encoders, unlabelled = choice_of(adapted.blocks, adapted.task).sentence(), pool_sentence(adapted.n_unlabelled)
    if not is_checked.any():
        nothing = math.nan
        return LabelAudit(nothing, 0.0, 1.0, nothing, nothing, nothing, 0, skipped, (), encoders, unlabelled)
    probabilities, has = adapted.left_out()[:, is_checked], given.has[:, is_checked]
    answered = probabilities >= adapted.thresholds[is_checked]
    right = float((answered == has).all(1).mean())
    has_any = has.any(1)
    labels = [label for label, checks in zip(given.labels, is_checked, strict=True) if checks]
    against = np.where(has, 1 - probabilities, probabilities)
    places = sorted(np.argwhere((answered != has) & (against > SURE)).tolist(), key=lambda at: -against[at[0], at[1]])
    return LabelAudit(
        right,
        *wilson(right, len(has)),
        float(f1_score(has, answered, average="micro", zero_division=0)),
        float(f1_score(has, answered, average="macro", zero_division=0)),
        float(label_ranking_average_precision_score(has[has_any], probabilities[has_any])),
        len(has),
        skipped,
        tuple(LabelDoubt(given.texts[i], labels[j], bool(has[i, j]), float(probabilities[i, j])) for i, j in places),
        encoders,
        unlabelled,
    )
