"""Adding, removing and renaming classes, adding and removing texts, and the effect on the other classes."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from meta_text.corpus.labels import (
    SKIP,
    check_label,
    check_labels,
    check_pairs,
    check_texts,
    check_weights,
    merged_labels,
    texts_or_none,
    under_two_labels,
    warn_of_look_alikes,
    without_bad_rows,
    words,
)
from meta_text.corpus.same_text import fold
from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation
from meta_text.model.task import Label, Weights
from meta_text.wording import counted


@dataclass(frozen=True)
class ClassChange:
    """The effect of an edit on a class that stayed, measured on that class's own labelled texts."""

    label: Label
    texts: int
    moved: int  # texts whose answer was this class and is another one now
    probability_drop: float  # mean decrease of this class's probability

    def __str__(self) -> str:
        texts, share = counted(self.texts, "text"), 100 * self.probability_drop
        return f"{self.label!r}: {self.moved} of {texts} answered otherwise now, probability {-share:+.1f} points"


class Classes(NamedTuple):
    """What a classifier is adapted to: the texts of each label and, if names are used, the label's name as a text."""

    support: dict[Label, list[str]]
    descriptions: dict[Label, str] | None
    weights: Weights | None = None
    unlabeled: tuple[str, ...] = ()

    @classmethod
    def of(cls, adapted: Adaptation, what: str = "it can answer but not change") -> "Classes":
        """Raises InputError for a classifier that was saved without its labelled texts; `what` follows from that."""
        if adapted.shots and not any(adapted.support.values()):
            raise InputError(
                f"this classifier was saved without its labelled texts, so {what}; "
                "save it with include_support=True, or fit again"
            )
        support = {label: list(texts) for label, texts in adapted.support.items()}
        return cls(support, cls.descriptions_of(adapted), adapted.weights, adapted.pool)

    @classmethod
    def to_change(cls, adapted: Adaptation) -> "Classes":
        """Raises InputError for a student, and as `of` does."""
        if adapted.lesson is not None:
            raise InputError(
                "this classifier is a student, whose classes are its teacher's; change the teacher, and distill it again"
            )
        return cls.of(adapted)

    @classmethod
    def labelled(cls, X: Any, y: Any, label_names: Any, bad_rows: str, sample_weight: Any = None) -> "Classes":
        """The classes of labelled texts, and of `label_names` (see FewShotClassifier)."""
        if bad_rows not in ("raise", "skip"):
            raise InputError(f"bad_rows={bad_rows!r}; use 'raise' or 'skip'")
        if bad_rows == "skip":
            texts, labels, weights = without_bad_rows(X, y, sample_weight)
        else:
            labels, texts = check_labels(y, SKIP), check_texts(X, SKIP)
            check_pairs(texts, labels)
            weights = check_weights(sample_weight, len(texts))
        described = described_by(label_names)
        labels = merged_labels(labels)
        support: dict[Label, list[str]] = {label: [] for label in labels}
        for text, label, weight in zip(texts, labels, weights or [1.0] * len(texts), strict=True):
            if weight > 0:
                support[label].append(text)
        kinds = sorted({type(label).__name__ for label in (*support, *described)})
        if len(kinds) > 1:
            raise InputError(f"y and label_names have {' and '.join(kinds)} labels; use one kind, such as str")
        for label in described:
            support.setdefault(label, [])
        if not support:
            raise InputError("no text and no described class; give labelled texts, or label_names={label: description}")
        useless = [label for label, given in support.items() if not given and label not in described]
        if useless:
            raise InputError(
                f"every text of class {useless[0]!r} has weight zero in sample_weight, so nothing is left to learn it from; give "
                "one of them a positive weight, or leave the class out"
            )
        kept = _weights(texts, labels, weights)
        if label_names is True:
            return cls(support, {label: words(label) for label in support}, kept)
        missing = [label for label in support if described and label not in described]
        if missing:
            raise InputError(f"label_names has no description of {missing[0]!r}; describe every class or none")
        return cls(support, described or None, kept)

    def among(self, texts: Any) -> "Classes":
        """The same with unlabelled texts, if not None; blank or missing ones are left out."""
        return self if texts is None else self._replace(unlabeled=readable(texts))

    def check(self, *, reads_vectors: bool) -> None:
        """Warns of texts under two labels. Raises InputError for names of classes whose texts are vectors."""
        check_names(self.descriptions, reads_vectors=reads_vectors)
        if (twice := under_two_labels(self.support)) is not None:
            warnings.warn(twice, stacklevel=4)

    @property
    def in_order(self) -> tuple[dict[Label, list[str]], list[str] | None]:
        """The texts and the descriptions of each class, in column order."""
        labels, descriptions = sorted(self.support), self.descriptions
        names = None if descriptions is None else [descriptions[label] for label in labels]
        return {label: self.support[label] for label in labels}, names

    @staticmethod
    def descriptions_of(adapted: Adaptation) -> dict[Label, str] | None:
        return None if adapted.names is None else dict(zip(adapted.support, adapted.names, strict=True))

    @classmethod
    def label_names_of(cls, adapted: Adaptation) -> bool | dict[Label, str]:
        """What `label_names` was: True where every description is made from its label."""
        descriptions = cls.descriptions_of(adapted) or {}
        return all(text == words(label) for label, text in descriptions.items()) or descriptions

    def known(self, label: Label) -> Label:
        """The class with this label, ignoring outer white space."""
        label = check_label(label, self.support)
        if label in self.support:
            return label
        alike = [own for own in self.support if isinstance(own, str) and own.strip() == label.strip()]
        if alike:
            warnings.warn(f"label {label!r} is taken as class {alike[0]!r}", stacklevel=4)
            return alike[0]
        raise InputError(f"unknown class {label!r}; use one of {', '.join(map(repr, self.support))}")

    def added(self, label: Label, texts: Sequence[str], description: str | None) -> "Classes":
        label = self._new(label)
        descriptions = self.descriptions
        if descriptions is not None:
            descriptions = {**descriptions, label: self._description(label, description)}
        self._refuse_useless(description)
        texts = check_texts(texts)
        if not texts and descriptions is None:
            raise InputError(
                f"class {label!r} has no text; give it at least one (a description= alone is enough only in a classifier "
                "that was fitted with label_names)"
            )
        return self._replace(support={**self.support, label: texts}, descriptions=descriptions)

    def removed(self, label: Label) -> "Classes":
        gone = self.known(label)
        if len(self.support) == 1:
            raise InputError(f"class {label!r} is the only one; fit again to start over")
        descriptions = self.descriptions
        if descriptions is not None:
            descriptions = {key: text for key, text in descriptions.items() if key != gone}
        support = {key: texts for key, texts in self.support.items() if key != gone}
        return self._replace(support=support, descriptions=descriptions, weights=self._weights_in(support))

    def renamed(self, label: Label, new: Label, description: str | None) -> "Classes":
        old = self.known(label)
        new = self._new(new, leaving=old)
        self._refuse_useless(description)
        descriptions = self.descriptions
        if descriptions is not None:
            kept = descriptions[old] if descriptions[old] != words(old) else words(new)
            text = kept if description is None else check_texts([description])[0]
            descriptions = {**{key: value for key, value in descriptions.items() if key != old}, new: text}
        weights = {(new if key == old else key, text): one for (key, text), one in (self.weights or {}).items()}
        support = {new if key == old else key: texts for key, texts in self.support.items()}
        return self._replace(support=support, descriptions=descriptions, weights=weights or None)

    def with_examples(self, X: Any, y: Any) -> "Classes":
        texts, labels = check_texts(X), check_labels(y)
        check_pairs(texts, labels)
        support = {label: list(given) for label, given in self.support.items()}
        weights = {**(self.weights or {})}
        for text, label in zip(texts, map(self.known, labels), strict=True):
            support[label].append(text)
            if weights.get((label, fold(text)), 1.0) < 1:  # of copies, the largest counts
                del weights[label, fold(text)]
        return self._replace(support=support, weights=weights or None)

    def without_examples(self, X: Any) -> "Classes":
        gone = set(check_texts(X))
        missing = gone - {text for texts in self.support.values() for text in texts}
        if missing:
            raise InputError(
                f"{len(missing)} of these texts {'was' if len(missing) == 1 else 'were'} never learned, such as {min(missing)!r}; "
                "support_ lists those that were"
            )
        support = {label: [text for text in texts if text not in gone] for label, texts in self.support.items()}
        empty = [label for label, texts in support.items() if not texts]
        if empty and self.descriptions is None:
            raise InputError(f"class {empty[0]!r} would have no text left; use remove_class to remove it")
        return self._replace(support=support, weights=self._weights_in(support))

    def _weights_in(self, support: Mapping[Label, Sequence[str]]) -> Weights | None:
        """The weights of these texts: one that is added again later weighs 1."""
        there = {(label, fold(text)) for label, texts in support.items() for text in texts} if self.weights else set()
        return {place: weight for place, weight in (self.weights or {}).items() if place in there} or None

    def _new(self, label: Label, leaving: Label = None) -> Label:
        """A label that no class but `leaving` has, not even with different outer white space."""
        label = check_label(label, self.support)
        others = [own for own in self.support if own != leaving or own == label]
        taken = [own for own in others if own == label or (isinstance(own, str) and own.strip() == label.strip())]
        if taken:
            raise InputError(
                f"class {taken[0]!r} already exists; choose another label, or use add_examples to give it more texts"
            )
        warn_of_look_alikes([*others, label])
        return label

    def _description(self, label: Label, description: str | None) -> str:
        if description is not None:
            return check_texts([description])[0]
        if any(text != words(key) for key, text in (self.descriptions or {}).items()):
            raise InputError(f"class {label!r} has no description, but the others have; pass description=")
        return words(label)

    def _refuse_useless(self, description: str | None) -> None:
        if description is not None and self.descriptions is None:
            raise InputError(
                "a description has no effect without label names; leave it out, or fit again with label_names={label: description}"
            )


def check_names(names: Any, *, reads_vectors: bool) -> None:
    """Raises InputError for names, if not None, of a model whose texts are vectors."""
    if names is not None and reads_vectors:
        raise InputError(
            "label names are texts, but embedding='vectors' reads rows of numbers; leave label_names out, or pass "
            "texts and another embedding"
        )


def _weights(texts: Sequence[str], labels: Sequence[Label], weights: Sequence[float] | None) -> Weights | None:
    """The positive weights by label and text, the largest of copies; None where all are equal."""
    largest: dict[tuple[Label, str], float] = {}
    for text, label, weight in zip(texts, labels, weights or (), strict=weights is not None):
        if weight > 0:
            place = label, fold(text)
            largest[place] = max(weight, largest.get(place, 0.0))
    return largest if len(set(largest.values())) > 1 else None


def described_by(label_names: Any) -> dict[Label, str]:
    """Descriptions by label, if label_names gives them."""
    if label_names is None or isinstance(label_names, bool):
        return {}
    if hasattr(label_names, "int2str"):  # datasets.ClassLabel
        return {i: words(label_names.int2str(i)) for i in range(label_names.num_classes)}
    if not isinstance(label_names, Mapping):
        raise InputError(
            f"label_names is {label_names!r}; True, False, {{label: description}} or a ClassLabel is needed"
        )
    for label, text in label_names.items():
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"label_names describes {label!r} by {text!r}; a text that is not blank is needed")
    labels = check_labels(list(label_names))
    return dict(zip(labels, check_texts(list(label_names.values())), strict=True))


def report(before: Adaptation, after: Adaptation) -> list[ClassChange]:
    """What changed for the classes that were there before and have texts."""
    stayed = [label for label, texts in before.distinct.items() if texts and label in after.support]
    if not stayed:
        return []
    parts = [before.features[text] for label in stayed for text in before.distinct[label]]
    old_all, new_all = (task.probabilities(task.score(parts)) for task in (before, after))
    old_labels, new_labels = list(before.support), list(after.support)
    changes, start = [], 0
    for label in stayed:
        end = start + len(before.distinct[label])
        old, new, start = old_all[start:end], new_all[start:end], end
        i, j = old_labels.index(label), new_labels.index(label)
        moved = int(((old.argmax(1) == i) & (new.argmax(1) != j)).sum())
        changes.append(ClassChange(label, len(old), moved, float((old[:, i] - new[:, j]).mean())))
    return changes


def readable(unlabelled: Any) -> tuple[str, ...]:
    """Unlabelled texts without the blank or missing ones. Raises InputError if none is left."""
    given = tuple(text for text in texts_or_none(unlabelled, "unlabeled") if text is not None)
    if not given:
        raise InputError("unlabeled has no text that is not blank; give texts such as will be asked, or leave it out")
    return given
